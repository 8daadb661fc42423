//! What a write does to an object: the rules of create, update and patch. No HTTP, no permissions.
//!
//! Kinds get no defaults and no validation beyond names; see the crate's documentation.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::crd;
use crate::deletes::expunge;
use crate::managed::{Author, Managers, fields_of};
use crate::object::Object;
use crate::patch;
use crate::refusal::{Refusal, Subject};
use crate::resource::Resource;
use crate::schema::Place;
use crate::store::{Id, Key, Store};

/// What is written to, and by whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) id: Id,
    pub(crate) resource: Arc<Resource>,
    /// Empty for kinds without, and for all of them.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) author: Author,
    pub(crate) is_dry_run: bool,
    /// Seconds since 1970, as this server has it.
    pub(crate) now: i64,
}

/// What a write came to.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Arc<Object>,
    pub(crate) is_created: bool,
    pub(crate) is_deleted: bool,
    /// The version before it, 0 if there was nothing.
    pub(crate) before: u64,
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply { is_forced: bool },
}

impl Target {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject::new(&self.resource, &self.name)
    }

    pub(crate) fn existing(&self, store: &Store) -> Result<Arc<Object>, Refusal> {
        store.get(self.id, &self.key()).cloned().ok_or_else(|| Refusal::NotFound(self.subject()))
    }

    fn invalid(&self, because: &str) -> Refusal {
        Refusal::Invalid { subject: self.subject(), because: because.to_owned() }
    }

    pub(crate) fn plural(&self) -> &str {
        &self.resource.plural
    }
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Checks that the body is of the kind and the place it was sent to; takes apiVersion and kind off it.
fn receive(target: &Target, mut body: Value) -> Result<Value, Refusal> {
    let Some(fields) = body.as_object_mut() else {
        return Err(Refusal::BadRequest("the body is not an object".to_owned()));
    };
    if let Some(Value::String(kind)) = fields.remove("kind")
        && kind != target.resource.kind
    {
        return Err(Refusal::BadRequest(format!(
            "{} in version {:?} cannot be handled as a {}: wrong kind",
            kind, target.author.api_version, target.resource.kind
        )));
    }
    if let Some(Value::String(found)) = fields.remove("apiVersion")
        && found != target.author.api_version
    {
        return Err(Refusal::BadRequest(format!(
            "the API version in the data ({found}) does not match the expected API version ({})",
            target.author.api_version
        )));
    }
    let metadata = fields_of(fields.entry("metadata").or_insert(Value::Null));
    metadata.retain(|_, value| !value.is_null());
    if target.resource.is_namespaced {
        let found = metadata.entry("namespace").or_insert_with(|| json!(target.namespace));
        if *found != json!(target.namespace) {
            return Err(Refusal::BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
            ));
        }
    } else {
        metadata.remove("namespace");
    }
    if !target.name.is_empty() {
        let found = metadata.entry("name").or_insert_with(|| json!(target.name));
        if *found != json!(target.name) {
            return Err(Refusal::BadRequest(format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                found.as_str().unwrap_or_default(),
                target.name
            )));
        }
    }
    Ok(body)
}

/// POST.
pub(crate) fn create(store: &mut Store, target: &Target, body: Value) -> Result<Written, Refusal> {
    let mut target = target.clone();
    let mut value = receive(&target, body)?;
    if !text(&value, "/metadata/resourceVersion").is_empty() {
        return Err(Refusal::BadRequest("resourceVersion should not be set on objects to be created".to_owned()));
    }
    name(store, &mut target, &mut value)?;
    if store.get(target.id, &target.key()).is_some() {
        return Err(Refusal::AlreadyExists(target.subject()));
    }
    anew(&mut value);
    let mut managers = Managers::default();
    without_status(&target, &mut value);
    managers.update(target.plural(), None, &value, &target.author);
    bring_forth(store, &target, value, &managers)
}

/// Finds the name and checks it, and the namespace.
fn name(store: &Store, target: &mut Target, value: &mut Value) -> Result<(), Refusal> {
    let metadata = fields_of(fields_of(value).entry("metadata").or_insert(Value::Null));
    let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
    target.name = match (given.is_empty(), prefix.is_empty()) {
        (false, _) => given,
        // Not random: a test that fails shall fail again.
        (true, false) => format!("{prefix}{:05x}", store.version() % 0x10_0000),
        (true, true) => return Err(target.invalid("metadata.name: Required value: name or generateName is required")),
    };
    metadata.insert("name".to_owned(), json!(target.name));
    let is_fine = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.:".contains(letter);
    if target.name.len() > 253 || !target.name.chars().all(is_fine) {
        return Err(target.invalid(&format!(
            "metadata.name: Invalid value: {:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
            target.name
        )));
    }
    if target.resource.is_namespaced {
        let subject =
            || Subject { plural: "namespaces".into(), name: target.namespace.as_str().into(), ..Subject::default() };
        let found = store
            .find("", None, "namespaces")
            .and_then(|(id, _)| store.get(id, &Key::new("", &target.namespace)))
            .ok_or_else(|| Refusal::NotFound(subject()))?;
        if !text(&found.value(), "/metadata/deletionTimestamp").is_empty() {
            let message = format!(
                "{} \"{}\" is forbidden: unable to create new content in namespace {} because it is being terminated",
                target.resource, target.name, target.namespace
            );
            return Err(Refusal::Forbidden { subject: target.subject(), message });
        }
    }
    Ok(())
}

/// Takes off what a client cannot give a new object.
fn anew(value: &mut Value) {
    let metadata = fields_of(fields_of(value).entry("metadata").or_insert(Value::Null));
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation", "managedFields"] {
        metadata.remove(field);
    }
}

/// Status is written through its subresource only.
fn without_status(target: &Target, value: &mut Value) {
    if target.resource.has_status {
        fields_of(value).remove("status");
    }
}

/// Gives a new object what the server gives it, and stores it.
fn bring_forth(store: &mut Store, target: &Target, mut value: Value, managers: &Managers) -> Result<Written, Refusal> {
    let uid = uid(store.version(), target);
    let metadata = fields_of(fields_of(&mut value).entry("metadata").or_insert(Value::Null));
    metadata.entry("uid").or_insert_with(|| json!(uid));
    metadata.entry("creationTimestamp").or_insert_with(|| json!(clock::rfc3339(target.now)));
    if target.resource.has_generation {
        metadata.entry("generation").or_insert_with(|| json!(1));
    }
    match managers.to_value() {
        Some(entries) => metadata.insert("managedFields".to_owned(), entries),
        None => metadata.remove("managedFields"),
    };
    complete(target, &mut value);
    if target.is_dry_run {
        return Ok(Written {
            object: Arc::new(Object::new(value, store.version())),
            is_created: true,
            is_deleted: false,
            before: 0,
        });
    }
    let object = store.write(target.id, &target.key(), value);
    crd::follow(store, target, &object);
    Ok(Written { object, is_created: true, is_deleted: false, before: 0 })
}

/// What other parts of a cluster would add at once.
fn complete(target: &Target, value: &mut Value) {
    match target.plural() {
        "namespaces" => {
            let fields = fields_of(value);
            let metadata = fields_of(fields.entry("metadata").or_insert(Value::Null));
            let labels = fields_of(metadata.entry("labels").or_insert(Value::Null));
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(target.name));
            fields.entry("status").or_insert_with(|| json!({"phase": "Active"}));
        }
        "customresourcedefinitions" => crd::establish(value, &clock::rfc3339(target.now)),
        _ => {}
    }
}

/// Looks like a UUID, differs for every object that ever was, and is the same when a test runs again.
fn uid(version: u64, target: &Target) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in target.resource.plural.bytes().chain(target.namespace.bytes()).chain(target.name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}-{:04x}-4{:03x}-8000-{version:012x}", hash >> 32, (hash >> 16) & 0xffff, hash & 0xfff)
}

/// PUT.
pub(crate) fn update(store: &mut Store, target: &Target, body: Value) -> Result<Written, Refusal> {
    let value = receive(target, body)?;
    let old = target.existing(store)?;
    let wants_version = target.resource.is_custom || target.plural() == "leases";
    if wants_version && text(&value, "/metadata/resourceVersion").is_empty() {
        return Err(target.invalid("metadata.resourceVersion: Invalid value: 0: must be specified for an update"));
    }
    replace(store, target, &old, value)
}

/// The same object with other content, by anything but server-side apply.
fn replace(store: &mut Store, target: &Target, old: &Arc<Object>, value: Value) -> Result<Written, Refusal> {
    let before = old.value();
    check(target, old, &before, &value)?;
    let resets = value
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(|entries| entries.iter().all(|entry| entry.as_object().is_some_and(serde_json::Map::is_empty)));
    let mut managers = if resets { Managers::default() } else { Managers::of(&before) };
    let value = confine(target, &before, value);
    managers.update(target.plural(), Some(&before), &value, &target.author);
    settle(store, target, old, &before, value, &managers)
}

/// Refuses what was made from another version or another object of the same name.
fn check(target: &Target, old: &Object, before: &Value, value: &Value) -> Result<(), Refusal> {
    let version = text(value, "/metadata/resourceVersion");
    if !version.is_empty() && version != old.version().to_string() {
        return Err(Refusal::Conflict(target.subject()));
    }
    let (uid, found) = (text(value, "/metadata/uid"), text(before, "/metadata/uid"));
    if !uid.is_empty() && uid != found {
        let because = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(Refusal::Precondition { subject: target.subject(), because });
    }
    Ok(())
}

/// Leaves everything as it was that this request may not write.
fn confine(target: &Target, before: &Value, mut value: Value) -> Value {
    let keep = |value: &mut Value, field: &str| {
        match before.get(field) {
            Some(old) => fields_of(value).insert(field.to_owned(), old.clone()),
            None => fields_of(value).remove(field),
        };
    };
    if target.subresource == "status" {
        if target.resource.is_custom {
            let status = value.get("status").cloned();
            value = before.clone();
            match status {
                Some(status) => fields_of(&mut value).insert("status".to_owned(), status),
                None => fields_of(&mut value).remove("status"),
            };
        } else {
            keep(&mut value, "spec");
        }
    } else if target.resource.has_status {
        keep(&mut value, "status");
    }
    let metadata = fields_of(fields_of(&mut value).entry("metadata").or_insert(Value::Null));
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "generation", "generateName"] {
        match before.get("metadata").and_then(|metadata| metadata.get(field)) {
            Some(old) => metadata.insert(field.to_owned(), old.clone()),
            None => metadata.remove(field),
        };
    }
    value
}

/// Stores what a write came to, unless that is what was there.
fn settle(
    store: &mut Store,
    target: &Target,
    old: &Arc<Object>,
    before: &Value,
    mut value: Value,
    managers: &Managers,
) -> Result<Written, Refusal> {
    complete(target, &mut value);
    let is_same_but = |value: &Value| {
        let content = |value: &Value| {
            let mut value = value.clone();
            fields_of(&mut value).retain(|name, _| name != "metadata" && name != "status");
            value
        };
        content(value) == content(before)
    };
    let is_bumped = target.resource.has_generation && !is_same_but(&value);
    let metadata = fields_of(fields_of(&mut value).entry("metadata").or_insert(Value::Null));
    if is_bumped {
        let generation = before.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0);
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    match managers.to_value() {
        Some(entries) => metadata.insert("managedFields".to_owned(), entries),
        None => metadata.remove("managedFields"),
    };
    metadata.insert("resourceVersion".to_owned(), json!(old.version().to_string()));
    let was_held =
        before.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|held| !held.is_empty());
    let is_finished = was_held
        && metadata.contains_key("deletionTimestamp")
        && metadata.get("finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let written = |object, is_deleted| Written { object, is_created: false, is_deleted, before: old.version() };
    if value == *before {
        return Ok(written(old.clone(), false));
    }
    if target.is_dry_run {
        return Ok(written(Arc::new(Object::new(value, old.version())), false));
    }
    let object = store.write(target.id, &target.key(), value);
    if is_finished {
        return Ok(written(expunge(store, target).unwrap_or(object), true));
    }
    crd::follow(store, target, &object);
    Ok(written(object, false))
}

/// PATCH.
pub(crate) fn patch(store: &mut Store, target: &Target, kind: PatchKind, body: Value) -> Result<Written, Refusal> {
    if let PatchKind::Apply { is_forced } = kind {
        return apply(store, target, body, is_forced);
    }
    let old = target.existing(store)?;
    let mut value = old.value();
    match kind {
        PatchKind::Json => patch::json(&mut value, &body)?,
        PatchKind::Strategic => patch::strategic(&Place::root(target.plural()), &mut value, &body),
        PatchKind::Merge | PatchKind::Apply { .. } => patch::merge(&mut value, &body),
    }
    let value = receive(target, value)?;
    replace(store, target, &old, value)
}

/// Server-side apply.
fn apply(store: &mut Store, target: &Target, body: Value, is_forced: bool) -> Result<Written, Refusal> {
    if body.pointer("/metadata/managedFields").and_then(Value::as_array).is_some_and(|entries| !entries.is_empty()) {
        return Err(Refusal::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let mut applied = receive(target, body)?;
    strip_nulls(&mut applied);
    let Some(old) = store.get(target.id, &target.key()).cloned() else {
        if !target.subresource.is_empty() {
            return Err(Refusal::NotFound(target.subject()));
        }
        if !text(&applied, "/metadata/uid").is_empty() || !text(&applied, "/metadata/resourceVersion").is_empty() {
            // Applied to a certain object, which is no more.
            return Err(Refusal::Conflict(target.subject()));
        }
        let mut target = target.clone();
        name(store, &mut target, &mut applied)?;
        anew(&mut applied);
        without_status(&target, &mut applied);
        let mut managers = Managers::default();
        let empty = json!({});
        let value = managers
            .apply(target.plural(), &empty, &applied, &target.author, is_forced)
            .map_err(Refusal::ApplyConflict)?;
        return bring_forth(store, &target, value, &managers);
    };
    let before = old.value();
    check(target, &old, &before, &applied)?;
    let fields = fields_of(&mut applied);
    if target.subresource == "status" {
        fields.retain(|name, _| name == "status" || (name == "metadata" && !target.resource.is_custom));
    } else if target.resource.has_status {
        fields.remove("status");
    }
    let mut managers = Managers::of(&before);
    let value = managers
        .apply(target.plural(), &before, &applied, &target.author, is_forced)
        .map_err(Refusal::ApplyConflict)?;
    let value = confine(target, &before, value);
    settle(store, target, &old, &before, value, &managers)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, below| !below.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Puts an object there as a cluster would have it, status included, with no questions asked but for its name.
pub(crate) fn put(store: &mut Store, target: &Target, body: Value, is_managed: bool) -> Result<Written, Refusal> {
    let mut target = target.clone();
    let mut value = receive(&target, body)?;
    let old = store.get(target.id, &target.key()).cloned();
    let metadata = fields_of(fields_of(&mut value).entry("metadata").or_insert(Value::Null));
    metadata.remove("resourceVersion");
    target.name = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if target.name.is_empty() {
        return Err(target.invalid("metadata.name: Required value"));
    }
    let Some(old) = old else {
        let mut managers = Managers::of(&value);
        if is_managed && managers.to_value().is_none() {
            managers.update(target.plural(), None, &value, &target.author);
        }
        return bring_forth(store, &target, value, &managers);
    };
    let before = old.value();
    let mut managers = Managers::of(&before);
    for field in ["uid", "creationTimestamp", "generation"] {
        if let Some(found) = before.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata.entry(field).or_insert_with(|| found.clone());
        }
    }
    if is_managed {
        managers.update(target.plural(), Some(&before), &value, &target.author);
    }
    settle(store, &target, &old, &before, value, &managers)
}

#[cfg(test)]
mod tests;
