//! Waits for a DaemonSet to be done on every node, and removes it then.

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::{Api, DeleteParams};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::connect::Cluster;
use crate::error::{About, Error};
use crate::namespaced_name::NamespacedName;

/// How often is looked. Only `get` is asked for, no watch: this runs once, when everything else is gone.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How far a DaemonSet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Nodes on which its Pod is ready.
    pub ready: i32,
    /// Nodes on which it should be; none while its controller has not said so.
    pub wanted: Option<i32>,
}

impl Ready {
    /// Whether it is ready on all.
    pub fn is_done(self) -> bool {
        self.wanted.is_some_and(|wanted| self.ready >= wanted)
    }
}

impl Cluster {
    /// Looks until it is ready on every node, at most so long. `told` hears of every change. The last state is returned.
    ///
    /// # Errors
    /// It may not be read, or is not there. While the API server does not answer it is waited on.
    pub async fn wait_for_daemon_set(
        &self,
        daemon_set: &NamespacedName,
        wait: Duration,
        told: &dyn Fn(Ready),
    ) -> Result<Ready, Error> {
        let NamespacedName { namespace, name } = daemon_set;
        let about = About { verb: "get", group: "apps", resource: "daemonsets", namespace, name };
        let api: Api<DaemonSet> = Api::namespaced(self.client.clone(), namespace);
        let end = Instant::now() + wait;
        let mut last = Ready { ready: 0, wanted: None };
        loop {
            match timeout(LOOK_EVERY * 5, api.get(name)).await {
                Ok(Ok(object)) => {
                    let now = ready(&object);
                    if now != last {
                        told(now);
                        last = now;
                    }
                }
                Ok(Err(error)) => match about.failed(error) {
                    Error::Unreachable { .. } | Error::Refused { .. } => {}
                    error => return Err(error),
                },
                Err(_) => {}
            }
            if last.is_done() || Instant::now() >= end {
                return Ok(last);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Removes it, with its Pods. One that is not there is as good as removed.
    ///
    /// # Errors
    /// It may not be deleted, or the API server does not answer.
    pub async fn remove_daemon_set(&self, daemon_set: &NamespacedName) -> Result<(), Error> {
        let NamespacedName { namespace, name } = daemon_set;
        let about = About { verb: "delete", group: "apps", resource: "daemonsets", namespace, name };
        let api: Api<DaemonSet> = Api::namespaced(self.client.clone(), namespace);
        match api.delete(name, &DeleteParams::background()).await.map_err(|error| about.failed(error)) {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn ready(object: &DaemonSet) -> Ready {
    let Some(status) = &object.status else { return Ready { ready: 0, wanted: None } };
    // What the controller says of an earlier generation is about other Pods.
    let is_of_this = status.observed_generation >= object.metadata.generation;
    Ready { ready: status.number_ready, wanted: is_of_this.then_some(status.desired_number_scheduled) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon_set(generation: i64, observed: i64, ready: i32, wanted: i32) -> DaemonSet {
        serde_json::from_value(serde_json::json!({
            "metadata": { "generation": generation },
            "status": { "observedGeneration": observed, "numberReady": ready, "desiredNumberScheduled": wanted,
                "currentNumberScheduled": 0, "numberMisscheduled": 0 }
        }))
        .unwrap()
    }

    #[test]
    fn it_is_done_when_its_controller_says_so_of_this_generation() {
        assert!(super::ready(&daemon_set(2, 2, 3, 3)).is_done());
        assert!(!super::ready(&daemon_set(2, 2, 2, 3)).is_done());
        assert!(!super::ready(&daemon_set(2, 1, 3, 3)).is_done());
        assert!(!super::ready(&DaemonSet::default()).is_done());
    }
}
