//! Every hostile component against the engine: the stage at which it is refused, the limit with its figure, and the
//! reason, word by word, for operators search their logs for these. And what is left afterwards: an engine that works,
//! and rows that keep their answers. Not how the agent behaves then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use engine::{Candidate, Engine, Limits, Refusal, Source, Stage};
use model::decision::Choice;
use model::projection::node_input;
use model::table::{RowKey, RowKind};
use model::{Event, Object, Row, Store, Table};
use tests::candidate::{artifact, source};
use tests::guests;
use tests::mesh::{MeshSize, namespace, pod, service, store, waypoint};

/// What is expected of a component: none of it is accepted.
struct Refused {
    guest: &'static str,
    stage: Stage,
    limit: Option<&'static str>,
    reason: &'static str,
}

const fn refused(guest: &'static str, stage: Stage, limit: Option<&'static str>, reason: &'static str) -> Refused {
    Refused { guest, stage, limit, reason }
}

const UNREACHABLE: &str = "wasm trap: wasm `unreachable` instruction executed";
const OUT_OF_FUEL: &str = "wasm trap: all fuel consumed by WebAssembly";
const TOO_MUCH_ANSWERED: &str =
    "too much data is being copied between the host and the guest: fuel allocated for hostcalls has been exhausted";

/// The guests that are refused before they are in charge, on the mesh of [`mesh`].
const REFUSED: &[Refused] = &[
    refused("describe-trap", Stage::Describe, None, UNREACHABLE),
    refused("describe-loop", Stage::Describe, Some("fuel 50000000"), OUT_OF_FUEL),
    refused(
        "describe-error",
        Stage::Describe,
        None,
        "the component refuses its settings: unknown setting  [31mteam [0m level=info msg=forged",
    ),
    refused("describe-huge-list", Stage::Describe, Some("answer 4194304 bytes"), TOO_MUCH_ANSWERED),
    refused("describe-out-of-bounds", Stage::Describe, None, "list pointer/length out of bounds of memory"),
    refused("resolve-trap", Stage::Shadow, None, UNREACHABLE),
    // The base, and half a million for each of the three distinct rows.
    refused("resolve-loop", Stage::Shadow, Some("fuel 51500000"), OUT_OF_FUEL),
    refused("resolve-failure", Stage::Shadow, None, "the component says: no team owns  any of these objects"),
    refused("grow-memory", Stage::Shadow, Some("memory 67108864 bytes"), "memory would grow to 67239936 bytes"),
    refused(
        "start-big-memory",
        Stage::Validate,
        Some("memory 67108864 bytes"),
        "module memory does not fit in pooling allocator requirements: memory index 0 is unsupported in this pooling \
         allocator configuration: memory has a minimum byte size of 3221225472 which exceeds the limit of 0x4000000 bytes",
    ),
    refused(
        "big-table",
        Stage::Validate,
        Some("table 100000 elements"),
        "module table does not fit in pooling allocator requirements: table index 0 has a minimum element size of \
         10000000 which exceeds the limit of 100000",
    ),
    refused("deep-recursion", Stage::Shadow, Some("stack 524288 bytes"), "wasm trap: call stack exhausted"),
    refused("wrong-length", Stage::Shadow, None, "wrong answer: 2 decisions for 3 subjects"),
    refused(
        "bad-index",
        Stage::Shadow,
        None,
        "Service a/cart-0: wrong answer: gateway 9999 is not in the batch, which has 0",
    ),
    refused(
        "not-a-candidate",
        Stage::Shadow,
        None,
        "Service a/cart-0: wrong answer: gateway 1 is not a candidate of the subject",
    ),
    refused(
        "bad-address-index",
        Stage::Shadow,
        None,
        "Service a/cart-0: wrong answer: address 9999 is not one of the gateway's 2",
    ),
    refused("bad-weights", Stage::Shadow, None, "Service a/cart-0: wrong answer: weights add up to 140 and not to 100"),
    refused("no-targets", Stage::Shadow, None, "Service a/cart-0: wrong answer: 0 waypoints; 1 to 16 are possible"),
    refused(
        "bad-reason",
        Stage::Shadow,
        None,
        "Service a/cart-0: wrong answer: reason \"not camel case! \" is not a CamelCase word of 1 to 64 characters",
    ),
    refused(
        "long-reason",
        Stage::Shadow,
        None,
        "Service a/cart-0: wrong answer: reason \"AbcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzAbcdefghijkl\" is \
         not a CamelCase word of 1 to 64 characters",
    ),
    refused("alias-strings", Stage::Shadow, Some("answer 4194304 bytes"), TOO_MUCH_ANSWERED),
    refused("alias-lists", Stage::Shadow, Some("answer 4194304 bytes"), TOO_MUCH_ANSWERED),
    refused("not-row-independent", Stage::Check, None, "not row by row: decisions change with the order of the rows"),
    refused(
        "stateful-fuel",
        Stage::Check,
        None,
        "not row by row: the same rows took 8497 fuel in one order and 7001 in the other",
    ),
    refused("trap-on-marker", Stage::Shadow, None, UNREACHABLE),
    refused("trap-on-label", Stage::Shadow, None, UNREACHABLE),
];

/// The guests that are put in charge on that mesh: what is wrong with the second shows when it is asked to explain.
const ACCEPTED: &[&str] = &["well-behaved", "explain-trap"];

/// Two namespaces, a Gateway in each, and subjects in both: every guest finds what it wants to spoil.
fn mesh() -> Store {
    let services = (0..10).map(|n| service("a", &format!("cart-{n}")).into());
    let others: [Object; 6] = [
        namespace("a").into(),
        namespace("b").into(),
        waypoint("a", "first").into(),
        waypoint("b", "second").into(),
        service("b", "users").into(),
        pod("b", "users-1").address("10.1.0.1").label("trap", "here").into(),
    ];
    store(services.chain(others))
}

fn engine() -> Result<Engine> {
    Ok(Engine::new(Limits::default())?)
}

/// What a candidate is refused with on [`mesh`].
fn refusal(engine: &Engine, source: &Source) -> Result<Refusal> {
    let candidate = Candidate::prepare(engine, source, 1, &mesh());
    let refusal = candidate.err().context("it was accepted")?;
    let line = refusal.to_string();
    ensure!(!line.contains(char::is_control), "control characters in {line:?}");
    Ok(refusal)
}

/// The engine is as good as before.
fn accepts_a_good_one(engine: &Engine) -> Result<()> {
    let good = Candidate::prepare(engine, &source(guests::component("well-behaved"), ""), 1, &mesh())?;
    ensure!(good.decider.table().iter().all(|(_, row)| row.decision.choice == Choice::Direct));
    Ok(())
}

fn expected(stage: Stage, limit: Option<&str>, reason: &str) -> Refusal {
    Refusal { stage, limit: limit.map(str::to_owned), reason: reason.to_owned() }
}

/// All differences at once: after an update of wasmtime one wants to see every text that moved.
fn compare(differences: &mut Vec<String>, name: &str, found: Result<Refusal>, expected: Refusal) {
    match found {
        Ok(found) if found == expected => {}
        Ok(found) => differences.push(format!("{name}:\n  expected {expected:?}\n  found    {found:?}")),
        Err(error) => differences.push(format!("{name}: {error:#}")),
    }
}

#[test]
fn every_hostile_guest_is_refused_with_stage_limit_and_reason() -> Result<()> {
    let (engine, mut differences) = (engine()?, Vec::new());
    for row in REFUSED {
        let found = refusal(&engine, &source(guests::component(row.guest), ""));
        compare(&mut differences, row.guest, found, expected(row.stage, row.limit, row.reason));
        accepts_a_good_one(&engine).with_context(|| format!("after {}", row.guest))?;
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[test]
fn every_guest_has_a_row_in_the_tables() {
    let rows: BTreeSet<&str> = REFUSED.iter().map(|row| row.guest).chain(ACCEPTED.iter().copied()).collect();
    assert_eq!(rows, guests::names().iter().copied().collect());
    assert_eq!(rows.len(), REFUSED.len() + ACCEPTED.len(), "a guest is in the tables twice");
}

#[test]
fn bytes_that_are_no_component_of_this_world_are_refused_unstarted() -> Result<()> {
    let (engine, mut differences) = (engine()?, Vec::new());
    let wrong_world = "wrong world: wayswitch:waypoint/resolver@0.1.0 is not exported; it";
    let rows: [(&str, Vec<u8>, &str); 7] = [
        ("truncated", guests::truncated(), "failed to parse WebAssembly module: unexpected end-of-file"),
        ("empty", guests::empty(), "the file is empty"),
        (
            "core module",
            guests::core_module(),
            "a core module, not a component: link it with wasm-component-ld, or run `wasm-tools component new`",
        ),
        ("text", guests::text(), "not a WASM component: it does not begin with the WASM magic number"),
        ("wrong world", guests::wrong_world(), &format!("{wrong_world} exports example:greeting/greeting@1.0.0")),
        ("wrong version", guests::wrong_version(), &format!("{wrong_world} has wayswitch:waypoint/resolver@0.2.0")),
        (
            "importing a function",
            guests::importing_function(),
            "imports the function wasi:random/random@0.2.0#get-random-u64: a resolver may import nothing but our types",
        ),
    ];
    for (name, bytes, reason) in rows {
        let mut found = refusal(&engine, &source(bytes, ""));
        // Where it ends depends on who encoded it.
        if let Ok(Refusal { reason, .. }) = &mut found
            && let Some(offset) = reason.find(" (at offset 0x")
        {
            reason.truncate(offset);
        }
        compare(&mut differences, name, found, expected(Stage::Validate, None, reason));
        accepts_a_good_one(&engine).with_context(|| format!("after {name}"))?;
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

#[test]
fn a_component_or_settings_over_the_limit_are_refused_unread() -> Result<()> {
    let engine = engine()?;
    let tight = |bytes, settings: &str| {
        let limits = Limits { component_bytes_max: 20_000, settings_bytes_max: 100, ..Limits::default() };
        Source { limits, ..source(bytes, settings) }
    };
    let found = refusal(&engine, &tight(guests::oversized(20_000), ""))?;
    let reason = "too large: component of 20001 bytes";
    assert_eq!(found, expected(Stage::Validate, Some("component 20000 bytes"), reason));
    let found = refusal(&engine, &tight(guests::component("well-behaved"), &"s".repeat(101)))?;
    assert_eq!(found, expected(Stage::Validate, Some("settings 100 bytes"), "too large: settings of 101 bytes"));
    // The engine's own limit is never exceeded, whatever a candidate's configuration says.
    let limits = Limits { component_bytes_max: usize::MAX, ..Limits::default() };
    let found = refusal(&engine, &Source { limits, ..source(guests::oversized(32 << 20), "") })?;
    assert_eq!(found.limit.as_deref(), Some("component 33554432 bytes"));
    accepts_a_good_one(&engine)
}

#[test]
fn a_component_other_than_the_pinned_one_is_refused_before_it_is_read() -> Result<()> {
    let engine = engine()?;
    let good = source(guests::component("well-behaved"), "");
    let digest = Candidate::prepare(&engine, &good, 1, &mesh())?.component.facts().digest.clone();
    let pinned = |pin: &str| Source { pin: Some(pin.to_owned()), ..good.clone() };
    Candidate::prepare(&engine, &pinned(&digest.to_uppercase()), 1, &mesh())?;
    let found = refusal(&engine, &pinned("00\u{1b}[31m"))?;
    let reason = format!("the file's SHA-256 is {digest}, and 00 [31m was asked for");
    assert_eq!(found, expected(Stage::Digest, None, &reason));
    Ok(())
}

#[test]
fn what_fuel_would_let_run_the_clock_stops() -> Result<()> {
    let limits = Limits { fuel_base: 1 << 60, call_time_max: Duration::from_millis(100), ..Limits::default() };
    let engine = Engine::new(limits.clone())?;
    for (guest, stage) in [("describe-loop", Stage::Describe), ("resolve-loop", Stage::Shadow)] {
        let start = Instant::now();
        let found = refusal(&engine, &Source { limits: limits.clone(), ..source(guests::component(guest), "") })?;
        assert_eq!(found, expected(stage, Some("call time 100 ms"), "wasm trap: interrupt"), "{guest}");
        assert!(start.elapsed() >= Duration::from_millis(100), "{guest} was stopped too early");
        accepts_a_good_one(&engine)?;
    }
    Ok(())
}

#[test]
fn a_compilation_that_takes_too_long_is_given_up_and_blocks_nothing_for_good() -> Result<()> {
    let (engine, good) = (engine()?, guests::component("well-behaved"));
    let limits = Limits { compile_time_max: Duration::from_millis(1), ..Limits::default() };
    let limit = Some("compile time 1 ms");
    let found = refusal(&engine, &Source { limits: limits.clone(), ..source(guests::big_code(1000), "") })?;
    assert_eq!(found, expected(Stage::Compile, limit, "compiling did not end in time"));
    // Nobody can stop it, so what comes next waits its turn, for as long as it may take to compile.
    let found = engine.load(&good, None, "", &limits).err().context("it did not wait")?;
    let reason = "an earlier component, which was given up, is still being compiled";
    assert_eq!(found, expected(Stage::Compile, limit, reason));
    engine.load(&good, None, "", engine.limits())?;
    accepts_a_good_one(&engine)
}

#[test]
fn an_explanation_that_traps_is_reported_to_who_asked_and_nothing_else_changes() -> Result<()> {
    let (engine, mesh) = (engine()?, mesh());
    let candidate = Candidate::prepare(&engine, &source(guests::component("explain-trap"), ""), 1, &mesh)?;
    let node = node_input(candidate.component.description(), mesh.facts());
    let (_, row) = candidate.decider.table().iter().next().context("a row")?;
    let explained = candidate.component.explain("", &node, &mesh.facts().network, &row.input);
    assert_eq!(explained.err().context("it was explained")?.what, UNREACHABLE);
    let good = engine.load(&guests::component("well-behaved"), None, "", engine.limits())?;
    let (decision, _) = good.explain("", &node, &mesh.facts().network, &row.input)?;
    assert_eq!(decision, *row.decision);
    Ok(())
}

/// A component that was accepted on `before`, in charge while the mesh becomes `before` and these.
fn in_charge(guest: &str, before: Store, then: impl IntoIterator<Item = Object>) -> Result<Steady> {
    let engine = engine()?;
    let candidate = Candidate::prepare(&engine, &source(guests::component(guest), ""), 1, &before)?;
    let mut steady = Steady { store: before, candidate, engine };
    steady.apply(then);
    Ok(steady)
}

struct Steady {
    store: Store,
    candidate: Candidate,
    engine: Engine,
}

impl Steady {
    fn apply(&mut self, objects: impl IntoIterator<Item = Object>) {
        let changes = self.store.apply_all(objects.into_iter().map(Event::Apply));
        self.candidate.decider.apply(&self.store, &changes);
    }

    fn table(&self) -> &Table {
        self.candidate.decider.table()
    }

    /// Decision and reason of being degraded.
    fn row(&self, kind: RowKind, namespace: &str, name: &str) -> Result<(String, Option<&str>)> {
        let row = self.table().get(&RowKey::new(kind, namespace, name)).context("no such row")?;
        Ok((row.decision.to_string(), row.degraded.as_deref().map(String::as_str)))
    }
}

#[test]
fn one_poisoned_row_keeps_its_last_good_answer_and_costs_no_other_its_fresh_one() -> Result<()> {
    let before = store([namespace("a").into(), service("a", "cart").into(), service("a", "stock").into()]);
    let then: [Object; 3] = [
        service("a", "cart").label("trap", "here").into(),
        pod("b", "poisoned-from-birth").address("10.1.0.1").label("trap", "there").into(),
        service("b", "healthy").into(),
    ];
    let mut steady = in_charge("trap-on-label", before, then)?;
    let fine = "direct (Fine)".to_owned();
    assert_eq!(steady.row(RowKind::Service, "a", "cart")?, (fine.clone(), Some(UNREACHABLE)));
    assert_eq!(steady.row(RowKind::Pod, "b", "poisoned-from-birth")?, ("blocked".to_owned(), Some(UNREACHABLE)));
    assert_eq!(steady.row(RowKind::Service, "b", "healthy")?, (fine.clone(), None));
    assert_eq!(steady.row(RowKind::Service, "a", "stock")?, (fine.clone(), None));
    assert_eq!(steady.candidate.decider.degraded().len(), 2);
    steady.apply([service("a", "cart").into(), pod("b", "poisoned-from-birth").address("10.1.0.1").into()]);
    assert!(steady.table().iter().all(|(_, row)| row.decision.to_string() == fine && row.degraded.is_none()));
    assert!(steady.candidate.decider.degraded().is_empty());
    Ok(())
}

#[test]
fn a_whole_kind_that_cannot_be_decided_takes_the_declared_default() -> Result<()> {
    let before = store([service("a", "cart").into()]);
    let then: [Object; 2] = [pod("a", "cart-1").address("10.1.0.1").into(), service("b", "users").into()];
    let steady = in_charge("trap-on-marker", before, then)?;
    assert_eq!(steady.row(RowKind::Pod, "a", "cart-1")?, ("blocked".to_owned(), Some(UNREACHABLE)));
    assert_eq!(steady.row(RowKind::Service, "b", "users")?, ("direct".to_owned(), None));
    Ok(())
}

#[test]
fn a_component_that_shows_its_teeth_only_in_charge_degrades_rows_and_nothing_else() -> Result<()> {
    // On a mesh without rows nothing is asked, so all that is wrong in resolve comes through the trial. Left out are those
    // that have nothing to spoil in a row of this mesh that is asked alone.
    let left_out = ["not-a-candidate", "trap-on-marker", "trap-on-label"];
    for row in REFUSED.iter().filter(|row| row.stage == Stage::Shadow && !left_out.contains(&row.guest)) {
        let objects = [namespace("a").into(), waypoint("a", "first").into(), waypoint("b", "second").into()];
        let rows = [service("a", "cart").into(), service("a", "stock").label("app", "stock").into()];
        let steady = in_charge(row.guest, store(objects), rows)?;
        // Without its row, and without the figures that depend on the batch.
        let start = row.reason.trim_start_matches("Service a/cart-0: ").split(char::is_numeric).next();
        let start = start.unwrap_or_default();
        let degraded = |row: &Row| {
            row.degraded.as_deref().is_some_and(|why| why.starts_with(start)) && row.decision.choice == Choice::Blocked
        };
        assert_eq!(steady.table().len(), 2);
        for (key, found) in steady.table().iter() {
            assert!(degraded(found), "{}: {key}: {:?} {:?}", row.guest, found.degraded, found.decision);
        }
        accepts_a_good_one(&steady.engine).with_context(|| format!("after {}", row.guest))?;
    }
    Ok(())
}

/// No false alarm: the components that ship go through the same checks on an ordinary mesh.
#[test]
fn components_that_ship_are_accepted() -> Result<()> {
    let (engine, mesh) = (engine()?, store(MeshSize::MEDIUM.objects(1)));
    for name in ["istio", "service-account"] {
        Candidate::prepare(&engine, &source(artifact(name)?, ""), 1, &mesh).with_context(|| name)?;
    }
    Ok(())
}

#[test]
fn a_component_that_was_compiled_lately_is_not_compiled_again() {
    let engine = Engine::new(Limits::default()).unwrap();
    let bytes = tests::candidate::artifact("istio").unwrap();
    let load = |bytes: &[u8], settings: &str| {
        let loaded = engine.load(bytes, None, settings, engine.limits()).unwrap();
        loaded.facts().compile_ms
    };
    let first = load(&bytes, "");
    let again = load(&bytes, r#"{"unbound":"blocked"}"#);
    assert!(again < first / 10.0, "{again} ms after {first} ms");
    // One byte more is another component.
    let other = load(&tests::candidate::numbered(&bytes, 1), "");
    assert!(other > first / 10.0, "{other} ms after {first} ms");
    // Refused all the same: what is remembered is the code, not that it was good under other settings.
    assert!(engine.load(&bytes, None, r#"{"unbonud":"blocked"}"#, engine.limits()).is_err());
    assert!(engine.load(&bytes, Some("00"), "", engine.limits()).is_err());
}
