//! Why a row was decided as it was: a component's findings, with the names that the host adds.

use serde::Serialize;

use crate::batch::{Batch, WrongAnswer};
use crate::gateway::GatewayKey;

/// Findings, and edits, of one explanation.
pub const FINDINGS_MAX: usize = 256;
/// Characters of any text in an explanation.
pub const TEXT_CHARS_MAX: usize = 512;

/// Where a finding was made, or an edit applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The object asked about.
    Subject,
    /// Its Namespace.
    Namespace,
    /// A candidate Gateway.
    Gateway,
    /// A candidate's GatewayClass.
    GatewayClass,
    /// A listener of a candidate.
    Listener,
    /// The node.
    Node,
    /// The component's settings.
    Settings,
}

/// One step of the reasoning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The number of the rule, for instance R17.
    pub rule: String,
    /// Where.
    pub at: Level,
    /// Which Gateway, where the level is about one.
    pub gateway: Option<GatewayKey>,
    /// The label, annotation or field; may be empty.
    pub key: String,
    /// Its value.
    pub value: Option<String>,
    /// What was found.
    pub text: String,
    /// Whether this settled the decision.
    pub decisive: bool,
}

/// A change that would alter the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// Where.
    pub at: Level,
    /// Which Gateway, where the level is about one.
    pub gateway: Option<GatewayKey>,
    /// The label, annotation or field.
    pub key: String,
    /// Its new value; none: remove the key.
    pub value: Option<String>,
}

/// Why one row was decided as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The steps in their order.
    pub findings: Vec<Finding>,
    /// What would change the decision.
    pub edits: Vec<Edit>,
}

/// Text of a component, fit to be shown: without control characters and bounded in length.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS_MAX).collect()
}

/// The Gateway that an index of an explanation means.
///
/// # Errors
/// When it is not in the batch.
pub fn gateway_named(batch: &Batch<'_>, index: Option<u32>) -> Result<Option<GatewayKey>, WrongAnswer> {
    let count = batch.gateways.len();
    let name = |index: u32| {
        batch.gateways.get(index as usize).map(|g| g.key.clone()).ok_or(WrongAnswer::Gateway { index, count })
    };
    index.map(name).transpose()
}
