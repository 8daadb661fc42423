//! What is seen of one connection, at both of its ends. Facts only; whether they are right is the ledger's business.

use std::net::SocketAddr;

use redirect::Record;
use serde::{Deserialize, Serialize};

use super::destinations::plain;

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Observation {
    /// The number of the destination.
    pub(super) destination: usize,
    /// What the kernel recorded on the client's own socket; none if no rule named the destination.
    pub(super) record: Option<Noted>,
    pub(super) outcome: Outcome,
}

/// How a connection went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// `connect` failed with this error number.
    Denied(i32),
    /// Somebody answered.
    Arrived(Greeting),
    /// Anything else: a time-out, an answer that makes no sense.
    Broken(String),
}

/// What a stand-in says to whoever connects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// Who speaks.
    pub(super) name: String,
    /// The address at which the connection arrived.
    pub(super) at: SocketAddr,
    /// What the kernel told the stand-in about the connection.
    pub(super) told: Option<Noted>,
}

/// A kernel record, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Where the application wanted to go.
    pub(super) destination: SocketAddr,
    /// The rules that decided.
    pub(super) rules: u64,
    /// The state of the mesh they decided on.
    pub(super) revision: u64,
    /// The number of the row.
    pub(super) rule_id: u32,
}

impl From<Record> for Noted {
    fn from(record: Record) -> Self {
        let Record { destination, rules, revision, rule_id, .. } = record;
        Self { destination: plain(destination), rules, revision, rule_id }
    }
}
