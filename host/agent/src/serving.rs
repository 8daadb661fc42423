//! The sockets of the agent: operators, Prometheus and ztunnels are served until a signal, or until one of them cannot be.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::admin::{self, Admin};
use crate::config::AdminAddress;
use crate::metrics;
use crate::ztunnels::Xds;

/// What requests under way are given at the end.
const GRACE: Duration = Duration::from_secs(2);

type Served = anyhow::Result<()>;

/// The streams of ztunnels that are still open.
pub(crate) struct Streams(Option<JoinHandle<Served>>);

impl Streams {
    /// Waits until they have ended, for a moment.
    pub(crate) async fn end(self) {
        if let Some(streams) = self.0 {
            let _late = timeout(GRACE, streams).await;
        }
    }
}

/// SIGTERM and SIGINT, which from now on are not lost, even if nobody waits yet.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// To be called before anything that takes time: the first process of a container does not hear a signal that it has no
    /// handler for, and is killed when its grace period is over. Within a runtime.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
        Ok(Self { terminate, interrupt })
    }

    async fn received(mut self) -> Served {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        Ok(())
    }
}

/// Serves until SIGTERM, SIGINT, or an error; ztunnels on `ztunnels`.
pub(crate) async fn until_signalled(
    signals: Signals,
    address: AdminAddress,
    metrics_at: Option<SocketAddr>,
    admin: Admin,
    xds: Option<Xds>,
    ztunnels: &Handle,
) -> (Served, Streams) {
    // Dropped when all are to stop.
    let (stopping, stop) = watch::channel(());
    let stopped = |mut stop: watch::Receiver<()>| async move { while stop.changed().await.is_ok() {} };
    let mut metrics = tokio::spawn(metrics::serve(metrics_at, admin.clone(), stopped(stop.clone())));
    let mut admin = tokio::spawn(admin::serve(address, admin, stopped(stop.clone())));
    let mut streams = ztunnels.spawn(async move {
        match xds {
            Some(xds) => xds.serve(stopped(stop)).await,
            None => {
                stopped(stop).await;
                Ok(())
            }
        }
    });
    let ended = tokio::select! {
        served = &mut admin => return (flat("admin", served), Streams(Some(streams))),
        served = &mut metrics => return (flat("metrics", served), Streams(Some(streams))),
        served = &mut streams => (flat("xDS", served), Streams(None)),
        signalled = signals.received() => (signalled, Streams(Some(streams))),
    };
    drop(stopping);
    let (served, streams) = ended;
    let admin = timeout(GRACE, admin).await.map_or(Ok(()), |ended| flat("admin", ended));
    (served.and(admin), streams)
}

fn flat(what: &str, ended: Result<Served, JoinError>) -> Served {
    ended.with_context(|| format!("{what} ended by a defect"))?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_before_anybody_waits_is_heard() {
        let signals = Signals::listen().unwrap();
        let me = std::process::id().to_string();
        assert!(Command::new("kill").args(["-TERM", &me]).status().unwrap().success());
        timeout(GRACE, signals.received()).await.unwrap().unwrap();
    }
}
