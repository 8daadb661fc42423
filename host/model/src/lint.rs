//! What is wrong with a mesh although everything in it can be read and decided: findings with the object concerned, the
//! rule, and what to do. Pure: what is read from files, and how findings are printed, is not known here.
//!
//! Findings about a refused waypoint come from the reasons in the table, whatever component gave them; a label is only
//! looked at where the component declared that it reads it. So another component's mesh is not held to Istio's labels.
//! One problem is one finding: a Namespace that names a missing waypoint is one, with the count of what it concerns.

use std::fmt;

use serde::Serialize;

use crate::description::Description;
use crate::object::ObjectKey;
use crate::store::Store;
use crate::table::Table;

mod codes;

mod affected;
mod conditions;
mod labels;
mod reading;
mod survey;

mod canary;
mod ingress;
mod listeners;
pub(crate) mod policies;
mod references;
mod required;
mod services;
mod waypoints;

pub use codes::{ALL, Code, code};
pub use conditions::disagreements;

/// Related objects that a finding names.
pub const RELATED_MAX: usize = 8;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something has no effect, or another one than it seems to have.
    Warning,
    /// Traffic goes past a waypoint it was meant for, or fails, or a policy is not enforced.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of problem; its rule is there too.
    pub code: &'static Code,
    /// How bad it is: the code's own.
    pub severity: Severity,
    /// The object to edit. It need not exist: a Namespace can be missing.
    pub object: ObjectKey,
    /// Other objects that have to do with it, at most [`RELATED_MAX`].
    pub related: Vec<ObjectKey>,
    /// The path of the field or label in the object; empty where it is the whole object.
    pub field: String,
    /// What is wrong, naming the objects. One line, without control characters, of bounded length.
    pub text: String,
    /// What to do about it, the same.
    pub fix: String,
}

/// Everything that is wrong with the mesh in `store`, of which `table` has the decisions of the component that described
/// itself so. In the order of the objects, then codes; the same input gives the same findings.
pub fn lint(store: &Store, table: &Table, description: &Description) -> Vec<Finding> {
    let survey = survey::Survey::of(store, table, description);
    let mut found = Findings::default();
    references::check(&survey, &mut found);
    required::check(&survey, &mut found);
    waypoints::check(&survey, &mut found);
    listeners::check(&survey, &mut found);
    services::check(&survey, &mut found);
    ingress::check(&survey, &mut found);
    canary::check(&survey, &mut found);
    policies::check(&survey, &mut found);
    let order = |it: &Finding| (it.object.clone(), it.code.id, it.field.clone(), it.text.clone());
    found.0.sort_by_cached_key(order);
    found.0.dedup();
    found.0
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one, with the code's severity.
    fn add(
        &mut self,
        code: &'static Code,
        object: ObjectKey,
        field: String,
        text: String,
        fix: String,
    ) -> &mut Finding {
        let (text, fix) = (one_line(text), one_line(fix));
        let at = self.0.len();
        self.0.push(Finding { code, severity: code.severity, object, related: Vec::new(), field, text, fix });
        #[expect(clippy::indexing_slicing, reason = "it was pushed just now")]
        &mut self.0[at]
    }
}

impl Finding {
    /// Names other objects; the finding's own and doubles are left out, and so is what exceeds the limit.
    fn relating(&mut self, objects: impl IntoIterator<Item = ObjectKey>) {
        for object in objects {
            if self.related.len() < RELATED_MAX && object != self.object && !self.related.contains(&object) {
                self.related.push(object);
            }
        }
    }
}

/// Characters of a finding's text; names in it are bounded by the readers of manifests, and there are few of them.
const TEXT_CHARS_MAX: usize = 2048;

fn one_line(text: String) -> String {
    if text.len() <= TEXT_CHARS_MAX && !text.contains(char::is_control) {
        return text;
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
