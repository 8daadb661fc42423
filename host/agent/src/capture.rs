//! A capture: what a mesh was and what was decided for it, in one file that every command takes in the place of manifests.
//!
//! One JSON value a line, each under the name of what it is: first `capture` (version, facts, MeshConfig, rules), then an
//! `object` for each manifest, then a `decision` for each row and a `learned` for each decision on what a control plane told, last `end` with how many there were and the SHA-256 of all
//! lines before it. So a capture is written and read line by line, however large the mesh; one that was cut off or changed
//! is told from a whole one; and `jq -c .object` gives the manifests back.

use std::collections::BTreeMap;

use model::decider::Terms;
use model::decision::{Choice, Decision, OnUnreachable};
use model::pseudonym::Vocabulary;
use model::store::Facts;
use model::{Row, RowKey, Store, Table};
use serde::{Deserialize, Serialize};

use crate::cli::Unresolved;
use crate::rules::{BUILT_IN, DEFAULT_COMPONENT};

mod wire;

mod write;

mod read;

mod renamed;

mod serve;

mod client;

pub(crate) use client::ask;
pub(crate) use read::{Found, Reader, is_capture};
pub(crate) use renamed::{mapping, pseudonymised};
pub(crate) use serve::{CAPTURES_MAX, stream};
pub(crate) use write::{Written, write};

/// The version of the format. A capture of another one is refused.
pub(crate) const VERSION: u64 = 1;

/// A capture in memory.
pub(crate) struct Capture {
    pub(crate) header: Header,
    pub(crate) store: Store,
    /// The decisions as they were. A row's input is not known: it can be compared and printed, not explained.
    pub(crate) table: Table,
    pub(crate) learned: LearnedRows,
}

/// Decisions on what a control plane told, by the row that another source would have.
pub(crate) type LearnedRows = BTreeMap<RowKey, LearnedRow>;

/// One of them. There is no object for it: it can be compared and printed.
#[derive(Clone, Debug)]
pub(crate) struct LearnedRow {
    pub(crate) row: Row,
    /// What the control plane said, as if it was a decision.
    pub(crate) upstream: Decision,
    /// What the component chose, where that was refused.
    pub(crate) refused: Option<Decision>,
}

/// What a capture says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The program that wrote it.
    pub(crate) program: String,
    /// Whether names are others than in the mesh.
    pub(crate) pseudonymised: bool,
    /// The revision of the mesh that the decisions are of.
    pub(crate) revision: u64,
    /// The revision that the objects are of. Another one than that of the decisions if the mesh changed too often meanwhile.
    pub(crate) objects_revision: u64,
    pub(crate) facts: Facts,
    /// None: no rules were in force yet, and there are no decisions.
    pub(crate) rules: Option<Rules>,
}

/// The rules under which a capture was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rules {
    pub(crate) number: u64,
    /// How the operator calls the component.
    pub(crate) component: String,
    /// The component's own name.
    pub(crate) name: String,
    /// The component's own version.
    pub(crate) version: String,
    /// Of the component, in hex.
    pub(crate) sha256: String,
    pub(crate) settings: String,
    pub(crate) denied: Fallback,
    pub(crate) undecided: Fallback,
    pub(crate) unresolved: Option<Unresolved>,
    /// Keys of labels that the component reads, prefixes with a `*`.
    pub(crate) labels: Vec<model::Name>,
    /// The same of annotations.
    pub(crate) annotations: Vec<model::Name>,
}

/// What a row gets that gets no answer of the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fallback {
    Direct,
    Blocked,
}

impl From<&Choice> for Fallback {
    fn from(choice: &Choice) -> Self {
        // An operator can choose between these two.
        if *choice == Choice::Direct { Self::Direct } else { Self::Blocked }
    }
}

impl From<Fallback> for Choice {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Direct => Self::Direct,
            Fallback::Blocked => Self::Blocked,
        }
    }
}

impl From<OnUnreachable> for Unresolved {
    fn from(declared: OnUnreachable) -> Self {
        match declared {
            OnUnreachable::Fail => Self::Fail,
            OnUnreachable::Bypass => Self::Bypass,
        }
    }
}

impl Header {
    /// Of a mesh and its decisions.
    pub(crate) fn of(store: &Store, table: &Table, rules: Option<Rules>) -> Self {
        Self {
            program: concat!("wayswitch ", env!("CARGO_PKG_VERSION")).to_owned(),
            pseudonymised: false,
            revision: table.revision,
            objects_revision: store.revision(),
            facts: store.facts().clone(),
            rules,
        }
    }
}

impl Rules {
    pub(crate) fn of(number: u64, named: &str, component: &engine::Loaded, terms: &Terms) -> Self {
        let description = component.description();
        let vocabulary = Vocabulary::of(description);
        Self {
            number,
            component: named.to_owned(),
            name: description.name.to_string(),
            version: description.version.to_string(),
            sha256: component.facts().digest.clone(),
            settings: terms.settings.to_string(),
            denied: (&terms.denied).into(),
            undecided: (&terms.undecided).into(),
            unresolved: terms.unresolved.map(Into::into),
            labels: vocabulary.labels().to_vec(),
            annotations: vocabulary.annotations().to_vec(),
        }
    }

    /// Whether the component is the one in this program, wherever it was read from.
    fn is_built_in(&self) -> bool {
        use sha2::Digest;
        self.component == BUILT_IN || self.sha256 == hex(&sha2::Sha256::digest(DEFAULT_COMPONENT))
    }
}

/// As `sha256sum` writes a digest.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a reader takes at most.
#[derive(Clone, Debug)]
pub(crate) struct CaptureLimits {
    /// Bytes of all lines; 4 GiB.
    pub(crate) bytes_max: u64,
    /// Bytes of one line; 16 MiB. The texts of one object have at most a quarter of it.
    pub(crate) line_bytes_max: u64,
    /// Objects; 1,000,000, as of manifests.
    pub(crate) objects_max: u64,
    /// Decisions; 2,000,000.
    pub(crate) decisions_max: u64,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self { bytes_max: 4 << 30, line_bytes_max: 16 << 20, objects_max: 1_000_000, decisions_max: 2_000_000 }
    }
}

#[cfg(test)]
mod tests;
