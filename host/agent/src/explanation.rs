//! Why a row is decided as it is, why a connection takes its path, and what would change either: what the component says,
//! with every edit tried before it is offered. For the command, the admin endpoint and tests. Not printing for people: that
//! is the command's.

use std::sync::Arc;

use engine::Loaded;
use model::decider::{Asking, Terms};
use model::explain::{Edit, Finding};
use model::projection::node_input;
use model::store::Unpublished;
use model::table::{Row, RowKey};
use model::{Decision, ResolveFailure, Store, Table};
use serde_json::{Value, json};

use crate::output;

mod kubectl;
mod offers;
mod paths;

pub use offers::{Dropped, Means, Offer};
pub use paths::{PathExplained, PathOffer};

/// A mesh that is decided, and what decided it.
#[derive(Clone, Copy)]
pub struct Explainer<'a> {
    /// The mesh.
    pub store: &'a Store,
    /// Its decisions.
    pub table: &'a Table,
    /// The component.
    pub component: &'a Loaded,
    /// How it is asked.
    pub terms: &'a Terms,
}

/// Why a row is decided as it is.
#[derive(Clone, Debug)]
pub struct RowExplained {
    /// The row.
    pub key: RowKey,
    /// As it is decided.
    pub row: Row,
    /// The steps in their order.
    pub findings: Vec<Finding>,
    /// Edits that keep their promise.
    pub offers: Vec<Offer>,
    /// Edits of the component that do not: its defects, for the log.
    pub dropped: Vec<Dropped>,
}

/// Why there is no explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExplained {
    /// There is nothing to decide.
    Unpublished(RowKey, Unpublished),
    /// It has come just now, and is not decided yet.
    NotYet(RowKey),
    /// The component failed.
    Failed(RowKey, ResolveFailure),
}

impl std::fmt::Display for NotExplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unpublished(key, why) => {
                write!(f, "{key} has no decision: {why}")?;
                why.rule().map_or(Ok(()), |rule| write!(f, " ({rule})"))
            }
            Self::NotYet(key) => write!(f, "{key} has no decision yet: ask again"),
            Self::Failed(key, failure) => write!(f, "{key} cannot be explained: {failure}"),
        }
    }
}

impl std::error::Error for NotExplained {}

impl NotExplained {
    /// Why an object that is there has no decision; none where that is not the answer.
    pub fn unpublished(&self) -> Option<Value> {
        match self {
            Self::Unpublished(_, Unpublished::NoObject | Unpublished::NoSuchEndpoint) => None,
            Self::Unpublished(_, why) => {
                let mut value = json!(why);
                if let Value::Object(fields) = &mut value {
                    fields
                        .extend([("rule".to_owned(), json!(why.rule())), ("text".to_owned(), json!(why.to_string()))]);
                }
                Some(value)
            }
            Self::NotYet(_) | Self::Failed(..) => None,
        }
    }
}

impl<'a> Explainer<'a> {
    /// Explains a row.
    ///
    /// # Errors
    /// When it has no decision, or the component does not answer.
    pub fn row(&self, key: &RowKey) -> Result<RowExplained, NotExplained> {
        let Some(row) = self.table.get(key) else {
            let why = self.store.unpublished(key);
            return Err(
                why.map_or(NotExplained::NotYet(key.clone()), |why| NotExplained::Unpublished(key.clone(), why))
            );
        };
        let node = node_input(self.component.description(), self.store.facts());
        let network = &self.store.facts().network;
        let (_, said) = self
            .component
            .explain(&self.terms.settings, &node, network, &row.input)
            .map_err(|failure| NotExplained::Failed(key.clone(), failure))?;
        let (mut offers, mut dropped) = (Vec::new(), Vec::new());
        for edit in said.edits {
            match self.offer(key, &edit, &row.decision) {
                Ok(offer) => offers.push(offer),
                Err(why) => dropped.push(Dropped { edit, why }),
            }
        }
        Ok(RowExplained { key: key.clone(), row: row.clone(), findings: said.findings, offers, dropped })
    }

    /// Tries one edit of a row that is decided as `now`.
    ///
    /// # Errors
    /// Why it is not worth showing.
    pub fn offer(&self, key: &RowKey, edit: &Edit, now: &Decision) -> Result<Offer, String> {
        offers::offer(self, key, edit, now)
    }

    /// How rows are decided beside the table.
    pub fn asking(&self) -> Asking<'a> {
        Asking { resolver: self.component.as_ref(), description: self.component.description(), terms: self.terms }
    }

    fn decided(&self, key: &RowKey) -> Option<Arc<Decision>> {
        self.table.get(key).map(|row| Arc::clone(&row.decision))
    }
}

impl RowExplained {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let edit = |offer: &Offer| offer.to_json(self.key.kind);
        let dropped = |Dropped { edit, why }: &Dropped| json!({ "edit": edit, "why": why });
        json!({
            "decisions": output::decisions_of(&self.key, &self.row),
            "findings": self.findings,
            "edits": self.offers.iter().map(edit).collect::<Vec<_>>(),
            "dropped": self.dropped.iter().map(dropped).collect::<Vec<_>>(),
        })
    }
}
