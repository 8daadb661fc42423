//! A batch of questions as a component sees it, what it may answer, and the check and translation of the answers.
//!
//! Indexes live only here: a question is told apart by contents ([`crate::input`]) and a decision names objects
//! ([`crate::decision`]). Whatever a component answers is checked before it is used.

use std::collections::HashMap;
use std::sync::Arc;

use crate::decision::{Choice, Decision, OnUnreachable, Target, Tunnel, WaypointAddress};
use crate::gateway::GatewayKey;
use crate::input::{GatewayInput, Input, NamespaceInput, NodeInput, Shared};
use crate::name::Name;

/// Waypoints that one decision may have. Istio knows two.
pub const TARGETS_MAX: usize = 16;
/// Characters of a reason, as for Kubernetes condition reasons the API of conditions asks (R80).
pub const REASON_CHARS_MAX: usize = 64;

/// One call's argument. The lists are sorted as the interface promises.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The component's settings.
    pub settings: &'a str,
    /// The node.
    pub node: &'a NodeInput,
    /// Namespaces of the subjects.
    pub namespaces: Vec<&'a NamespaceInput>,
    /// Candidates of the subjects.
    pub gateways: Vec<&'a GatewayInput>,
    /// What is asked.
    pub subjects: Vec<Question<'a>>,
}

/// One subject of a batch.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its contents.
    pub input: &'a Input,
    /// An index into the batch's namespaces.
    pub namespace: u32,
    /// Indexes into the batch's gateways.
    pub candidates: Vec<u32>,
    /// Those of the candidates that the control plane chose, primary first; none where none was asked.
    pub upstream: Option<Vec<u32>>,
}

/// A decision as a component words it, with indexes into the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where connections go.
    pub choice: AnswerChoice,
    /// What happens while the waypoint cannot be reached.
    pub on_unreachable: OnUnreachable,
    /// Why.
    pub reason: Option<String>,
    /// Why the second waypoint was refused.
    pub second_reason: Option<String>,
    /// Whether gateways go through the waypoint as well.
    pub ingress: bool,
    /// The tunnel of a waypoint's own instance.
    pub tunnel: Option<Tunnel>,
}

/// The choice as a component words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerChoice {
    /// As [`Choice::Keep`].
    Keep,
    /// As [`Choice::Direct`].
    Direct,
    /// As [`Choice::Blocked`].
    Blocked,
    /// As [`Choice::Waypoints`].
    Waypoints(Vec<AnswerTarget>),
}

/// A waypoint as a component words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTarget {
    /// An index into the batch's gateways.
    pub gateway: u32,
    /// An index into that gateway's addresses.
    pub address: Option<u32>,
    /// Percent.
    pub weight: u32,
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongAnswer {
    /// The list has another length.
    #[error("{given} decisions for {asked} subjects")]
    Length {
        /// Subjects asked about.
        asked: usize,
        /// Decisions given.
        given: usize,
    },
    /// The index names nothing in the batch.
    #[error("gateway {index} is not in the batch, which has {count}")]
    Gateway {
        /// The index.
        index: u32,
        /// How many gateways there are.
        count: usize,
    },
    /// The index names a gateway that another subject may mean.
    #[error("gateway {index} is not a candidate of the subject")]
    NotACandidate {
        /// The index.
        index: u32,
    },
    /// The index names no address of the gateway.
    #[error("address {index} is not one of the gateway's {count}")]
    Address {
        /// The index.
        index: u32,
        /// How many addresses there are.
        count: usize,
    },
    /// The address is neither an IP nor a hostname.
    #[error("address {index} is neither a hostname nor an IP address")]
    UnusableAddress {
        /// The index.
        index: u32,
    },
    /// `waypoints` with none, or too many.
    #[error("{count} waypoints; 1 to {TARGETS_MAX} are possible")]
    Targets {
        /// How many there were.
        count: usize,
    },
    /// The weights do not add up.
    #[error("weights add up to {sum} and not to 100")]
    Weights {
        /// Their sum.
        sum: u64,
    },
    /// Not a condition reason.
    #[error("reason {shown:?} is not a CamelCase word of 1 to {REASON_CHARS_MAX} characters")]
    Reason {
        /// Its beginning, without control characters.
        shown: String,
    },
}

impl<'a> Batch<'a> {
    /// A batch of these inputs, in their order.
    pub fn new(settings: &'a str, node: &'a NodeInput, inputs: &'a [Shared<Input>]) -> Self {
        let mut namespaces = Ranked::new(inputs.iter().map(|input| &input.namespace));
        let mut gateways = Ranked::new(inputs.iter().flat_map(|input| &input.candidates));
        namespaces.sort_by(|a, b| (&a.name, &a.selected_by).cmp(&(&b.name, &b.selected_by)));
        gateways.sort_by(|a, b| a.key.cmp(&b.key));
        let question = |input: &'a Shared<Input>| {
            let candidate = |key: &GatewayKey| input.candidates.iter().find(|gateway| gateway.key == *key);
            let rank = |key: &GatewayKey| Some(gateways.rank(candidate(key)?));
            Question {
                namespace: namespaces.rank(&input.namespace),
                candidates: input.candidates.iter().map(|gateway| gateways.rank(gateway)).collect(),
                upstream: input.upstream.as_ref().map(|keys| keys.iter().filter_map(rank).collect()),
                input,
            }
        };
        let subjects = inputs.iter().map(question).collect();
        Self { settings, node, subjects, namespaces: namespaces.items(), gateways: gateways.items() }
    }

    /// Checks and translates all answers. `network` is that of the addresses (R6).
    ///
    /// # Errors
    /// The first wrong answer, with its row where it is one row's.
    pub fn accept(&self, answers: Vec<Answer>, network: &Name) -> Result<Vec<Decision>, (Option<usize>, WrongAnswer)> {
        if answers.len() != self.subjects.len() {
            return Err((None, WrongAnswer::Length { asked: self.subjects.len(), given: answers.len() }));
        }
        let pairs = self.subjects.iter().zip(answers).enumerate();
        pairs
            .map(|(row, (question, answer))| self.translate(question, answer, network).map_err(|e| (Some(row), e)))
            .collect()
    }

    fn translate(&self, question: &Question<'_>, answer: Answer, network: &Name) -> Result<Decision, WrongAnswer> {
        let choice = match answer.choice {
            AnswerChoice::Keep => Choice::Keep,
            AnswerChoice::Direct => Choice::Direct,
            AnswerChoice::Blocked => Choice::Blocked,
            AnswerChoice::Waypoints(targets) => {
                if targets.is_empty() || targets.len() > TARGETS_MAX {
                    return Err(WrongAnswer::Targets { count: targets.len() });
                }
                let sum = targets.iter().map(|target| u64::from(target.weight)).sum();
                if sum != 100 {
                    return Err(WrongAnswer::Weights { sum });
                }
                let targets = targets.into_iter().map(|target| self.target(question, target, network));
                Choice::Waypoints(targets.collect::<Result<Arc<[Target]>, _>>()?)
            }
        };
        Ok(Decision {
            choice,
            on_unreachable: answer.on_unreachable,
            reason: answer.reason.map(reason).transpose()?,
            second_reason: answer.second_reason.map(reason).transpose()?,
            ingress: answer.ingress,
            tunnel: answer.tunnel,
            floor: false,
        })
    }

    fn target(&self, question: &Question<'_>, target: AnswerTarget, network: &Name) -> Result<Target, WrongAnswer> {
        let AnswerTarget { gateway: index, address, weight } = target;
        let count = self.gateways.len();
        let gateway = self.gateways.get(index as usize).ok_or(WrongAnswer::Gateway { index, count })?;
        if !question.candidates.contains(&index) {
            return Err(WrongAnswer::NotACandidate { index });
        }
        let (mut dial, mut known) = (Vec::new(), None);
        if let Some(index) = address {
            known = Some(waypoint_address(gateway, index, network)?);
            dial = gateway.dialled_at.get(index as usize).cloned().unwrap_or_default();
        }
        if dial.is_empty() && matches!(known, Some(WaypointAddress::Hostname(_))) {
            // Its service is not known (yet): what the Gateway reports beside the hostname is the same address (R14).
            dial = gateway.addresses.iter().filter_map(|address| address.ip()).collect();
        }
        let address = known;
        // The sum was checked: each weight is at most 100.
        Ok(Target { gateway: gateway.key.clone(), address, dial, weight: weight as u8 })
    }
}

fn waypoint_address(gateway: &GatewayInput, index: u32, network: &Name) -> Result<WaypointAddress, WrongAnswer> {
    let count = gateway.addresses.len();
    let address = gateway.addresses.get(index as usize).ok_or(WrongAnswer::Address { index, count })?;
    if let Some(hostname) = address.hostname() {
        return Ok(WaypointAddress::Hostname(hostname.clone()));
    }
    let ip = address.ip().ok_or(WrongAnswer::UnusableAddress { index })?;
    Ok(WaypointAddress::Ip { network: network.clone(), ip })
}

fn reason(text: String) -> Result<Name, WrongAnswer> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric());
    if letters && text.len() <= REASON_CHARS_MAX && text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Ok(text.into());
    }
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect();
    Err(WrongAnswer::Reason { shown })
}

/// Distinct values and their places in a sorted list.
struct Ranked<'a, T> {
    places: HashMap<&'a Shared<T>, u32>,
}

impl<'a, T: Eq> Ranked<'a, T> {
    fn new(items: impl Iterator<Item = &'a Shared<T>>) -> Self {
        Self { places: items.map(|item| (item, 0)).collect() }
    }

    fn sort_by(&mut self, order: impl Fn(&T, &T) -> std::cmp::Ordering) {
        let mut sorted: Vec<_> = self.places.iter_mut().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        for (place, (_, at)) in (0..).zip(sorted) {
            *at = place;
        }
    }

    fn rank(&self, item: &Shared<T>) -> u32 {
        self.places.get(item).copied().unwrap_or(u32::MAX)
    }

    fn items(self) -> Vec<&'a T> {
        let mut items: Vec<_> = self.places.into_iter().collect();
        items.sort_unstable_by_key(|(_, place)| *place);
        items.into_iter().map(|(item, _)| &**item).collect()
    }
}

#[cfg(test)]
mod tests;
