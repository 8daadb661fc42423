//! What a delete does: preconditions, finalizers, and what goes with an object. No HTTP, no permissions.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::crd;
use crate::managed::fields_of;
use crate::object::Object;
use crate::refusal::Refusal;
use crate::selectors::Selector;
use crate::store::{Id, Key, Range, Store};
use crate::writes::{Target, Written, text};

/// What a delete insists on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

/// DELETE of one object: at once, or when its finalizers are gone.
pub(crate) fn delete(store: &mut Store, target: &Target, preconditions: &Preconditions) -> Result<Written, Refusal> {
    let old = target.existing(store)?;
    let mut value = old.value();
    let found = text(&value, "/metadata/uid");
    if let Some(uid) = preconditions.uid.as_deref().filter(|uid| *uid != found) {
        let because = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({found}). The object might have been deleted and then recreated"
        );
        return Err(Refusal::Precondition { subject: target.subject(), because });
    }
    if let Some(version) = preconditions.version.as_deref().filter(|version| *version != old.version().to_string()) {
        let because = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            old.version()
        );
        return Err(Refusal::Precondition { subject: target.subject(), because });
    }
    let written = |object, is_deleted| Written { object, is_created: false, is_deleted, before: old.version() };
    if target.is_dry_run {
        return Ok(written(old.clone(), false));
    }
    let metadata = fields_of(fields_of(&mut value).entry("metadata").or_insert(Value::Null));
    let is_held = metadata.get("finalizers").and_then(Value::as_array).is_some_and(|held| !held.is_empty());
    if !is_held {
        let object = expunge(store, target).ok_or_else(|| Refusal::NotFound(target.subject()))?;
        return Ok(written(object, true));
    }
    if metadata.contains_key("deletionTimestamp") {
        return Ok(written(old.clone(), false));
    }
    metadata.insert("deletionTimestamp".to_owned(), json!(clock::rfc3339(target.now)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    let object = store.write(target.id, &target.key(), value);
    Ok(written(object, false))
}

/// DELETE of a collection: what was deleted or is being.
pub(crate) fn delete_collection(
    store: &mut Store,
    target: &Target,
    namespace: Option<&str>,
    selector: &Selector,
) -> Result<Vec<Written>, Refusal> {
    let range = Range { namespace, selector, at: store.version(), after: None, limit: usize::MAX };
    let found = store.page(target.id, range).unwrap_or_default();
    let mut all = Vec::new();
    for object in found.items {
        let value = object.value();
        let one = Target {
            namespace: text(&value, "/metadata/namespace").to_owned(),
            name: text(&value, "/metadata/name").to_owned(),
            ..target.clone()
        };
        all.push(delete(store, &one, &Preconditions::default())?);
    }
    Ok(all)
}

/// Removes an object and what goes with it: the contents of a namespace, the kind of a definition.
pub(crate) fn expunge(store: &mut Store, target: &Target) -> Option<Arc<Object>> {
    if target.resource.group.is_empty() && target.plural() == "namespaces" {
        let mut inside: Vec<(Id, Key)> = Vec::new();
        for (id, resource) in store.served() {
            if resource.is_namespaced {
                let keys = store.objects(id).map(|(key, _)| key).filter(|key| *key.namespace == *target.name);
                inside.extend(keys.map(|key| (id, key.clone())));
            }
        }
        for (id, key) in inside {
            store.remove(id, &key);
        }
    }
    let object = store.remove(target.id, &target.key())?;
    crd::unfollow(store, target, &object);
    Some(object)
}
