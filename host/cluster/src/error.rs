//! What the API server refused or how it could not be reached, in one line that says what the operator can do.

use kube::runtime::watcher;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a kubeconfig nor the environment of a Pod says where the API server is.
    #[error("no cluster: there is no usable kubeconfig, and this is no Pod with a service account: {why}")]
    NoCluster {
        /// What is missing where.
        why: String,
    },
    /// The kubeconfig or context that somebody named does not say where the API server is.
    #[error("{named} cannot be used: {why}")]
    Kubeconfig {
        /// What was named.
        named: String,
        /// What is wrong with it.
        why: String,
    },
    /// RBAC does not let us.
    #[error("may not {verb} {resource}: the role of this user or service account lacks it: {message}")]
    Forbidden {
        /// The verb that is missing, as RBAC calls it.
        verb: String,
        /// The resource, `RESOURCE.GROUP`, with the namespace or object if it is about one.
        resource: String,
        /// What the API server said.
        message: String,
    },
    /// The token or certificate does not count (any more).
    #[error("the API server does not accept our credentials, log in again: {message}")]
    Unauthorized {
        /// What the API server said.
        message: String,
    },
    /// The kind is not there: its CustomResourceDefinition is missing.
    #[error("the API server does not know {resource}: install the CustomResourceDefinitions of {group}")]
    NoSuchKind {
        /// The resource.
        resource: String,
        /// Its API group.
        group: String,
    },
    /// There is no such object.
    #[error("{object} does not exist")]
    NotFound {
        /// Kind, namespace and name.
        object: String,
    },
    /// Somebody else changed it in the meantime, or owns a field of it.
    #[error("cannot {verb} {object}, somebody else holds or changed it: {message}")]
    Conflict {
        /// The verb of the request.
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// What the API server said.
        message: String,
    },
    /// The API server did not take it.
    #[error("cannot {verb} {object}: {message} (HTTP {code})")]
    Refused {
        /// The verb of the request.
        verb: &'static str,
        /// Kind, namespace and name; or the resource.
        object: String,
        /// What the API server said.
        message: String,
        /// HTTP status.
        code: u16,
    },
    /// What was sent makes no sense.
    #[error("{object} cannot be read as the API server has it: {why}")]
    Unreadable {
        /// Kind, namespace and name.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer, or none that can be read.
    #[error("the API server cannot be reached to {verb} {object}: {why}")]
    Unreachable {
        /// The verb of the request.
        verb: &'static str,
        /// Kind, namespace and name; or the resource.
        object: String,
        /// Why, with all its causes.
        why: String,
    },
}

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    /// `get`, `list`, `watch`, `create`, `patch`, `delete`: as RBAC calls it.
    pub(crate) verb: &'static str,
    /// The API group, empty for the core.
    pub(crate) group: &'a str,
    /// The resource, in the plural.
    pub(crate) resource: &'a str,
    /// Empty where it is about none, or about all.
    pub(crate) namespace: &'a str,
    /// The object; empty where it is about many.
    pub(crate) name: &'a str,
}

impl About<'_> {
    /// `gateways.gateway.networking.k8s.io shop/waypoint`, as far as it is about one.
    pub(crate) fn object(&self) -> String {
        let mut object = self.resource();
        if !self.name.is_empty() {
            object.push(' ');
            if !self.namespace.is_empty() {
                object.push_str(self.namespace);
                object.push('/');
            }
            object.push_str(self.name);
        } else if !self.namespace.is_empty() {
            object.push_str(" in namespace ");
            object.push_str(self.namespace);
        }
        object
    }

    fn resource(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// What went wrong with it.
    pub(crate) fn failed(&self, error: kube::Error) -> Error {
        let verb = self.verb;
        let kube::Error::Api(status) = error else {
            return Error::Unreachable { verb, object: self.object(), why: causes(&error) };
        };
        let message = one_line(&status.message);
        match status.code {
            401 => Error::Unauthorized { message },
            403 => {
                // A request may need a right beside that of its own verb: to apply is to create as well. The API server says which.
                let (verb, resource) = named(&message).unwrap_or_else(|| (verb.to_owned(), self.object()));
                Error::Forbidden { verb, resource, message }
            }
            // The kind is unknown where the path is, an object where the API server names it.
            404 if status.reason != "NotFound" || status.details.as_ref().is_none_or(|it| it.name.is_empty()) => {
                Error::NoSuchKind { resource: self.resource(), group: self.group.to_owned() }
            }
            404 => Error::NotFound { object: self.object() },
            409 => Error::Conflict { verb, object: self.object(), message },
            code => Error::Refused { verb, object: self.object(), message, code },
        }
    }

    /// What went wrong while it was followed; none: it begins anew by itself, and nothing is wrong. The verb is that of what failed.
    pub(crate) fn following(self, error: watcher::Error) -> Option<Error> {
        let (list, watch) = (Self { verb: "list", ..self }, Self { verb: "watch", ..self });
        Some(match error {
            watcher::Error::InitialListFailed(error) => list.failed(error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => watch.failed(error),
            // The server has forgotten the version to go on from.
            watcher::Error::WatchError(status) if status.code == 410 => return None,
            watcher::Error::WatchError(status) => watch.failed(kube::Error::Api(status)),
            watcher::Error::NoResourceVersion => Error::Unreachable {
                verb: list.verb,
                object: list.object(),
                why: "it sent an object without a resourceVersion".to_owned(),
            },
        })
    }
}

/// Verb and resource of a refusal, from `... cannot VERB resource "RESOURCE" in API group "GROUP" ...`.
fn named(message: &str) -> Option<(String, String)> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once("\" in API group \"")?;
    let (group, rest) = rest.split_once('"')?;
    let mut named = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    if let Some(namespace) = rest.strip_prefix(" in the namespace \"").and_then(|it| it.split('"').next()) {
        named.push_str(" in namespace ");
        named.push_str(namespace);
    }
    Some((verb.to_owned(), named))
}

/// An error with all its causes, each once, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = one_line(&cause.to_string());
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Somebody else's words, whatever lines they have.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_watch_met_is_told_with_the_verb_that_failed_and_the_end_of_a_version_is_nothing() {
        let about = About { verb: "get", group: "apps", resource: "daemonsets", namespace: "", name: "" };
        let status = |code| kube::core::Status { code, ..kube::core::Status::failure("no\n  words ", "Reason") };
        let told = |error| about.following(error).map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(told(watcher::Error::WatchError(Box::new(status(410)))), "");
        let watch = told(watcher::Error::WatchError(Box::new(status(500))));
        assert_eq!(watch, "cannot watch daemonsets.apps: no words (HTTP 500)");
        let list = told(watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status(500)))));
        assert_eq!(list, "cannot list daemonsets.apps: no words (HTTP 500)");
        let none = told(watcher::Error::NoResourceVersion);
        assert!(none.starts_with("the API server cannot be reached to list daemonsets.apps: it sent"), "{none}");
    }

    #[test]
    fn a_refusal_names_the_right_that_is_missing_and_not_the_one_that_was_asked_with() {
        let message = r#"noderules.wayswitch.io "n1" is forbidden: User "system:serviceaccount:a:b" cannot create resource "noderules/status" in API group "wayswitch.io" at the cluster scope"#;
        assert_eq!(named(message), Some(("create".to_owned(), "noderules/status.wayswitch.io".to_owned())));
        let message =
            r#"events is forbidden: User "u" cannot patch resource "events" in API group "" in the namespace "shop""#;
        assert_eq!(named(message), Some(("patch".to_owned(), "events in namespace shop".to_owned())));
        assert_eq!(named("no"), None);
    }
}
