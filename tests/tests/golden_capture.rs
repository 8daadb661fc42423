//! Captures: what is read from one is what was captured, and a mesh under other names decides exactly as it did under its
//! own. A capture of a running agent is with the tests of the binary. `WAYSWITCH_SEED` repeats a run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use manifest::FolderSource;
use model::decider::Terms;
use model::decision::Choice;
use model::pseudonym::{Names, Pseudonyms, Vocabulary};
use model::{Decider, Description, Event, Facts, Object, Resolver, Store, Table};
use plugin_istio::Istio;
use plugin_service_account::ServiceAccount;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tests::conformance::cases;
use tests::demo::agent::command;
use tests::mesh::history::histories;
use tests::mesh::manifests::{Dress, write_list};
use tests::mesh::{self, MeshSize};
use tests::native::Native;

/// Histories whose meshes are renamed.
const HISTORIES: u32 = 300;
const STEPS_MAX: usize = 8;

/// What decides, and what it declared.
type Deciding = (Arc<dyn Resolver>, Arc<Description>);

fn istio(settings: &str) -> Result<Deciding> {
    let (native, description) = Native::<Istio>::new(settings).map_err(anyhow::Error::msg)?;
    Ok((Arc::new(native), description))
}

/// One that goes by the order of its candidates, and by accounts.
fn service_account() -> Result<Deciding> {
    let (native, description) = Native::<ServiceAccount>::new("").map_err(anyhow::Error::msg)?;
    Ok((Arc::new(native), description))
}

fn decide((resolver, description): &Deciding, settings: &str, store: &Store) -> Result<Table> {
    let terms =
        Terms { settings: settings.into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let decider = Decider::new(1, Arc::clone(description), Arc::clone(resolver), terms, store);
    let decider = decider.map_err(|(row, failure)| anyhow::anyhow!("{row:?}: {failure}"))?;
    Ok(decider.table().clone())
}

fn objects(store: &Store) -> impl Iterator<Item = Object> + '_ {
    store.object_keys().filter_map(|key| store.object(&key))
}

/// The same mesh under other names.
fn renamed(store: &Store, table: &Table, description: &Description) -> (Store, Pseudonyms) {
    let mut names = Names::new(Vocabulary::of(description));
    objects(store).for_each(|object| names.object(&object));
    names.facts(store.facts());
    table.iter().for_each(|(key, row)| names.row(key, &row.subject, &row.decision));
    let pseudonyms = names.pseudonyms();
    let mut renamed = Store::new(pseudonyms.facts(store.facts()));
    renamed.apply_all(objects(store).map(|object| Event::Apply(pseudonyms.object(&object))));
    (renamed, pseudonyms)
}

/// Checks that nothing but names tells the decisions of both apart; returns how many there are.
fn decides_the_same(deciding: &Deciding, settings: &str, store: &Store) -> Result<usize> {
    let table = decide(deciding, settings, store)?;
    let (other, pseudonyms) = renamed(store, &table, &deciding.1);
    ensure!(other.len() == store.len(), "{} objects became {}", store.len(), other.len());
    let other = decide(deciding, settings, &other)?;
    ensure!(other.len() == table.len(), "{} rows became {}", table.len(), other.len());
    for (key, row) in table.iter() {
        let theirs = other.get(&pseudonyms.key(key)).with_context(|| format!("{key} has no row any more"))?;
        let expected = pseudonyms.decision(&row.decision);
        ensure!(*theirs.decision == expected, "{key}: {}, which should be {expected}", theirs.decision);
        ensure!(theirs.subject == pseudonyms.subject(&row.subject), "{key}: other hosts or addresses");
    }
    Ok(table.len())
}

#[test]
fn every_conformance_case_is_decided_the_same_under_other_names() -> Result<()> {
    let deciding = istio("")?;
    let mut rows = 0;
    for case in cases()? {
        let limits = manifest::Limits::default();
        let snapshot = FolderSource::new(vec![case.manifest.clone()], limits.clone()).load();
        let mut facts = Facts::default();
        if let Some(file) = &case.mesh_config {
            let text = fs::read_to_string(file)?;
            let config = manifest::mesh_config("mesh.yaml", &text, &limits);
            facts.mesh = config.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        }
        let mut store = Store::new(facts);
        store.apply_all(snapshot.objects.into_values().map(|entry| Event::Apply(Object::clone(&entry.object))));
        rows += decides_the_same(&deciding, "", &store).with_context(|| case.id.clone())?;
    }
    assert!(rows > 250, "{rows} rows");
    Ok(())
}

#[test]
fn generated_histories_are_decided_the_same_under_other_names() -> Result<()> {
    let levels = ["", r#"{"istio":"1.22"}"#, r#"{"unbound":"blocked","exclude-gateways":"all"}"#];
    let mut deciding = levels.iter().map(|it| Ok((*it, istio(it)?))).collect::<Result<Vec<_>>>()?;
    deciding.push(("", service_account()?));
    let seed: u64 = match std::env::var("WAYSWITCH_SEED") {
        Ok(seed) => seed.parse()?,
        // Another one for every run: the standard library draws the keys of its hash maps.
        Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "seed"),
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: HISTORIES,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/golden_capture.txt"
        )))),
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&(histories(STEPS_MAX), 0..deciding.len(), 0..4_usize), |(history, by, facts)| {
        let (settings, deciding) = &deciding[by];
        let istio = ["1.31", "1.30", "1.28", "1.22"][facts].parse().map_err(TestCaseError::fail)?;
        let mut store = Store::new(Facts { istio, network: "net-7".into(), ..Facts::default() });
        for operation in history.steps.iter().flatten() {
            operation.effect().apply(&mut store);
        }
        let same = decides_the_same(deciding, settings, &store);
        same.map(|_| ()).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(error) = outcome {
        panic!("WAYSWITCH_SEED={seed}: {error}");
    }
    Ok(())
}

#[test]
fn a_realistic_mesh_is_decided_the_same_under_other_names() -> Result<()> {
    let store = mesh::store(MeshSize::MEDIUM.objects(5));
    for deciding in [istio("")?, service_account()?] {
        assert!(decides_the_same(&deciding, "", &store)? > 9_000);
    }
    Ok(())
}

/// Runs the program; returns standard output.
fn wayswitch(arguments: &[&str]) -> Result<String> {
    let output = command()?.args(arguments).stdin(Stdio::null()).output().context("cannot run wayswitch")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    ensure!(output.status.success() && err.is_empty(), "{arguments:?}: {}: {err}", output.status);
    Ok(out)
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// A folder with the manifests of a mesh in `mesh.json`.
fn folder_with(size: MeshSize) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let mut file = std::io::BufWriter::new(fs::File::create(folder.path().join("mesh.json"))?);
    write_list(size.objects(11), Dress::Bare, &mut file)?;
    std::io::Write::flush(&mut file)?;
    Ok(folder)
}

const SMALL: MeshSize =
    MeshSize { namespaces: 12, services: 60, pods: 300, waypoints: 12, entries: 12, workload_entries: 6 };

#[test]
fn commands_make_of_a_capture_what_they_make_of_its_manifests() -> Result<()> {
    let folder = folder_with(SMALL)?;
    let (manifests, capture) = (path(folder.path(), "mesh.json"), path(folder.path(), "mesh.capture"));
    let settings = r#"{"unbound":"blocked"}"#;
    let flags = ["--settings", settings, "--network", "net-7", "--istio", "1.30", "--unresolved", "bypass"];
    let before = wayswitch(&[&["resolve", "-o", "json", "-f", &manifests], &flags[..]].concat())?;
    wayswitch(&[&["capture", "-o", &capture, "-f", &manifests], &flags[..]].concat())?;
    ensure!(wayswitch(&["resolve", "-o", "json", "-f", &capture])? == before, "facts and settings are the capture's");
    // Flags win; what none is given for stays the capture's.
    let given = ["--settings", "", "--network", "net-8"];
    let other = wayswitch(&[&["resolve", "-o", "json", "-f", &capture], &given[..]].concat())?;
    let rest = ["--istio", "1.30", "--unresolved", "bypass"];
    let wanted = wayswitch(&[&["resolve", "-o", "json", "-f", &manifests], &given[..], &rest[..]].concat())?;
    ensure!(other != before && other == wanted, "flags do not win");
    let inspected = wayswitch(&["plugin", "inspect", "-o", "json", "-f", &capture])?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    let rows = inspected.pointer("/questions/rows").and_then(Value::as_u64).context("no rows")?;
    let decisions = fs::read_to_string(&capture)?.lines().filter(|line| line.starts_with("{\"decision\":")).count();
    assert_eq!(rows, decisions as u64);
    // A copy is taken as it was decided, to the byte.
    let copy = path(folder.path(), "copy.capture");
    wayswitch(&["capture", "-o", &copy, "-f", &capture])?;
    ensure!(fs::read(&copy)? == fs::read(&capture)?, "a copy is another");
    let printed = wayswitch(&["capture", "-o", "-", "-f", &capture])?;
    ensure!(printed.as_bytes() == fs::read(&capture)?, "standard output is another");
    Ok(())
}

#[test]
fn manifests_beside_a_capture_are_what_if() -> Result<()> {
    let folder = folder_with(SMALL)?;
    let (manifests, capture) = (path(folder.path(), "mesh.json"), path(folder.path(), "mesh.capture"));
    wayswitch(&["capture", "-o", &capture, "-f", &manifests])?;
    let change = path(folder.path(), "change.yaml");
    fs::write(&change, "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: what-if}\n")?;
    let resolved = |first: &str, second: &str| wayswitch(&["resolve", "-o", "json", "-f", first, "-f", second]);
    for (first, second) in [(&capture, &change), (&change, &capture)] {
        ensure!(resolved(first, second)?.contains("new.what-if.svc.cluster.local"), "{first} {second}");
    }
    // Two have two sets of facts and rules.
    let output = command()?.args(["resolve", "-f", &capture, "-f", &capture]).output()?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("a second capture beside "), "{error}");
    Ok(())
}

#[test]
fn what_is_no_whole_capture_is_refused_with_one_line() -> Result<()> {
    let folder =
        folder_with(MeshSize { namespaces: 2, services: 3, pods: 5, waypoints: 2, entries: 1, workload_entries: 1 })?;
    let (manifests, capture) = (path(folder.path(), "mesh.json"), path(folder.path(), "mesh.capture"));
    wayswitch(&["capture", "-o", &capture, "-f", &manifests])?;
    let whole = fs::read_to_string(&capture)?;
    let half = whole.get(..whole.len() / 2).context("ASCII")?.to_owned();
    let rows = [
        (half, "it is cut off after "),
        (whole.replacen("\"Pod\"", "\"Pot\"", 1), "cannot be read: capture again: "),
        (whole.replacen("\"version\":1", "\"version\":9", 1), "it is a capture of version 9, "),
        (whole.replacen("team-0000", "team-000O", 1), "it was changed after it was written"),
    ];
    for (text, expected) in rows {
        fs::write(&capture, text)?;
        for arguments in [&["resolve", "-f", &capture][..], &["capture", "-o", "-", "-f", &capture]] {
            let output = command()?.args(arguments).output()?;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
            assert!(error.starts_with(&format!("{capture}: ")) && error.contains(expected), "{error}");
        }
    }
    Ok(())
}

/// Everything that is text in a line of JSON, keys included, cut where names end.
fn words(text: &str) -> Result<BTreeSet<String>> {
    fn gather(value: &Value, words: &mut BTreeSet<String>) {
        let mut cut = |text: &str| words.extend(text.split(['.', '/', ':']).map(str::to_owned));
        match value {
            Value::String(text) => cut(text),
            Value::Array(items) => items.iter().for_each(|item| gather(item, words)),
            Value::Object(fields) => {
                fields.keys().for_each(|key| cut(key));
                fields.values().for_each(|value| gather(value, words));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut words = BTreeSet::new();
    for line in text.lines() {
        gather(&serde_json::from_str(line)?, &mut words);
    }
    Ok(words)
}

#[test]
fn no_name_of_a_mesh_is_left_in_a_pseudonymised_capture() -> Result<()> {
    let folder = folder_with(SMALL)?;
    let (manifests, capture) = (path(folder.path(), "mesh.json"), path(folder.path(), "mesh.capture"));
    let (other, mapping) = (path(folder.path(), "other.capture"), path(folder.path(), "mapping.json"));
    wayswitch(&["capture", "-o", &capture, "-f", &manifests])?;
    wayswitch(&["capture", "-o", &other, "-f", &capture, "--pseudonymise", "--mapping", &mapping])?;
    let (before, after) = (words(&fs::read_to_string(&capture)?)?, words(&fs::read_to_string(&other)?)?);
    let mapping: Value = serde_json::from_str(&fs::read_to_string(&mapping)?)?;
    let originals = mapping.get("words").and_then(Value::as_object).context("no words")?;
    assert!(originals.len() > 100 && originals.contains_key("team-0003"), "{originals:?}");
    // A label says `v1`, which is also what every core object says of its version.
    let left: Vec<&String> = originals.keys().filter(|name| *name != "v1" && after.contains(*name)).collect();
    assert!(left.is_empty(), "{left:?}");
    // What both have is known to everybody: kinds, fields, keys and values of Kubernetes, Istio and this program.
    let both: Vec<&String> = before.intersection(&after).filter(|word| word.contains("team")).collect();
    assert!(both.is_empty(), "{both:?}");
    // It decides by itself what was decided, and says so.
    let again = path(folder.path(), "again.capture");
    wayswitch(&["capture", "-o", &again, "-f", &other, "--settings", ""])?;
    let decisions = |file: &str| -> Result<Vec<String>> {
        let text = fs::read_to_string(file)?;
        Ok(text.lines().filter(|line| line.starts_with("{\"decision\":")).map(str::to_owned).collect())
    };
    assert!(decisions(&other)? == decisions(&again)? && decisions(&other)?.len() > 300);
    Ok(())
}

#[test]
fn what_cannot_be_captured_is_one_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = path(folder.path(), "x.capture");
    let socket = format!("unix:{}", path(folder.path(), "nobody.sock"));
    let rows: [(&[&str], &str); 5] = [
        (&["--admin", &socket], "no agent answers at unix:"),
        (&["--admin", "none"], "name one with --admin"),
        (&["--admin", "192.0.2.1:1"], "only loopback"),
        (&["--admin", &socket, "--settings", "{}"], "need manifests, -f"),
        (&["-f", "/nowhere"], "/nowhere: cannot be read"),
    ];
    for (arguments, expected) in rows {
        let output = captured(&output, arguments)?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.lines().count() == 1 && error.contains(expected), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "nothing is left behind");
    Ok(())
}

fn captured(output: &str, arguments: &[&str]) -> Result<std::process::Output> {
    let mut command: Command = command()?;
    Ok(command.args(["capture", "-o", output]).args(arguments).output()?)
}
