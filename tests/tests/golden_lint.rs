//! `wayswitch lint` from outside: everything it prints of a mesh with every problem, in all three forms; a mesh in order;
//! the exit status; and that the documentation lists what there is. What counts as wrong is tested in the model.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that is missing in an answer is null, and no assertion expects that"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use model::decider::Terms;
use model::decision::Choice;
use model::lint::{ALL, Severity};
use model::{Decider, Kind, ObjectKey};
use plugin_istio::Istio;
use serde_json::Value;
use tests::demo::agent::command;
use tests::golden::{self, data};
use tests::mesh::{self, MeshSize};
use tests::native::Native;

/// Runs it beside the meshes, so that files are named from there. Returns exit status and standard output.
fn lint(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = command()?;
    let output = command.arg("lint").args(arguments).current_dir(data("lint")).stdin(Stdio::null()).output()?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(complaints.is_empty(), "{arguments:?}: {complaints}");
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

const WRONG: [&str; 4] = ["-f", "wrong", "--mesh-config", "mesh.yaml"];

fn of_wrong(more: &[&str]) -> Result<(Option<i32>, String)> {
    lint(&[&WRONG, more].concat())
}

fn as_json(arguments: &[&str]) -> Result<(Option<i32>, Vec<Value>)> {
    let (status, text) = lint(&[arguments, &["-o", "json"]].concat())?;
    Ok((status, serde_json::from_str(&text)?))
}

/// Codes and objects, as they come.
fn short(found: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = |it: &Value| format!("{} {}/{}", text(&it["kind"]), text(&it["namespace"]), text(&it["name"]));
    found.iter().map(|it| format!("{} {}", text(&it["code"]), object(&it["object"]))).collect()
}

fn expect(name: &str, printed: &str) -> Result<()> {
    golden::expect(&format!("lint/{name}"), printed)
}

#[test]
fn every_problem_is_printed_as_expected() -> Result<()> {
    // The version of the program is in the document, and not what this is about.
    let version = format!("ersion\": \"{}\"", env!("CARGO_PKG_VERSION"));
    for (form, file) in [("table", "wrong.txt"), ("json", "wrong.json"), ("sarif", "wrong.sarif")] {
        let (status, printed) = of_wrong(&["-o", form])?;
        assert_eq!(status, Some(1), "{form}");
        expect(file, &printed.replace(&version, "ersion\": \"0\""))?;
        let (_, again) = of_wrong(&["-o", form])?;
        assert_eq!(printed, again, "{form} differs from one run to the next");
    }
    Ok(())
}

#[test]
fn the_default_component_leads_to_every_code_but_the_one_for_others() -> Result<()> {
    let (_, found) = as_json(&WRONG)?;
    let codes: BTreeSet<&str> = found.iter().filter_map(|it| it["code"].as_str()).collect();
    let missing: Vec<&str> = ALL.iter().map(|code| code.id).filter(|id| !codes.contains(id)).collect();
    assert_eq!(missing, ["refused"]);
    Ok(())
}

#[test]
fn a_namespace_that_names_a_missing_waypoint_is_one_finding_with_file_and_line() -> Result<()> {
    let (_, found) = as_json(&WRONG)?;
    let mut of_namespace =
        found.iter().filter(|it| it["object"]["name"] == "gone" && it["object"]["kind"] == "Namespace");
    let only = of_namespace.next().context("no finding")?;
    assert!(of_namespace.next().is_none(), "{only}");
    assert_eq!((&only["file"], &only["line"]), (&"wrong/10-references.yaml".into(), &2.into()));
    let text = only["text"].as_str().context("no text")?;
    assert!(text.contains("3 services and 1 workload"), "{text}");
    Ok(())
}

#[test]
fn conditions_that_say_otherwise_are_found_and_what_agrees_or_is_not_said_is_not() -> Result<()> {
    let (_, found) = as_json(&WRONG)?;
    let said = found.iter().filter(|it| it["code"] == "condition-disagrees");
    let short = said.map(|it| format!("{}: {}", it["object"]["name"], it["text"])).collect::<Vec<_>>();
    let bound = "istio.io/WaypointBound is";
    let here = "and here it is decided:";
    let expected = [
        format!("\"refused-there\": \"{bound} False WaypointIsNotReady, {here} True WaypointAccepted\""),
        format!("\"bound-there\": \"{bound} True WaypointAccepted, {here} it does not apply\""),
    ];
    assert_eq!(short, expected);
    Ok(())
}

#[test]
fn a_mesh_in_order_has_no_findings() -> Result<()> {
    let clean = ["-f", "clean", "--deny", "warnings"];
    assert_eq!(lint(&clean)?, (Some(0), "nothing found\n".to_owned()));
    assert_eq!(as_json(&clean)?, (Some(0), Vec::new()));
    let (status, sarif) = lint(&[&clean[..], &["-o", "sarif"]].concat())?;
    assert_eq!(
        (status, &serde_json::from_str::<Value>(&sarif)?["runs"][0]["results"]),
        (Some(0), &Value::Array(Vec::new()))
    );
    Ok(())
}

/// The example has a few mistakes on purpose (its README), and nothing else must be found in it.
#[test]
fn of_the_example_only_what_is_wrong_on_purpose_is_found() -> Result<()> {
    let (status, found) = as_json(&["-f", "../bookinfo/manifests"])?;
    let expected = [
        "bound-without-address Gateway bookinfo/broken",
        "headless-with-waypoint Namespace /bookinfo",
        "traffic-type-workload Pod bookinfo/ratings-v1",
        "waypoint-not-ready Service bookinfo/ratings-next",
        "attachment-denied Service legacy/loyalty",
        "attachment-denied Pod legacy/loyalty-v1",
        "attachment-denied Service legacy/invoices",
        "routes-read-otherwise Service bookinfo/details",
    ];
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) =
        (short(&found).into_iter().collect(), expected.iter().map(ToString::to_string).collect());
    assert_eq!((status, found), (Some(1), expected));

    // Where all of that is taken for granted the rest is in order.
    let known = ["bound-without-address", "traffic-type-workload", "waypoint-not-ready", "attachment-denied"];
    let known: Vec<String> = known.iter().map(|id| format!("--rule-severity={id}=info")).collect();
    let mut arguments = vec!["-f", "../bookinfo/manifests"];
    arguments.extend(known.iter().map(String::as_str));
    assert_eq!(lint(&arguments)?.0, Some(0));
    Ok(())
}

#[test]
fn the_exit_status_follows_the_worst_finding() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("mesh.yaml");
    // A warning and nothing else.
    fs::write(
        &file,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {istio.io/use-waypoint-namespace: b}}\n",
    )?;
    let path = file.display().to_string();
    let status = |more: &[&str]| lint(&[&["-f", path.as_str()], more].concat()).map(|(status, _)| status);
    assert_eq!(status(&[])?, Some(0));
    assert_eq!(status(&["--deny", "warnings"])?, Some(1));
    assert_eq!(status(&["--deny", "warnings", "--rule-severity", "namespace-label-alone=info"])?, Some(0));
    assert_eq!(status(&["--rule-severity", "namespace-label-alone=error"])?, Some(1));
    assert_eq!(status(&["--deny", "warnings", "--rule-severity", "namespace-label-alone=off"])?, Some(0));

    let refused = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output = command()?.arg("lint").args(arguments).stdin(Stdio::null()).output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let (status, complaint) = refused(&["-f", &path, "--rule-severity", "no-such-code=off"])?;
    assert!(status == Some(2) && complaint.contains("there is no code \"no-such-code\""), "{complaint}");
    let (status, complaint) = refused(&["-f", "/nowhere"])?;
    assert!(status == Some(2) && complaint.starts_with("/nowhere: cannot be read"), "{complaint}");
    Ok(())
}

/// What SARIF 2.1.0 asks of a document with these parts (sections 3.13 log, 3.14 run, 3.18 tool, 3.19 component, 3.27
/// result, 3.28 location, 3.29 physical location, 3.49 rule), and what readers of it need beyond that.
#[test]
fn sarif_has_what_its_specification_asks_for() -> Result<()> {
    let (_, text) = of_wrong(&["-o", "sarif"])?;
    let log: Value = serde_json::from_str(&text)?;
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|it| it.ends_with("sarif-schema-2.1.0.json")));
    let runs = log["runs"].as_array().context("runs")?;
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert_eq!(driver["name"], "wayswitch");
    let rules = driver["rules"].as_array().context("rules")?;
    for rule in rules {
        for text in ["/id", "/shortDescription/text", "/help/text"] {
            assert!(rule.pointer(text).and_then(Value::as_str).is_some_and(|it| !it.is_empty()), "{text} of {rule}");
        }
        is_level(&rule["defaultConfiguration"]["level"])?;
    }
    let ids: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "ids of rules are unique");

    let results = runs[0]["results"].as_array().context("results")?;
    assert!(results.len() > ALL.len());
    for result in results {
        let index = result["ruleIndex"].as_u64().context("ruleIndex")?;
        assert_eq!(rules[usize::try_from(index)?]["id"], result["ruleId"]);
        is_level(&result["level"])?;
        let message = result["message"]["text"].as_str().context("message.text")?;
        assert!(message.ends_with('.') && !message.contains('\n'), "{message}");
        let locations = result["locations"].as_array().context("locations")?;
        assert_eq!(locations.len(), 1);
        for location in locations.iter().chain(result["relatedLocations"].as_array().context("relatedLocations")?) {
            is_location(location)?;
        }
    }
    // Only what is in no file is without a place.
    let placeless: Vec<&Value> = results.iter().filter(|it| it["locations"][0]["physicalLocation"].is_null()).collect();
    assert_eq!(placeless.len(), 1, "{placeless:?}");
    assert_eq!(placeless[0]["ruleId"], "namespace-unknown");
    Ok(())
}

fn is_level(level: &Value) -> Result<()> {
    ensure!(level.as_str().is_some_and(|it| ["none", "note", "warning", "error"].contains(&it)), "{level} is no level");
    Ok(())
}

fn is_location(location: &Value) -> Result<()> {
    let logical = &location["logicalLocations"][0];
    ensure!(logical["fullyQualifiedName"].as_str().is_some_and(|it| it.contains(' ')), "{location}");
    if let Some(physical) = location.get("physicalLocation") {
        let uri = physical["artifactLocation"]["uri"].as_str().context("uri")?;
        ensure!(!uri.is_empty() && !uri.contains([' ', '\\']) && uri.starts_with("wrong/"), "{uri}");
        ensure!(physical["region"]["startLine"].as_u64().is_some_and(|line| line >= 1), "{physical}");
    }
    Ok(())
}

/// What is refused is never passed over, and many of one kind are few findings.
#[test]
fn every_refused_row_of_a_generated_mesh_is_behind_some_finding() -> Result<()> {
    let store = mesh::store(MeshSize::MEDIUM.objects(5));
    let (istio, description) = Native::<Istio>::new("").map_err(anyhow::Error::msg)?;
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let decider = Decider::new(1, description.clone(), Arc::new(istio), terms, &store);
    let decider = decider.map_err(|(_, failure)| anyhow::anyhow!("{failure}"))?;
    let found = model::lint::lint(&store, decider.table(), &description);
    let objects: BTreeSet<&ObjectKey> = found.iter().map(|finding| &finding.object).collect();
    // Of Pods that say the same only one is named.
    let pods_of: BTreeSet<&str> = objects.iter().filter(|it| it.kind == Kind::Pod).map(|it| &*it.namespace).collect();
    let mut refused = 0;
    for (key, row) in decider.table().iter() {
        let reason = row.decision.reason.as_deref().filter(|reason| *reason != "WaypointAccepted");
        if reason.is_some() && row.decision.targets().is_empty() {
            refused += 1;
            let of_namespace = ObjectKey::new(Kind::Namespace, "", &key.namespace);
            let is_found = objects.contains(&key.object())
                || objects.contains(&of_namespace)
                || key.object().kind == Kind::Pod && pods_of.contains(&*key.namespace);
            assert!(is_found, "{key} is refused ({reason:?}) and nothing is said of it");
        }
    }
    assert!(
        refused > 100 && found.len() < refused,
        "{refused} rows are refused, and there are {} findings",
        found.len()
    );
    Ok(())
}

/// One line of a table in the documentation: code, severity, rule, what, fix.
#[test]
fn the_documentation_has_every_code_and_no_other() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let documented: Vec<Vec<&str>> =
        rows.map(|(id, rest)| std::iter::once(id).chain(rest.split(" | ")).collect()).collect();
    let severity = |severity: Severity| severity.to_string();
    let actual: Vec<Vec<String>> = ALL
        .iter()
        .map(|it| {
            vec![it.id.to_owned(), severity(it.severity), it.rule.to_owned(), it.what.to_owned(), it.fix.to_owned()]
        })
        .collect();
    for (documented, actual) in documented.iter().zip(&actual) {
        assert_eq!(documented, actual);
    }
    assert_eq!(documented.len(), actual.len());
    Ok(())
}

/// Every rule that a code cites is in the document about selection.
#[test]
fn the_rules_that_codes_cite_exist() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/selection.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let unknown: Vec<&str> = ALL
        .iter()
        .map(|code| code.rule)
        .filter(|rule| !text.contains(&format!("**{rule}**")) && *rule != "required")
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
    Ok(())
}
