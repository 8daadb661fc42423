//! Does the interface carry all of the selection? Cases of all groups, also about kinds and rules that are not built yet,
//! are lowered by a hand-written projection, decided, lifted, and compared: by the default component in full where it has
//! the rules, and for the canary by a sketch of its rule in this file, on the author's side of the interface.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use engine::{Engine, Limits};
use model::batch::Batch;
use model::decision::Choice;
use model::input::{Input, NodeInput, Shared, SubjectKind};
use model::table::{RowKey, RowKind, Subject};
use model::{Decision, Description, Name, Resolver as _, Row, floor};
use plugin_istio::Istio;
use serde_json::Value;
use tests::candidate::artifact;
use tests::conformance::projection::Snapshot;
use tests::conformance::{Case, cases, differs};
use tests::native::Native;
use wayswitch_sdk as sdk;

/// Cases in the folder, and decisions in them.
const CASES: usize = 95;
const DECISIONS: usize = 124;

/// The cases whose decision needs the canary (R60-R68), which the default component does not have yet: of these it has to
/// find the primary waypoint, and all of the answer comes from the sketch.
const CANARY: [&str; 16] =
    ["L04", "L06", "L08", "M02", "M03", "M04", "M07", "M08", "M09", "N01", "N02", "N03", "N08a", "N09", "N12a", "N12b"];

/// What the canary adds to a decision.
const OF_THE_CANARY: [&str; 2] = ["weighted", "canaryReason"];

/// A case with its questions under one description.
struct Asked<'a> {
    case: &'a Case,
    inputs: Vec<Shared<Input>>,
}

fn ask<'a>(case: &'a Case, description: &Description) -> Result<Asked<'a>> {
    let snapshot = Snapshot::of(case)?;
    let question = |wanted| snapshot.question(wanted, description).map(Shared::new);
    Ok(Asked { case, inputs: case.wanted.iter().map(question).collect::<Result<_>>()? })
}

impl Asked<'_> {
    /// What the answers differ from the expectation in, without the keys `left_out`.
    fn failures(&self, decisions: Vec<Decision>, left_out: &[&str]) -> Result<Vec<String>> {
        ensure!(decisions.len() == self.case.wanted.len());
        let mut failures = Vec::new();
        for ((wanted, input), decision) in self.case.wanted.iter().zip(&self.inputs).zip(decisions) {
            let after = floor::apply(input, decision.clone(), &Choice::Blocked);
            ensure!(after == decision, "{}: the host's floor changes a decision of Istio's", self.case.id);
            let found = answer(wanted, input, decision);
            let failure = differs(&without(wanted, left_out), &found, "");
            failures.extend(failure.map(|failure| format!("{}: {}: {failure}", self.case.id, wanted["kind"])));
        }
        Ok(failures)
    }
}

/// A decision in the contract's words. The host writes rows of two kinds so far: one stands for everything with a host, the
/// other for every workload.
fn answer(wanted: &Value, input: &Shared<Input>, decision: Decision) -> Value {
    let service = wanted["host"].is_string();
    let key = RowKey::new(if service { RowKind::Service } else { RowKind::Pod }, "", "");
    let subject = Subject { hosts: Vec::new(), addresses: Vec::new(), dialled_by_address: true };
    let (subject, decision) = (Arc::new(subject), Arc::new(decision));
    agent::output::decision(&key, &Row { subject, input: input.clone(), decision, revision: 0, degraded: None })
}

/// An expectation without what identifies it, and without these.
fn without(wanted: &Value, keys: &[&str]) -> Value {
    let mut wanted = wanted.clone();
    if let Value::Object(map) = &mut wanted {
        map.retain(|key, _| !["kind", "namespace", "name", "host", "address"].contains(&key.as_str()));
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
    wanted
}

fn needs_canary(case: &Case) -> bool {
    let weighted = |wanted: &Value| wanted["weighted"].as_array().is_some_and(|list| !list.is_empty());
    case.wanted.iter().any(|wanted| weighted(wanted) || wanted["canaryReason"].is_string())
}

#[test]
fn the_default_component_decides_subjects_of_all_kinds() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let (node, network) = (NodeInput::default(), Name::from(""));
    let (mut kinds, mut count, mut failures) = (BTreeSet::new(), 0, Vec::new());
    let cases = cases('A'..='O')?;
    for case in &cases {
        let asked = ask(case, component.description()).with_context(|| case.id.clone())?;
        let batch = Batch::new("", &node, &asked.inputs);
        let decisions = batch
            .accept(component.answers(&batch)?.0, &network)
            .map_err(|(row, why)| anyhow::anyhow!("{}: row {row:?}: {why}", case.id))?;
        let left_out: &[&str] = if needs_canary(case) { &OF_THE_CANARY } else { &[] };
        count += decisions.len();
        failures.extend(asked.failures(decisions, left_out)?);
        for input in &asked.inputs {
            kinds.insert(input.kind);
            let (_, explanation) = component.explain("", &node, &network, input).with_context(|| case.id.clone())?;
            ensure!(!explanation.findings.is_empty(), "{}: nothing was found", case.id);
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((cases.len(), count), (CASES, DECISIONS), "cases, and decisions compared");
    // No case has an endpoint of an EndpointSlice: the test below has.
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    Ok(())
}

#[test]
fn an_endpoint_of_a_slice_never_has_a_waypoint_where_a_pod_has_one() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let case = cases('A'..='A')?.into_iter().find(|case| case.id == "A02").context("case A02")?;
    let (snapshot, node) = (Snapshot::of(&case)?, NodeInput::default());
    let pod = snapshot.question(&case.wanted[0], component.description())?;
    let endpoint = snapshot.question(&case.wanted[0], component.description())?;
    let endpoint = Input { kind: SubjectKind::SliceEndpoint, ..endpoint };
    let inputs = [Shared::new(pod), Shared::new(endpoint)];
    let batch = Batch::new("", &node, &inputs);
    let decisions = batch.accept(component.answers(&batch)?.0, &"".into()).map_err(|(_, why)| why)?;
    let shown: Vec<_> = decisions.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["ns1/waypoint-ns (WaypointAccepted)", "direct"]);
    Ok(())
}

#[test]
fn the_canary_fits_into_the_interface_as_it_is() -> Result<()> {
    let (canary, description) = Native::<Canary>::new("").map_err(anyhow::Error::msg)?;
    let (node, network) = (NodeInput::default(), Name::from(""));
    let (mut ids, mut failures) = (Vec::new(), Vec::new());
    // Those that need no canary go the same way: it must not disturb them.
    for case in cases('A'..='O')? {
        let asked = ask(&case, &description)?;
        let batch = Batch::new("", &node, &asked.inputs);
        let decisions = batch.accept(canary.resolve(&batch)?, &network).map_err(|(_, why)| why)?;
        failures.extend(asked.failures(decisions, &[])?);
        ids.extend(needs_canary(&case).then_some(case.id));
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(ids, CANARY);
    Ok(())
}

const USE_CANARY: &str = "istio.io/use-waypoint-canary";
const USE_CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";

/// A sketch of the canary (R60-R65) on top of the default rules, written as a plugin's author would: it only has to show
/// that the interface gives it all it reads and takes all it says.
struct Canary;

impl sdk::Resolver for Canary {
    fn describe(settings: &str) -> Result<sdk::Description, String> {
        let mut description = Istio::describe(settings)?
            .reading(sdk::Source::SubjectLabel, &[USE_CANARY, USE_CANARY_NAMESPACE])
            .reading(sdk::Source::NamespaceLabel, &[USE_CANARY, USE_CANARY_NAMESPACE])
            .reading(sdk::Source::SubjectAnnotation, &[CANARY_WEIGHT])
            .reading(sdk::Source::NamespaceAnnotation, &[CANARY_WEIGHT]);
        description.references.push(sdk::Reference {
            name_label: USE_CANARY.to_owned(),
            namespace_label: Some(USE_CANARY_NAMESPACE.to_owned()),
            inherit: true,
        });
        Ok(description)
    }

    fn resolve(batch: &sdk::Batch) -> Result<Vec<sdk::Decision>, sdk::Failure> {
        let decisions = Istio::resolve(batch)?;
        batch.rows().zip(decisions).map(|(row, decision)| Ok(with_canary(batch, &row?, decision))).collect()
    }

    fn explain(batch: &sdk::Batch) -> Result<sdk::Explanation, sdk::Failure> {
        Istio::explain(batch)
    }
}

fn with_canary(batch: &sdk::Batch, row: &sdk::Row<'_>, mut decision: sdk::Decision) -> sdk::Decision {
    let (subject, namespace) = (row.subject, row.namespace);
    let service = matches!(subject.kind, sdk::SubjectKind::Service | sdk::SubjectKind::ServiceEntry);
    let sdk::Choice::Waypoints(targets) = &mut decision.choice else { return decision };
    let [primary] = targets.as_mut_slice() else { return decision };
    let own_primary = subject.label("istio.io/use-waypoint").is_some_and(|name| name != "none");
    let inherit = |value: Option<&str>| value.filter(|_| !own_primary).map(str::to_owned);
    let own = subject.label(USE_CANARY).map(str::to_owned);
    let place = match &own {
        Some(_) => subject.label(USE_CANARY_NAMESPACE),
        None => namespace.label(USE_CANARY_NAMESPACE),
    };
    let name = own.or_else(|| inherit(namespace.label(USE_CANARY)));
    let Some(name) = name.filter(|name| service && !name.is_empty() && name != "none") else { return decision };
    let place = place.unwrap_or(&namespace.name);
    let weight = subject.annotation(CANARY_WEIGHT).map(str::to_owned);
    let weight = weight.or_else(|| inherit(namespace.annotation(CANARY_WEIGHT))).unwrap_or_else(|| "0".to_owned());
    let canary = batch.candidate(subject, place, &name);
    match (canary, weight.parse::<u32>().ok().filter(|weight| *weight <= 100)) {
        (Some((index, _)), _) if index == primary.gateway => {
            decision.second_reason = Some("CanarySameAsPrimary".into())
        }
        (_, None) => decision.second_reason = Some("CanaryInvalidWeight".into()),
        (Some((index, gateway)), Some(weight)) if !gateway.addresses.is_empty() => {
            primary.weight = 100 - weight;
            targets.push(sdk::Target { gateway: index, address: Some(0), weight });
        }
        _ => decision.second_reason = Some("WaypointIsNotReady".into()),
    }
    decision
}
