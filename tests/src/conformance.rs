//! The conformance cases in `tests/data/conformance`, and the comparison of decisions with what they expect. Not the
//! deciding: that is the tests'.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// What identifies a decision.
const IDENTITY: [&str; 5] = ["kind", "namespace", "name", "host", "address"];
/// What else every decision says.
const ANSWER: [&str; 6] = ["waypoint", "weighted", "reason", "canaryReason", "ingressUseWaypoint", "applicationTunnel"];

/// One snapshot of manifests and what must be decided about it.
#[derive(Debug)]
pub struct Case {
    /// Its name: a letter for the subject, a number, perhaps a step.
    pub id: String,
    /// The manifests.
    pub manifest: PathBuf,
    /// Istio's mesh configuration, where the case has one.
    pub mesh_config: Option<PathBuf>,
    /// Decisions that must be there exactly once, with these values.
    pub wanted: Vec<Value>,
    /// What no decision may be about.
    pub absent: Vec<Value>,
    /// Further flags of the command.
    pub args: Vec<String>,
    /// The command's exit status.
    pub exit: i64,
}

/// All cases, in the order of their names.
///
/// # Errors
/// The folder is not there, or a file of it is no case.
pub fn cases() -> Result<Vec<Case>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/conformance");
    let mut ids = BTreeSet::new();
    for entry in folder.read_dir().with_context(|| format!("read {}", folder.display()))? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".expect.json"));
        ids.extend(id.map(str::to_owned));
    }
    ids.into_iter().map(|id| case(&folder, id)).collect()
}

fn case(folder: &Path, id: String) -> Result<Case> {
    let text = std::fs::read_to_string(folder.join(format!("{id}.expect.json"))).with_context(|| id.clone())?;
    let mut expect: Map<String, Value> = serde_json::from_str(&text).with_context(|| id.clone())?;
    let exit = expect.remove("exit").map_or(Some(0), |exit| exit.as_i64()).with_context(|| format!("{id}: exit"))?;
    let args = expect.remove("args").unwrap_or_else(|| Value::Array(Vec::new()));
    let args = serde_json::from_value(args).with_context(|| format!("{id}: args"))?;
    let mut list = |key: &str| match expect.remove(key) {
        Some(Value::Array(list)) => Ok(list),
        _ => anyhow::bail!("{id}: no list of {key}"),
    };
    let (wanted, absent) = (list("decisions")?, list("absent")?);
    let manifest = folder.join(format!("{id}.yaml"));
    let mesh_config = Some(folder.join(format!("{id}.mesh.yaml"))).filter(|file| file.exists());
    Ok(Case { id, manifest, mesh_config, wanted, absent, args, exit })
}

impl Case {
    /// Whether it needs flags or fails: then it is for the command.
    pub fn is_about_the_command(&self) -> bool {
        !self.args.is_empty() || self.exit != 0
    }

    /// How the output differs from what is wanted, as far as `concerns` says that it counts; and how much was compared.
    pub fn compare(&self, output: &Value, concerns: impl Fn(&Value) -> bool) -> Compared {
        let mut compared = Compared::default();
        let Some(decisions) = output.get("decisions").and_then(Value::as_array) else {
            compared.failures.push("the output has no list of decisions".to_owned());
            return compared;
        };
        compared.failures.extend(misshapen(decisions));
        for wanted in self.wanted.iter().filter(|wanted| concerns(wanted)) {
            compared.count += 1;
            let failure = match about(decisions, wanted).as_slice() {
                [found] => differs(wanted, found, ""),
                found => Some(format!("{} decisions, one is expected", found.len())),
            };
            compared.failures.extend(failure.map(|failure| format!("{}: {failure}", name_of(wanted))));
        }
        for absent in self.absent.iter().filter(|absent| concerns(absent)) {
            compared.count += 1;
            if !about(decisions, absent).is_empty() {
                compared.failures.push(format!("{}: there, none is expected", name_of(absent)));
            }
        }
        compared
    }
}

/// The outcome of a comparison.
#[derive(Debug, Default)]
pub struct Compared {
    /// Decisions looked at, those that must be absent included.
    pub count: usize,
    /// What is not as it should be, one line each.
    pub failures: Vec<String>,
}

/// The decisions that `wanted` is about: those equal in all parts of the identity that it names.
fn about<'a>(decisions: &'a [Value], wanted: &Value) -> Vec<&'a Value> {
    let is_it =
        |found: &&Value| IDENTITY.iter().all(|key| wanted.get(key).is_none_or(|part| found.get(key) == Some(part)));
    decisions.iter().filter(is_it).collect()
}

/// The first place where `found` is not what is wanted. Objects may have more keys than wanted, lists not more items.
pub fn differs(wanted: &Value, found: &Value, at: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, wanted)| match found.get(key) {
            Some(found) => differs(wanted, found, &format!("{at}.{key}")),
            None => Some(format!("{at}.{key} is missing")),
        }),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(index, (wanted, found))| differs(wanted, found, &format!("{at}[{index}]")))
        }
        _ => (wanted != found).then(|| format!("{at}: {wanted} is expected, {found} was found")),
    }
}

/// Decisions that are not of the contract's form, and a wrong order.
fn misshapen(decisions: &[Value]) -> Vec<String> {
    let wrong = decisions.iter().filter_map(|it| form(it).map(|why| format!("{}: {why}", name_of(it))));
    let mut wrong: Vec<_> = wrong.collect();
    let key = |decision: &Value| {
        let part = |part| decision.get(part).and_then(Value::as_str).unwrap_or_default().to_owned();
        IDENTITY.map(part)
    };
    let unsorted = decisions.iter().zip(decisions.iter().skip(1)).find(|(a, b)| key(a) > key(b));
    wrong.extend(unsorted.map(|(a, b)| format!("{} comes before {}", name_of(a), name_of(b))));
    wrong
}

/// What is wrong with the form of one decision.
fn form(decision: &Value) -> Option<String> {
    let missing = IDENTITY.iter().chain(&ANSWER).find(|key| decision.get(key).is_none());
    if let Some(missing) = missing {
        return Some(format!("{missing} is missing"));
    }
    let at = |key| decision.get(key).unwrap_or(&Value::Null);
    let service = matches!(at("kind").as_str(), Some("Service" | "ServiceEntry"));
    let bound = !at("waypoint").is_null();
    let weighted = at("weighted").as_array();
    let rules = [
        (service == at("host").is_string(), "services have a host, and only they"),
        (
            (at("kind") == "ServiceEntryEndpoint") == at("address").is_string(),
            "endpoints have an address, and only they",
        ),
        (service == at("ingressUseWaypoint").is_boolean(), "services have an ingress flag, and only they"),
        (weighted.is_some(), "weighted is no list"),
        (bound == (at("reason") == "WaypointAccepted"), "reason and waypoint contradict each other"),
        (bound || at("ingressUseWaypoint") != true, "ingress without a waypoint"),
    ];
    if let Some((_, why)) = rules.iter().find(|(holds, _)| !holds) {
        return Some((*why).to_owned());
    }
    let parts = weighted.into_iter().flatten().map(|part| part.get("waypoint").unwrap_or(&Value::Null));
    let mut waypoints = parts.chain(bound.then_some(at("waypoint")));
    waypoints.find_map(waypoint_form).map(str::to_owned)
}

fn waypoint_form(waypoint: &Value) -> Option<&'static str> {
    const KEYS: [&str; 6] = ["address", "hostname", "name", "namespace", "network", "port"];
    let keys: BTreeSet<&str> = waypoint.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    if !keys.iter().eq(&KEYS) {
        return Some("a waypoint has other keys");
    }
    let is_set = |key| waypoint.get(key).is_some_and(|value| !value.is_null());
    let one_way = is_set("address") == is_set("network") && !(is_set("hostname") && is_set("address"));
    (!one_way).then_some("a waypoint has a hostname, or an address and its network, or none of them")
}

fn name_of(decision: &Value) -> String {
    let parts = IDENTITY.iter().filter_map(|key| decision.get(key).and_then(Value::as_str));
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
