//! The lines of a capture as serde writes and reads them, and what they are in the model's words.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use model::decision::{Choice, Decision, OnUnreachable, Target, Tunnel, TunnelProtocol, WaypointAddress};
use model::gateway::GatewayKey;
use model::input::{Input, NamespaceInput, Shared, SubjectKind};
use model::store::{Facts, Node};
use model::table::{Row, RowKey, RowKind, Subject};
use model::{Labels, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Header, LearnedRow, Rules, VERSION};
use crate::cli::Unresolved;
use crate::output;

/// The first line, as far as every version has it.
#[derive(Deserialize)]
pub(super) struct AnyVersion {
    pub(super) version: u64,
    #[serde(default)]
    pub(super) program: String,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeaderLine {
    version: u64,
    program: String,
    pseudonymised: bool,
    revision: u64,
    objects_revision: u64,
    facts: FactsLine,
    mesh_config: Value,
    rules: Option<Rules>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FactsLine {
    cluster_domain: Name,
    network: Name,
    cluster_id: Name,
    istio: String,
    istio_revision: Name,
    node: NodeLine,
}

#[derive(Serialize, Deserialize)]
struct NodeLine {
    name: Option<Name>,
    labels: BTreeMap<Name, Name>,
    region: Option<Name>,
    zone: Option<Name>,
    subzone: Option<Name>,
}

/// The last line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndLine {
    pub(super) objects: u64,
    pub(super) decisions: u64,
    /// Left out where there are none, as in captures of agents that know no control plane.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) learned: u64,
    pub(super) sha256: String,
}

/// For serde, which hands over a reference.
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A decision on what a control plane told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LearnedLine<'a> {
    /// As of an object.
    #[serde(borrow)]
    row: &'a RawValue,
    upstream: DecisionLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<DecisionLine>,
}

/// A row.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowLine<'a> {
    kind: String,
    namespace: Name,
    name: Name,
    /// Of an endpoint: its address, or the host that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<Name>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    dialled_by_address: bool,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    degraded: Option<Arc<String>>,
    /// A text of its own, since most rows have one of a few.
    #[serde(borrow)]
    decision: &'a RawValue,
}

/// A decision, in the words of the other outputs where these have one.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecisionLine {
    choice: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waypoints: Vec<WaypointLine>,
    on_unreachable: Unresolved,
    reason: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary_reason: Option<Name>,
    ingress_use_waypoint: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    application_tunnel: Option<TunnelLine>,
    /// The host's floor stands in the place of the component's answer.
    floor: bool,
}

#[derive(Serialize, Deserialize)]
struct WaypointLine {
    namespace: Name,
    name: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<Name>,
    dial: Vec<IpAddr>,
    weight: u8,
}

#[derive(Serialize, Deserialize)]
struct TunnelLine {
    protocol: String,
    port: u32,
}

impl HeaderLine {
    pub(super) fn of(header: &Header) -> Self {
        let Facts { cluster_domain, network, cluster_id, istio_revision, istio, mesh, node } = header.facts.clone();
        let Node { name, labels, region, zone, subzone } = node;
        let labels = labels.iter().cloned().collect();
        Self {
            version: VERSION,
            program: header.program.clone(),
            pseudonymised: header.pseudonymised,
            revision: header.revision,
            objects_revision: header.objects_revision,
            facts: FactsLine {
                cluster_domain,
                network,
                cluster_id,
                istio: istio.to_string(),
                istio_revision,
                node: NodeLine { name, labels, region, zone, subzone },
            },
            mesh_config: manifest::write_mesh(&mesh),
            rules: header.rules.clone(),
        }
    }

    pub(super) fn header(self, limits: &manifest::Limits) -> anyhow::Result<Header> {
        let FactsLine { cluster_domain, network, cluster_id, istio, istio_revision, node } = self.facts;
        let NodeLine { name, labels, region, zone, subzone } = node;
        let mesh = manifest::mesh_config("meshConfig", &self.mesh_config.to_string(), limits);
        let mesh = mesh.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let labels: Labels = labels.into_iter().collect();
        Ok(Header {
            program: self.program,
            pseudonymised: self.pseudonymised,
            revision: self.revision,
            objects_revision: self.objects_revision,
            facts: Facts {
                cluster_domain,
                network,
                cluster_id,
                istio_revision,
                istio: istio.parse().map_err(anyhow::Error::msg)?,
                mesh,
                node: Node { name, labels, region, zone, subzone },
            },
            rules: self.rules,
        })
    }
}

/// Writes the text of a row.
pub(super) fn row_text(key: &RowKey, row: &Row) -> serde_json::Result<String> {
    let decision = serde_json::to_string(&decision_line(&row.decision))?;
    let decision: Box<RawValue> = RawValue::from_string(decision)?;
    serde_json::to_string(&RowLine {
        kind: key.kind.to_string(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        address: key.part.clone(),
        hosts: row.subject.hosts.to_vec(),
        addresses: row.subject.addresses.to_vec(),
        dialled_by_address: row.subject.dialled_by_address,
        revision: row.revision,
        degraded: row.degraded.clone(),
        decision: &decision,
    })
}

/// Writes the text of a decision on what a control plane told.
pub(super) fn learned_text(key: &RowKey, learned: &LearnedRow) -> serde_json::Result<String> {
    let row: Box<RawValue> = RawValue::from_string(row_text(key, &learned.row)?)?;
    serde_json::to_string(&LearnedLine {
        row: &row,
        upstream: decision_line(&learned.upstream),
        refused: learned.refused.as_ref().map(decision_line),
    })
}

fn decision_line(decision: &Decision) -> DecisionLine {
    let waypoint = |target: &Target| {
        let (hostname, address, network) = match &target.address {
            None => (None, None, None),
            Some(WaypointAddress::Hostname(hostname)) => (Some(hostname.clone()), None, None),
            Some(WaypointAddress::Ip { network, ip }) => (None, Some(*ip), Some(network.clone())),
        };
        let GatewayKey { namespace, name } = target.gateway.clone();
        WaypointLine { namespace, name, hostname, address, network, dial: target.dial.clone(), weight: target.weight }
    };
    DecisionLine {
        choice: output::choice(decision).to_owned(),
        waypoints: decision.targets().iter().map(waypoint).collect(),
        on_unreachable: decision.on_unreachable.into(),
        reason: decision.reason.clone(),
        canary_reason: decision.second_reason.clone(),
        ingress_use_waypoint: decision.ingress,
        application_tunnel: decision
            .tunnel
            .map(|tunnel| TunnelLine { protocol: tunnel_protocol(tunnel.protocol).to_owned(), port: tunnel.port }),
        floor: decision.floor,
    }
}

/// Reads rows. Equal decisions become one value.
pub(super) struct Rows {
    decisions: HashMap<Box<str>, Arc<Decision>>,
    input: Shared<Input>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self { decisions: HashMap::new(), input: unknown_input() }
    }

    pub(super) fn read(&mut self, text: &str) -> anyhow::Result<(RowKey, Row)> {
        let line: RowLine<'_> = serde_json::from_str(text)?;
        let kind: RowKind = line.kind.parse().map_err(anyhow::Error::msg)?;
        let decision = match self.decisions.get(line.decision.get()) {
            Some(decision) => Arc::clone(decision),
            None => {
                let decision = Arc::new(decision(serde_json::from_str(line.decision.get())?)?);
                self.decisions.insert(line.decision.get().into(), Arc::clone(&decision));
                decision
            }
        };
        let key = RowKey { kind, namespace: line.namespace, name: line.name, part: line.address };
        let (hosts, addresses) = (line.hosts.into(), line.addresses.into());
        let row = Row {
            subject: Subject { hosts, addresses, dialled_by_address: line.dialled_by_address },
            input: self.input.clone(),
            decision,
            revision: line.revision,
            degraded: line.degraded,
        };
        Ok((key, row))
    }

    pub(super) fn read_learned(&mut self, text: &str) -> anyhow::Result<(RowKey, LearnedRow)> {
        let line: LearnedLine<'_> = serde_json::from_str(text)?;
        let (key, row) = self.read(line.row.get())?;
        let refused = line.refused.map(decision).transpose()?;
        Ok((key, LearnedRow { row, upstream: decision(line.upstream)?, refused }))
    }
}

fn decision(line: DecisionLine) -> anyhow::Result<Decision> {
    let target = |line: WaypointLine| {
        let address = match (line.hostname, line.address) {
            (None, None) => None,
            (Some(hostname), None) => Some(WaypointAddress::Hostname(hostname)),
            (None, Some(ip)) => Some(WaypointAddress::Ip { network: line.network.unwrap_or_default(), ip }),
            (Some(_), Some(_)) => bail!("a waypoint has both a hostname and an address"),
        };
        let gateway = GatewayKey { namespace: line.namespace, name: line.name };
        Ok(Target { gateway, address, dial: line.dial, weight: line.weight })
    };
    let targets = line.waypoints.into_iter().map(target).collect::<anyhow::Result<Vec<Target>>>()?;
    let tunnel = |line: TunnelLine| {
        let known = [TunnelProtocol::None, TunnelProtocol::Proxy];
        let protocol = known.into_iter().find(|it| tunnel_protocol(*it) == line.protocol);
        let protocol = protocol.with_context(|| format!("unknown tunnel protocol {:?}", line.protocol))?;
        anyhow::Ok(Tunnel { protocol, port: line.port })
    };
    let choice = match (line.choice.as_str(), targets.is_empty()) {
        ("keep", true) => Choice::Keep,
        ("direct", true) => Choice::Direct,
        ("blocked", true) => Choice::Blocked,
        ("waypoint", false) => Choice::Waypoints(targets.into()),
        (other, _) => bail!("{other:?} is no choice, or its waypoints do not fit"),
    };
    Ok(Decision {
        choice,
        on_unreachable: OnUnreachable::from(line.on_unreachable),
        reason: line.reason,
        second_reason: line.canary_reason,
        ingress: line.ingress_use_waypoint,
        tunnel: line.application_tunnel.map(tunnel).transpose()?,
        floor: line.floor,
    })
}

fn tunnel_protocol(protocol: TunnelProtocol) -> &'static str {
    match protocol {
        TunnelProtocol::None => "NONE",
        TunnelProtocol::Proxy => "PROXY",
    }
}

/// A row's question is not captured: it follows from the objects and the component.
pub(super) fn unknown_input() -> Shared<Input> {
    Shared::new(Input::about(SubjectKind::Pod, NamespaceInput::named("")))
}
