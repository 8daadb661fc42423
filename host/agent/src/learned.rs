//! Decisions on what a control plane told, as readers see them: found, listed, and explained. They have no object: what is
//! known of them is what the control plane says, and what was decided beside it. Who decides is [`crate::upstream`].

use std::fmt;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::decision::{Choice, Decision, Target};
use model::explain::Finding;
use model::input::SubjectKind;
use model::learned::decider::LearnedRow;
use model::learned::{LearnedMesh, LearnedSubject};
use model::projection::node_input;
use model::table::{Row, RowKey, RowKind, Subject};
use model::{Name, ResolveFailure};
use serde_json::{Value, json};
use xds::fallback::Fallback;
use xds::resource::Snapshot;

use crate::capture;
use crate::explanation::Explainer;
use crate::output;
use crate::ztunnels;

/// What a decision says it comes from, in answers for programs.
pub(crate) const SOURCE: &str = "upstream";

/// All of them, of one moment.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub(crate) mesh: LearnedMesh,
    pub(crate) rows: OrdMap<Name, Arc<LearnedRow>>,
    /// Services of waypoints that are not sent to one, whatever was decided.
    pub(crate) guarded: OrdSet<Name>,
    /// The rules that decided.
    pub(crate) rules: u64,
}

/// One of them.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The resource: a workload's uid, or `namespace/host`.
    pub(crate) resource: &'a Name,
    pub(crate) subject: &'a LearnedSubject,
    pub(crate) row: &'a LearnedRow,
    /// It is a waypoint's own, and what the control plane said stays.
    pub(crate) is_guarded: bool,
}

impl Learned {
    /// All, in the order of the resources.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Told<'_>> {
        self.mesh.iter().filter_map(|(resource, subject)| {
            let row = self.rows.get(resource)?;
            Some(Told { resource, subject, row, is_guarded: self.guarded.contains(resource) })
        })
    }

    /// Those of an object, or of what would be one: a ServiceEntry has one for each host. `key.part` narrows it down.
    pub(crate) fn of<'a>(&'a self, key: &'a RowKey) -> impl Iterator<Item = Told<'a>> {
        self.iter().filter(move |it| {
            let own = it.key();
            let is_it = own.kind == key.kind && own.namespace == key.namespace && own.name == key.name;
            is_it && key.part.as_ref().is_none_or(|part| Some(part) == own.part.as_ref() || part == it.resource)
        })
    }
}

impl Told<'_> {
    /// The row that another source would have for it. Where that cannot be told, the part is the host, or the uid.
    pub(crate) fn key(self) -> RowKey {
        let LearnedSubject { kind, namespace, name, row, hosts, .. } = self.subject;
        row.clone().unwrap_or_else(|| RowKey {
            kind: kind_of(*kind),
            namespace: namespace.clone(),
            name: name.clone(),
            part: hosts.first().or(Some(self.resource)).cloned(),
        })
    }

    /// What the control plane said, as if it was a decision. Its weights are not known.
    pub(crate) fn upstream(self) -> Decision {
        let target = |it: &model::learned::LearnedWaypoint| Target {
            gateway: it.key(),
            address: Some(it.address()),
            dial: Vec::new(),
            weight: 0,
        };
        let choice = match &*self.subject.upstream {
            [] => Choice::Direct,
            waypoints => Choice::Waypoints(waypoints.iter().map(target).collect()),
        };
        Decision::without_waypoint(choice, None)
    }

    /// As a capture has it.
    pub(crate) fn captured(self) -> (RowKey, capture::LearnedRow) {
        let LearnedRow { input, decision, refused, revision, degraded } = self.row.clone();
        let hosts = self.subject.hosts.clone().into();
        let addresses = self.subject.addresses.iter().map(|(_, ip)| *ip).collect();
        // Its addresses are the control plane's to tell; nothing is redirected because of them.
        let subject = Subject { hosts, addresses, dialled_by_address: false };
        let row = Row { subject, input, decision, revision, degraded };
        let refused = refused.as_deref().cloned();
        (self.key(), capture::LearnedRow { row, upstream: self.upstream(), refused })
    }

    /// For programs: as other decisions, with its source, what the control plane said, and what was refused.
    pub(crate) fn to_json(self, newest: &Snapshot) -> Value {
        let key = self.key();
        let mut value = output::answer(key.kind, &self.row.decision);
        let is_service = key.kind.is_service();
        let beside = [
            ("kind", json!(key.kind)),
            ("namespace", json!(key.namespace)),
            ("name", json!(key.name)),
            ("host", json!(self.subject.hosts.first())),
            ("address", json!(key.part.filter(|_| !is_service))),
            ("revision", json!(self.row.revision)),
            ("degraded", json!(self.row.degraded)),
            ("guarded", json!(self.is_guarded)),
            ("source", json!(SOURCE)),
            ("resource", json!(self.resource)),
            ("upstream", output::answer(key.kind, &self.upstream())),
            ("refused", json!(self.row.refused.as_ref().map(|it| output::answer(key.kind, it)))),
        ];
        if let Value::Object(fields) = &mut value {
            fields.extend(beside.map(|(key, value)| (key.to_owned(), value)));
            let fallback = newest.fallbacks.get(self.resource).map(|it| ztunnels::fallback(it));
            fields.extend(fallback.map(|it| ("fallback".to_owned(), it)));
        }
        value
    }

    /// Asks the component why. Its edits are not tried: there is no object to make them on.
    ///
    /// # Errors
    /// When the component does not answer.
    pub(crate) fn explained(
        &self,
        explainer: &Explainer<'_>,
        newest: &Snapshot,
    ) -> Result<LearnedExplained, ResolveFailure> {
        let facts = explainer.store.facts();
        let node = node_input(explainer.component.description(), facts);
        let mut remarks = remarks(
            &self.row.decision,
            &self.upstream(),
            self.row.refused.as_deref(),
            self.row.degraded.as_deref(),
            newest.fallbacks.get(self.resource).map(|it| &**it),
        );
        if self.is_guarded {
            let why = "it is a waypoint's own Service: what the control plane said stays (--xds-guard-waypoints)";
            remarks.push(why.to_owned());
        }
        let (_, said) =
            explainer.component.explain(&explainer.terms.settings, &node, &facts.network, &self.row.input)?;
        Ok(LearnedExplained {
            value: self.to_json(newest),
            title: format!("{} ({}, told by the control plane)", self.key(), self.resource),
            decision: Arc::clone(&self.row.decision),
            remarks,
            findings: said.findings,
        })
    }
}

/// What decided beside the component, for people: what the control plane said, and what became of the choice.
pub(crate) fn remarks(
    decision: &Decision,
    upstream: &Decision,
    refused: Option<&Decision>,
    degraded: Option<&String>,
    fallback: Option<&Fallback>,
) -> Vec<String> {
    let mut remarks = match upstream.targets() {
        [] => vec!["the control plane gave it no waypoint".to_owned()],
        given => {
            let given: Vec<String> = given.iter().map(|it| it.gateway.to_string()).collect();
            vec![format!("the control plane gave it {}, primary first", given.join(", "))]
        }
    };
    if let Some(refused) = refused {
        remarks.push(format!(
            "the component chose {refused}: refused, since the control plane did not program that waypoint for it (R98); \
             --allow-unprogrammed lets it pass"
        ));
    }
    if let Some(degraded) = degraded {
        remarks.push(format!("this is not a fresh answer: {degraded}"));
    }
    if decision.choice == Choice::Keep {
        remarks.push("what the control plane said stays, byte for byte".to_owned());
    }
    if let Some(Fallback { client, reason, .. }) = fallback {
        remarks.push(format!("ztunnel {client} rejects it ({reason}): all are told what the control plane said"));
    }
    remarks
}

fn kind_of(kind: SubjectKind) -> RowKind {
    match kind {
        SubjectKind::Service => RowKind::Service,
        SubjectKind::ServiceEntry => RowKind::ServiceEntry,
        SubjectKind::Pod => RowKind::Pod,
        SubjectKind::WorkloadEntry => RowKind::WorkloadEntry,
        SubjectKind::EntryEndpoint | SubjectKind::ImpliedEndpoint => RowKind::ServiceEntryEndpoint,
        SubjectKind::SliceEndpoint => RowKind::EndpointSliceEndpoint,
    }
}

/// Why something that a control plane told is decided as it is.
#[derive(Clone, Debug)]
pub(crate) struct LearnedExplained {
    value: Value,
    title: String,
    decision: Arc<Decision>,
    remarks: Vec<String>,
    findings: Vec<Finding>,
}

impl LearnedExplained {
    /// For programs: the decision, with `findings` and `remarks`.
    pub(crate) fn into_json(self) -> Value {
        let mut value = self.value;
        if let Value::Object(fields) = &mut value {
            fields.extend([("findings".to_owned(), json!(self.findings)), ("remarks".to_owned(), json!(self.remarks))]);
        }
        value
    }
}

/// For people, as the explanation of an object.
impl fmt::Display for LearnedExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.title, self.decision)?;
        for Finding { rule, text, decisive, .. } in &self.findings {
            writeln!(f, "{} {rule:5} {text}", if *decisive { '>' } else { ' ' })?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "  {:5} {remark}", "-"))
    }
}
