//! From what is asked to what is answered: discovery, reviews, reads and writes, each after it was authorized.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::Shared;
use crate::access::Attributes;
use crate::audit::Write;
use crate::clock;
use crate::deletes::{self, Preconditions};
use crate::discovery;
use crate::http::success;
use crate::lists::{self, List};
use crate::managed::Author;
use crate::object::{Form, Object, heading};
use crate::paths::{Place, Query, Route};
use crate::refusal::{Refusal, Subject};
use crate::resource::Resource;
use crate::selectors::Selector;
use crate::store::{Id, Key, Store};
use crate::watches::{self, Watch};
use crate::writes::{self, PatchKind, Target, Written};

/// A request whose sender is known.
pub(crate) struct Asked<'a> {
    pub(crate) route: Route,
    pub(crate) verb: &'static str,
    pub(crate) query: &'a Query,
    pub(crate) user: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) user_agent: &'a str,
    pub(crate) body: &'a [u8],
}

/// What goes back.
pub(crate) enum Answered {
    Text(&'static str),
    /// Status code and JSON.
    Json(u16, Vec<u8>),
    List(List),
    Watch(Box<Watch>),
}

fn json_of(code: u16, value: &Value) -> Answered {
    Answered::Json(code, value.to_string().into_bytes())
}

/// Answers or refuses.
pub(crate) fn answer(shared: &Arc<Shared>, asked: &Asked<'_>) -> Result<Answered, Refusal> {
    let found = match &asked.route {
        Route::Objects(place) => return objects(shared, asked, place),
        Route::Health => return Ok(Answered::Text("ok")),
        Route::Version => Some(discovery::version()),
        Route::ApiVersions => Some(discovery::api_versions()),
        Route::ApiGroups => Some(discovery::api_groups(&shared.store.lock())),
        Route::ApiGroup(group) => discovery::api_group(&shared.store.lock(), group),
        Route::Resources { group, version } => discovery::resources(&shared.store.lock(), group, version),
        Route::OpenApi => Some(discovery::open_api(&shared.store.lock())),
        Route::OpenApiOf { group, version } => discovery::open_api_of(&shared.store.lock(), group, version),
        Route::Unknown => None,
    };
    found.map(|value| json_of(200, &value)).ok_or(Refusal::NotServed)
}

fn objects(shared: &Arc<Shared>, asked: &Asked<'_>, place: &Place) -> Result<Answered, Refusal> {
    let found = shared.store.lock().find(&place.group, Some(&place.version), &place.plural);
    let (id, resource) = found.ok_or(Refusal::NotServed)?;
    let is_known = match place.subresource.as_str() {
        "" => true,
        "status" => resource.has_status,
        _ => false,
    };
    // A kind in namespaces has its objects nowhere else.
    let is_misplaced =
        matches!((resource.is_namespaced, &place.namespace, &place.name), (true, None, Some(_)) | (false, Some(_), _));
    let is_everywhere = resource.is_namespaced && place.namespace.is_none();
    if !is_known || is_misplaced {
        return Err(Refusal::NotServed);
    }
    if is_everywhere && ["create", "deletecollection"].contains(&asked.verb) {
        return Err(Refusal::MethodNotAllowed);
    }
    shared.access.lock().authorize(asked.user, &attributes(asked, place))?;
    if resource.is_review {
        return if asked.verb == "create" { review(shared, asked, &resource) } else { Err(Refusal::MethodNotAllowed) };
    }
    match asked.verb {
        "get" | "list" | "watch" => read(shared, asked, place, id, &resource),
        "create" | "update" | "patch" | "delete" | "deletecollection" => write(shared, asked, place, id, &resource),
        _ => Err(Refusal::MethodNotAllowed),
    }
}

fn attributes(asked: &Asked<'_>, place: &Place) -> Attributes {
    let slash = if place.subresource.is_empty() { "" } else { "/" };
    Attributes {
        verb: asked.verb.to_owned(),
        group: place.group.clone(),
        resource: format!("{}{slash}{}", place.plural, place.subresource),
        namespace: place.namespace.clone().unwrap_or_default(),
        name: place.name.clone().unwrap_or_default(),
    }
}

fn read(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    place: &Place,
    id: Id,
    resource: &Arc<Resource>,
) -> Result<Answered, Refusal> {
    let api_version = resource.api_version(&place.version);
    let is_metadata = asked.accept.contains("as=PartialObjectMetadata");
    let store = shared.store.lock();
    match asked.verb {
        "watch" => {
            let watch = watches::Asked {
                id,
                resource: resource.clone(),
                api_version: &api_version,
                namespace: place.namespace.clone(),
                name: place.name.as_deref(),
                query: asked.query,
                is_metadata,
            };
            Ok(Answered::Watch(Box::new(Watch::open(shared, &store, watch)?)))
        }
        "list" => {
            let form = if is_metadata { Form::Metadata } else { Form::Item };
            let namespace = place.namespace.as_deref();
            let mut list = lists::list(&store, id, resource, &api_version, namespace, asked.query, form)?;
            if shared.faults.take_nameless() {
                list.items.insert(0, Arc::new(Object::new(json!({"metadata": {}, "spec": {}}), store.version())));
            }
            Ok(Answered::List(list))
        }
        _ => {
            let name = place.name.as_deref().unwrap_or_default();
            let key = Key::new(place.namespace.as_deref().unwrap_or_default(), name);
            let object = store.get(id, &key).ok_or_else(|| Refusal::NotFound(Subject::new(resource, name)))?;
            Ok(whole(200, object, &api_version, resource, is_metadata))
        }
    }
}

fn whole(code: u16, object: &Object, api_version: &str, resource: &Resource, is_metadata: bool) -> Answered {
    let mut out = Vec::with_capacity(object.len() + 128);
    let heading = heading(api_version, &resource.kind);
    object.write(if is_metadata { Form::Metadata } else { Form::Whole(&heading) }, &mut out);
    Answered::Json(code, out)
}

/// JSON, or YAML where the client says so.
fn parse(asked: &Asked<'_>) -> Result<Value, Refusal> {
    // How protobuf begins here.
    if asked.body.starts_with(b"k8s\0") {
        return Err(Refusal::UnsupportedMediaType("application/json, application/yaml".to_owned()));
    }
    let wrong = |error: &dyn std::fmt::Display| {
        Refusal::BadRequest(format!("the object provided is unrecognized: cannot read the body: {error}"))
    };
    match serde_json::from_slice(asked.body) {
        Ok(value) => Ok(value),
        Err(_) if asked.content_type.contains("yaml") => {
            serde_saphyr::from_str(&String::from_utf8_lossy(asked.body)).map_err(|error| wrong(&error))
        }
        Err(error) => Err(wrong(&error)),
    }
}

/// What a body asks of a delete, besides what the query asks.
fn preconditions(asked: &Asked<'_>) -> Result<(Preconditions, bool), Refusal> {
    if asked.body.is_empty() {
        return Ok((Preconditions::default(), false));
    }
    let options = parse(asked)?;
    let text = |field: &str| {
        options.get("preconditions").and_then(|all| all.get(field)).and_then(Value::as_str).map(str::to_owned)
    };
    let is_dry_run = options.get("dryRun").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    Ok((Preconditions { uid: text("uid"), version: text("resourceVersion") }, is_dry_run))
}

fn patch_kind(asked: &Asked<'_>, resource: &Resource) -> Result<PatchKind, Refusal> {
    let accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml".to_owned();
    match asked.content_type.split(';').next().unwrap_or_default() {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" if !resource.is_custom => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply { is_forced: asked.query.is_on("force") }),
        _ => Err(Refusal::UnsupportedMediaType(accepted)),
    }
}

/// Who owns the fields of a write: as asked, or the program's name.
fn manager(asked: &Asked<'_>) -> String {
    let program = asked.user_agent.split('/').next().unwrap_or_default();
    let program = if program.is_empty() { "unknown" } else { program };
    asked.query.get("fieldManager").unwrap_or(program).to_owned()
}

fn write(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    place: &Place,
    id: Id,
    resource: &Arc<Resource>,
) -> Result<Answered, Refusal> {
    let now = clock::now(shared.faults.clock_skew_seconds());
    let mut target = Target {
        id,
        resource: resource.clone(),
        namespace: place.namespace.clone().unwrap_or_default(),
        name: place.name.clone().unwrap_or_default(),
        subresource: place.subresource.clone(),
        author: Author {
            manager: manager(asked),
            api_version: resource.api_version(&place.version),
            subresource: place.subresource.clone(),
            time: clock::rfc3339(now),
        },
        is_dry_run: asked.query.get("dryRun").is_some(),
        now,
    };
    let is_apply = asked.verb == "patch" && asked.content_type.starts_with("application/apply-patch");
    let (outcome, version) = {
        let mut store = shared.store.lock();
        if is_apply && store.get(id, &target.key()).is_none() {
            // To make what is missing is another permission.
            let mut attributes = attributes(asked, place);
            attributes.verb = "create".to_owned();
            shared.access.lock().authorize(asked.user, &attributes)?;
        }
        (carry_out(&mut store, asked, &mut target), store.version())
    };
    shared.newest.send_replace(version);
    let code = match &outcome {
        Ok(Outcome::One(written)) if written.is_created => 201,
        Ok(_) => 200,
        Err(refusal) => refusal.code().0,
    };
    let record = |name: &str, before: u64, after: u64| {
        shared.audit.record(Write {
            time: now,
            verb: asked.verb.to_owned(),
            resource: resource.to_string(),
            subresource: place.subresource.clone(),
            namespace: target.namespace.clone(),
            name: name.to_owned(),
            field_manager: target.author.manager.clone(),
            user: asked.user.to_owned(),
            version_before: before,
            version_after: after,
            code,
            is_dry_run: target.is_dry_run,
        });
    };
    match &outcome {
        Ok(Outcome::One(written)) => record(&name_of(&written.object), written.before, written.object.version()),
        Ok(Outcome::Many(all)) => {
            all.iter().for_each(|one| record(&name_of(&one.object), one.before, one.object.version()));
        }
        Err(_) => record(&target.name, 0, 0),
    }
    answer_write(outcome?, code, asked, &target)
}

enum Outcome {
    One(Written),
    Many(Vec<Written>),
}

fn name_of(object: &Object) -> String {
    object.value().pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn carry_out(store: &mut Store, asked: &Asked<'_>, target: &mut Target) -> Result<Outcome, Refusal> {
    let written = match asked.verb {
        "create" if target.name.is_empty() => writes::create(store, target, parse(asked)?)?,
        "update" if !target.name.is_empty() => writes::update(store, target, parse(asked)?)?,
        "patch" if !target.name.is_empty() => {
            let kind = patch_kind(asked, &target.resource)?;
            if matches!(kind, PatchKind::Apply { .. }) && asked.query.get("fieldManager").is_none() {
                let because = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
                return Err(Refusal::BadRequest(because.to_owned()));
            }
            writes::patch(store, target, kind, parse(asked)?)?
        }
        "delete" => {
            let (preconditions, is_dry_run) = preconditions(asked)?;
            target.is_dry_run |= is_dry_run;
            deletes::delete(store, target, &preconditions)?
        }
        "deletecollection" => {
            let (_, is_dry_run) = preconditions(asked)?;
            target.is_dry_run |= is_dry_run;
            let (labels, fields) = (asked.query.get("labelSelector"), asked.query.get("fieldSelector"));
            let selector = Selector::parse(&target.resource.plural, labels, fields)?;
            let namespace = Some(target.namespace.as_str()).filter(|_| target.resource.is_namespaced);
            return Ok(Outcome::Many(deletes::delete_collection(store, target, namespace, &selector)?));
        }
        _ => return Err(Refusal::MethodNotAllowed),
    };
    Ok(Outcome::One(written))
}

fn answer_write(outcome: Outcome, code: u16, asked: &Asked<'_>, target: &Target) -> Result<Answered, Refusal> {
    let (resource, api_version) = (&target.resource, &target.author.api_version);
    match outcome {
        Outcome::One(written) if asked.verb == "delete" && (written.is_deleted || target.is_dry_run) => {
            let uid = written.object.value().pointer("/metadata/uid").cloned();
            let mut details = json!({"name": target.name, "kind": resource.plural, "uid": uid});
            if let (false, Some(fields)) = (resource.group.is_empty(), details.as_object_mut()) {
                fields.insert("group".to_owned(), json!(resource.group));
            }
            Ok(json_of(code, &success(details)))
        }
        Outcome::One(written) => {
            let is_metadata = asked.accept.contains("as=PartialObjectMetadata");
            Ok(whole(code, &written.object, api_version, resource, is_metadata))
        }
        Outcome::Many(all) => {
            let items: Vec<Value> = all.iter().map(|one| one.object.value()).collect();
            let list = json!({"kind": format!("{}List", resource.kind), "apiVersion": api_version, "metadata": {}, "items": items});
            Ok(json_of(code, &list))
        }
    }
}

/// Answers what is asked about access, and keeps nothing.
fn review(shared: &Shared, asked: &Asked<'_>, resource: &Resource) -> Result<Answered, Refusal> {
    let mut value = parse(asked)?;
    let spec = value.get("spec").cloned().unwrap_or_default();
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let access = shared.access.lock();
    let status = if resource.plural == "tokenreviews" {
        match access.user_of(&text("/token")) {
            Some(user) => json!({"authenticated": true, "user": {"username": user}}),
            None => json!({"authenticated": false, "error": "the token is not known"}),
        }
    } else {
        let subresource = text("/resourceAttributes/subresource");
        let slash = if subresource.is_empty() { "" } else { "/" };
        let attributes = Attributes {
            verb: text("/resourceAttributes/verb"),
            group: text("/resourceAttributes/group"),
            resource: format!("{}{slash}{subresource}", text("/resourceAttributes/resource")),
            namespace: text("/resourceAttributes/namespace"),
            name: text("/resourceAttributes/name"),
        };
        json!({"allowed": access.is_allowed(asked.user, &attributes)})
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
    Ok(json_of(201, &value))
}
