//! Why a request is refused, in the shape of `metav1.Status` (what clients tell errors apart by). No HTTP.

use std::fmt;

use serde_json::{Value, json};

use crate::resource::Resource;

/// Which object an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Empty for the core group.
    pub group: Box<str>,
    /// As in paths.
    pub plural: Box<str>,
    /// Empty for a collection.
    pub name: Box<str>,
}

impl Subject {
    pub(crate) fn new(resource: &Resource, name: &str) -> Self {
        Self { group: resource.group.as_str().into(), plural: resource.plural.as_str().into(), name: name.into() }
    }
}

/// As messages name it: `gateways.gateway.networking.k8s.io "waypoint"`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{} {:?}", self.plural, self.group, self.name)
    }
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConflict {
    /// As the API names managers in messages: `"kubectl" using v1`.
    pub manager: String,
    /// For example `.spec.replicas`.
    pub field: String,
}

/// Every way to say no. `Display` is the message of the Status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such path: a kind that is not installed, too.
    #[error("404 page not found")]
    NotServed,
    /// The kind is there, the object is not.
    #[error("{0} not found")]
    NotFound(Subject),
    /// Created twice.
    #[error("{0} already exists")]
    AlreadyExists(Subject),
    /// The resourceVersion of the request is not the newest.
    #[error(
        "Operation cannot be fulfilled on {0}: the object has been modified; please apply your changes to the latest version and try again"
    )]
    Conflict(Subject),
    /// A precondition of a delete, or the subject of a write, is not what is there.
    #[error("Operation cannot be fulfilled on {subject}: {because}")]
    Precondition {
        /// What was to be written.
        subject: Subject,
        /// What does not fit.
        because: String,
    },
    /// Server-side apply would take fields from others.
    #[error("Apply failed with {} conflict{}: {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, conflicts(.0))]
    ApplyConflict(Vec<FieldConflict>),
    /// Not allowed by the rules.
    #[error("{message}")]
    Forbidden {
        /// What was asked for.
        subject: Subject,
        /// The whole sentence.
        message: String,
    },
    /// No token, or one that is not known.
    #[error("Unauthorized")]
    Unauthorized,
    /// History does not reach back that far.
    #[error("{message}")]
    Expired {
        /// Which version was asked for.
        message: String,
        /// How a list may go on without being consistent.
        resume: Option<String>,
    },
    /// A version that is not there yet.
    #[error("Too large resource version: {asked}, current: {current}")]
    TooLargeVersion {
        /// What was asked for.
        asked: u64,
        /// The newest there is.
        current: u64,
    },
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The object makes no sense.
    #[error("{subject} is invalid: {because}")]
    Invalid {
        /// What was to be written.
        subject: Subject,
        /// Field and reason.
        because: String,
    },
    /// A patch type that this kind does not know.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(String),
    /// The kind has no such verb.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// More bytes than a request may have.
    #[error("Request entity too large: limit is {0}")]
    TooLarge(usize),
    /// An injected fault.
    #[error("{message}")]
    Injected {
        /// HTTP status.
        code: u16,
        /// What the client reads.
        message: String,
        /// Seconds, for the header and the details.
        retry_after: Option<u32>,
    },
}

fn conflicts(all: &[FieldConflict]) -> String {
    match all {
        [one] => format!("conflict with {}: {}", one.manager, one.field),
        many => {
            let mut text = String::from("conflicts with ");
            let mut last = "";
            for conflict in many {
                if conflict.manager != last {
                    if !last.is_empty() {
                        text.push_str("\nconflicts with ");
                    }
                    text.push_str(&conflict.manager);
                    text.push(':');
                    last = &conflict.manager;
                }
                text.push_str("\n- ");
                text.push_str(&conflict.field);
            }
            text
        }
    }
}

impl Refusal {
    /// HTTP status and the machine-readable reason.
    #[must_use]
    pub fn code(&self) -> (u16, &'static str) {
        match self {
            Self::NotServed | Self::NotFound(_) => (404, "NotFound"),
            Self::AlreadyExists(_) => (409, "AlreadyExists"),
            Self::Conflict(_) | Self::Precondition { .. } | Self::ApplyConflict(_) => (409, "Conflict"),
            Self::Forbidden { .. } => (403, "Forbidden"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Expired { .. } => (410, "Expired"),
            Self::TooLargeVersion { .. } => (504, "Timeout"),
            Self::BadRequest(_) => (400, "BadRequest"),
            Self::Invalid { .. } => (422, "Invalid"),
            Self::UnsupportedMediaType(_) => (415, "UnsupportedMediaType"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
            Self::TooLarge(_) => (413, "RequestEntityTooLarge"),
            Self::Injected { code: 429, .. } => (429, "TooManyRequests"),
            Self::Injected { code: 503, .. } => (503, "ServiceUnavailable"),
            Self::Injected { code, .. } => (*code, "InternalError"),
        }
    }

    /// Seconds until the client may try again, if it is told.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::TooLargeVersion { .. } => Some(1),
            Self::Injected { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The Status object.
    #[must_use]
    pub fn status(&self) -> Value {
        let (code, reason) = self.code();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "reason": reason, "code": code,
        });
        if let Some(details) = self.details() {
            set(&mut status, "details", details);
        }
        if let Self::Expired { resume: Some(token), .. } = self {
            set(&mut status, "metadata", json!({"continue": token}));
        }
        status
    }

    fn details(&self) -> Option<Value> {
        let mut details = match self {
            Self::NotFound(subject) | Self::AlreadyExists(subject) | Self::Conflict(subject) => of(subject),
            Self::Precondition { subject, .. } | Self::Forbidden { subject, .. } => of(subject),
            Self::Invalid { subject, because } => {
                let mut details = of(subject);
                set(&mut details, "causes", json!([{"reason": "FieldValueInvalid", "message": because}]));
                details
            }
            Self::ApplyConflict(all) => {
                let causes: Vec<Value> = all
                    .iter()
                    .map(|one| {
                        let message = format!("conflict with {}", one.manager);
                        json!({"reason": "FieldManagerConflict", "message": message, "field": one.field})
                    })
                    .collect();
                json!({"causes": causes})
            }
            Self::TooLargeVersion { .. } => {
                json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]})
            }
            Self::Injected { retry_after: Some(_), .. } => json!({}),
            _ => return None,
        };
        if let Some(seconds) = self.retry_after() {
            set(&mut details, "retryAfterSeconds", json!(seconds));
        }
        Some(details)
    }
}

fn of(subject: &Subject) -> Value {
    let mut details = json!({"kind": subject.plural});
    for (field, text) in [("name", &subject.name), ("group", &subject.group)] {
        if !text.is_empty() {
            set(&mut details, field, json!(text));
        }
    }
    details
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_is_named_with_its_group() {
        let gateways = Resource::custom("gateway.networking.k8s.io", &["v1"], "gateways", "Gateway");
        let status = Refusal::NotFound(Subject::new(&gateways, "waypoint")).status();
        assert_eq!(status["message"], "gateways.gateway.networking.k8s.io \"waypoint\" not found");
        assert_eq!(
            status["details"],
            json!({"kind": "gateways", "name": "waypoint", "group": "gateway.networking.k8s.io"})
        );
        assert_eq!((&status["code"], &status["reason"]), (&json!(404), &json!("NotFound")));
    }

    #[test]
    fn one_conflict_is_one_line_and_several_are_listed_by_manager() {
        let conflict =
            |manager: &str, field: &str| FieldConflict { manager: manager.to_owned(), field: field.to_owned() };
        let one = Refusal::ApplyConflict(vec![conflict("\"a\" using v1", ".spec.x")]);
        assert_eq!(one.to_string(), "Apply failed with 1 conflict: conflict with \"a\" using v1: .spec.x");
        let two = Refusal::ApplyConflict(vec![conflict("\"a\"", ".x"), conflict("\"a\"", ".y")]);
        assert_eq!(two.to_string(), "Apply failed with 2 conflicts: conflicts with \"a\":\n- .x\n- .y");
        assert_eq!(two.status()["details"]["causes"][1]["field"], ".y");
    }
}
