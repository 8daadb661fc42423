//! Takes off the cluster what was ever written back. For who removes wayswitch: agents that still run would write it again.

use kube::api::{Api, ListParams, Patch, PatchParams};
use model::{Kind, ObjectKey};
use serde_json::Value;

use super::{Part, Write, body};
use crate::connect::Cluster;
use crate::error::{About, Error};
use crate::held::Held;
use crate::kinds::{PAGE, about, all, resource};
use crate::raw::Raw;
use crate::{conditions, labels};

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Objects that were looked at.
    pub objects: usize,
    /// Objects from which something was taken.
    pub removed: usize,
}

impl Cluster {
    /// Removes the labels that were written from decisions. Labels of anybody else stay.
    ///
    /// # Errors
    /// Objects may not be listed or patched, or the API server does not answer; what was removed by then is.
    pub async fn remove_labels(&self) -> Result<Removed, Error> {
        self.remove(&model::use_waypoint::KINDS, Part::Labels).await
    }

    /// Removes the conditions that were written from decisions. Conditions of anybody else stay.
    ///
    /// # Errors
    /// As [`Self::remove_labels`].
    pub async fn remove_conditions(&self) -> Result<Removed, Error> {
        self.remove(&model::conditions::KINDS, Part::Conditions).await
    }

    async fn remove(&self, kinds: &[Kind], part: Part) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        for kind in kinds {
            self.remove_of(*kind, part, &mut removed).await?;
        }
        Ok(removed)
    }

    async fn remove_of(&self, kind: Kind, part: Part, removed: &mut Removed) -> Result<(), Error> {
        let resource = resource(kind);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = all(self, &resource).list(&page).await.map_err(|error| about("list", &resource).failed(error));
            let list = match list {
                Ok(list) => list,
                Err(Error::NoSuchKind { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            for raw in &list.items {
                removed.objects += 1;
                if is_written(kind, raw, part) && self.give_up(kind, raw, part).await? {
                    removed.removed += 1;
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// False: it is gone already.
    async fn give_up(&self, kind: Kind, raw: &Raw, part: Part) -> Result<bool, Error> {
        let (resource, (namespace, name)) = (resource(kind), raw.names());
        let api: Api<Raw> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let write = Write { key: ObjectKey::new(kind, namespace, name), part, version: 0, fields: Value::Null };
        let mut body = body(&resource, &write);
        // Only what is ours is given up, whatever else changed since.
        if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let about = About { namespace, name, ..about("patch", &resource) };
        let answer = match part {
            Part::Conditions => {
                api.patch_status(name, &PatchParams::apply(conditions::MANAGER), &Patch::Apply(&body)).await
            }
            Part::Labels => api.patch(name, &PatchParams::apply(labels::MANAGER), &Patch::Apply(&body)).await,
        };
        match answer.map_err(|error| about.failed(error)) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_written(kind: Kind, raw: &Raw, part: Part) -> bool {
    let held = Held::read(kind, 0, raw.json());
    match part {
        Part::Conditions => held.conditions.iter().any(|it| it.is_ours),
        Part::Labels => held.label.is_ours,
    }
}
