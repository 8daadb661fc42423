//! Paths through a small mesh of manifests, by the way that ships: what becomes of a connection, which rule settles it, and
//! what would change it. Every change that is offered is written into the manifest, and must lead where it promises.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::explanation::{Explainer, Means, PathExplained, PathOffer};
use anyhow::{Context as _, Result, ensure};
use engine::{Candidate, Engine, Limits, Loaded};
use manifest::FolderSource;
use model::traffic::{self, Destination};
use model::{Event, Facts, Object, Store, Table};
use serde_json::Value;
use tests::candidate::{artifact, terms};
use tests::demo::agent::command;
use tests::edited;

/// Client, destination, verdict, the rules of the decisive steps, and what the first change that is offered leads to.
const PATHS: &[(&str, &str, &str, &str, &str)] = &[
    // By name, in all its forms, and by address.
    ("shop/web", "cart", "through shop/waypoint", "R87", "direct"),
    ("shop/web", "cart:80", "through shop/waypoint", "R87", "direct"),
    ("shop/web", "cart.shop", "through shop/waypoint", "R87", "direct"),
    ("shop/web", "cart.shop.svc.cluster.local:80", "through shop/waypoint", "R87", "direct"),
    ("shop/web", "10.96.0.1:80", "through shop/waypoint", "R87", "direct"),
    ("legacy/teller", "cart.shop", "through shop/waypoint", "R87", "direct"),
    ("legacy/teller", "cart", "passthrough", "R86", "-"),
    // A port that the service does not have.
    ("shop/web", "cart:81", "fails", "R89", "-"),
    // Services without a waypoint: the pods' own waypoint is not used.
    ("shop/web", "assets", "direct", "R87", "through shop/waypoint"),
    ("shop/web", "orders", "direct", "R87", "through shop/waypoint"),
    ("shop/web", "payments", "blocked", "R92", "through shop/waypoint"),
    // By the address of a pod: the waypoint is for services only.
    ("shop/web", "10.244.0.11:80", "direct", "R88", "through shop/waypoint"),
    ("shop/web", "10.244.0.20:5432", "through shop/data", "R88", "direct"),
    // Headless: one path for each of the pods behind it.
    ("shop/web", "db", "through shop/data to Pod shop/db-0; direct to Pod shop/db-1", "R88 R88", "through"),
    ("shop/web", "db-0.db", "through shop/data", "R88", "direct"),
    ("shop/web", "db-1.db", "direct", "R88", "through shop/waypoint"),
    // Hosts outside.
    ("shop/web", "api.bank.example:443", "through shop/waypoint", "R87", "direct"),
    ("legacy/teller", "api.bank.example:443", "direct", "R87", "-"),
    ("shop/web", "maps.example:443", "passthrough", "R86", "-"),
    ("shop/web", "nobody.example", "passthrough", "R86", "-"),
    // Clients that no ztunnel sends for.
    ("shop/batch", "cart", "not in the mesh", "R86", "through shop/waypoint"),
    ("legacy/cron", "cart.shop", "not in the mesh", "R86", "through shop/waypoint"),
    ("legacy/cron", "api.bank.example", "not in the mesh", "R86", "direct"),
    ("shop/old-web", "cart", "direct", "R75", "-"),
    ("shop/waypoint-1", "cart", "direct", "R94", "-"),
    ("shop/waypoint-1", "10.244.0.11", "direct", "R94", "-"),
    // Gateways follow the label of the service.
    ("shop/ingress", "cart", "direct", "R70", "through shop/waypoint"),
    ("shop/ingress", "assets", "direct", "R70", "-"),
];

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traffic/mesh.yaml")
}

fn read(paths: Vec<PathBuf>) -> Result<Store> {
    let snapshot = FolderSource::new(paths, manifest::Limits::default()).load();
    ensure!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
    let mut store = Store::new(Facts::default());
    store.apply_all(snapshot.objects.into_values().map(|entry| Event::Apply(Object::clone(&entry.object))));
    Ok(store)
}

fn decided(component: &Loaded, store: &Store) -> Result<Table> {
    Ok(Candidate::shadow(Arc::clone(component), terms(""), 1, store)?.decider.table().clone())
}

/// The verdicts in short: without what follows a colon.
fn told(path: &traffic::Path) -> String {
    let short = |verdict: &traffic::Verdict| {
        let text = verdict.to_string();
        text.split_once(':').map_or(text.as_str(), |(word, _)| word).to_owned()
    };
    match path.verdict() {
        Some(verdict) => short(verdict),
        None => {
            let names = |leg: &traffic::Leg| leg.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let legs = path.legs.iter().map(|leg| format!("{} to {}", short(&leg.verdict), names(leg)));
            legs.collect::<Vec<_>>().join("; ")
        }
    }
}

fn decisive(path: &traffic::Path) -> String {
    let steps = path.legs.iter().flat_map(|leg| &leg.steps).filter(|step| step.decisive);
    steps.map(|step| step.rule).collect::<Vec<_>>().join(" ")
}

fn explain(explainer: &Explainer<'_>, from: &str, to: &str) -> Result<PathExplained> {
    let to: Destination = to.parse().map_err(anyhow::Error::msg)?;
    Ok(explainer.path(from.split_once('/').context("NAMESPACE/POD")?, &to)?)
}

#[test]
fn every_path_is_as_the_rules_say_and_every_change_leads_where_it_promises() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let store = read(vec![manifest()])?;
    let (table, terms) = (decided(&component, &store)?, terms(""));
    let explainer = Explainer { store: &store, table: &table, component: &component, terms: &terms };
    let mut changes = 0;
    for (from, to, verdict, rules, then) in PATHS {
        let at = || format!("{from} to {to}");
        let explained = explain(&explainer, from, to).with_context(at)?;
        let path = &explained.path;
        ensure!(told(path) == *verdict, "{}: {}\n{path:#?}", at(), told(path));
        ensure!(decisive(path) == *rules, "{}: {}\n{path:#?}", at(), decisive(path));
        let first = explained.offers.first().map_or("-".to_owned(), |offer| told(&offer.promises));
        ensure!(first.starts_with(then), "{}: {first} is offered\n{:#?}", at(), explained.offers);
        let printed = explained.to_json();
        let edits = printed["edits"].as_array().context("no list of edits")?;
        for (offer, edit) in explained.offers.iter().zip(edits) {
            check(&component, from, to, offer, edit).with_context(|| format!("{}: {edit}", at()))?;
            changes += 1;
        }
    }
    println!("{changes} changes");
    assert!(changes >= 20, "{changes} changes are offered");
    Ok(())
}

/// The path with the change written into the manifest.
fn check(component: &Loaded, from: &str, to: &str, offer: &PathOffer, edit: &Value) -> Result<()> {
    let Means::Object(_) = &offer.means else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let store = read(vec![manifest(), edited::file(folder.path(), &manifest(), edit)?])?;
    let table = decided(component, &store)?;
    let terms = terms("");
    let explainer = Explainer { store: &store, table: &table, component, terms: &terms };
    let after = explain(&explainer, from, to)?.path;
    ensure!(after == offer.promises, "{}\n{after:#?}\ninstead of {:#?}", told(&after), offer.promises);
    Ok(())
}

#[test]
fn a_path_is_json_for_programs() -> Result<()> {
    let engine = Engine::new(Limits::default())?;
    let component = engine.load(&artifact("istio")?, None, "", engine.limits())?;
    let store = read(vec![manifest()])?;
    let (table, terms) = (decided(&component, &store)?, terms(""));
    let explainer = Explainer { store: &store, table: &table, component: &component, terms: &terms };
    let json = |from: &str, to: &str| Ok::<_, anyhow::Error>(explain(&explainer, from, to)?.to_json());

    let through = json("shop/web", "cart:80")?;
    assert_eq!(through["verdict"], "through");
    assert_eq!(through["to"], "cart:80");
    assert_eq!(through["waypoints"][0]["name"], "waypoint");
    assert_eq!(through["waypoints"][0]["weight"], 100);
    assert_eq!(through["client"]["kind"], "enrolled");
    assert_eq!(through["legs"][0]["decidedBy"]["name"], "cart");
    let differs = json("shop/web", "db")?;
    assert_eq!(differs["verdict"], "differs");
    assert_eq!(differs["legs"].as_array().map(Vec::len), Some(2));
    let outside = json("legacy/cron", "cart.shop")?;
    assert_eq!((&outside["verdict"], &outside["client"]["kind"]), (&"not-in-mesh".into(), &"not-enrolled".into()));
    let edit = &outside["edits"][0];
    assert_eq!(edit["command"], "kubectl label pod cron -n legacy --overwrite istio.io/dataplane-mode=ambient");
    assert_eq!(edit["promises"]["verdict"], "through");
    assert_eq!(edit["promises"]["legs"][0]["to"][0]["name"], "cart");
    Ok(())
}

#[test]
fn the_namespace_of_a_client_may_stand_by_itself() -> Result<()> {
    let whole = run(&["traffic", "--from", "legacy/cron", "--to", "cart.shop:80"])?;
    assert_eq!(whole, run(&["traffic", "--from", "cron", "-n", "legacy", "--to", "cart.shop:80"])?);
    let (status, _, told) = run(&["traffic", "--from", "legacy/cron", "-n", "legacy", "--to", "cart.shop:80"])?;
    assert!(status == Some(1) && told.contains("has a namespace already"), "{told}");
    let (status, _, told) = run(&["traffic", "--from", "cron", "--to", "cart.shop:80"])?;
    assert!(status == Some(1) && told.contains("add the namespace, or --namespace"), "{told}");
    Ok(())
}

/// Exit status, standard output, standard error.
fn run(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = command()?.arg("explain").args(arguments).arg("-f").arg(manifest()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

const OUTSIDE: &str = "\
Pod legacy/cron to cart.shop:80: not in the mesh: past any waypoint
  R86   neither the client nor its namespace has istio.io/dataplane-mode=ambient: nobody sends for it
  R44   cart.shop.svc.cluster.local means Service shop/cart, the one that clients of other namespaces mean
  R86   the client dials an address of the service: service traffic
> R86   nobody looks at what the client dials, so no waypoint is looked for
  R93   the destination has a waypoint, but nobody checks that there: only a policy stops this connection
It would change with one of:
  kubectl label pod cron -n legacy --overwrite istio.io/dataplane-mode=ambient
    then: through shop/waypoint
";

const HEADLESS: &str = "\
Pod shop/web to db: through shop/data to Pod shop/db-0; direct: past any waypoint to Pod shop/db-1
  R86   the client is enrolled: its ztunnel looks at the address that it dials
  R44   db.shop.svc.cluster.local means Service shop/db, of the client's own namespace
  R33   it is headless, so the client dials one of its 2 workloads: workload traffic
To Pod shop/db-0: through shop/data
> R88   the workload has a waypoint
To Pod shop/db-1: direct: past any waypoint
> R88   the workload has no waypoint of its own
";

const BANK: &str = "\
api.bank.example means ServiceEntry legacy/bank to clients in legacy
  R44   api.bank.example means ServiceEntry legacy/bank, of the client's own namespace
  R86   the client dials an address of the service: service traffic
  ServiceEntry legacy/bank: meant by its own namespace; elsewhere ServiceEntry shop/bank comes first (R42)
  ServiceEntry shop/bank: meant by its own namespace, and by all that have none of their own (R42)

ServiceEntry legacy/bank: direct
";

#[test]
fn the_command_prints_paths_and_hosts_for_people() -> Result<()> {
    let rows: [(&[&str], &str); 3] = [
        (&["traffic", "--from", "legacy/cron", "--to", "cart.shop:80"], OUTSIDE),
        (&["traffic", "--from", "shop/web", "--to", "db"], HEADLESS),
        (&["host", "api.bank.example", "--namespace", "legacy"], BANK),
    ];
    for (arguments, expected) in rows {
        let (status, out, err) = run(arguments)?;
        assert_eq!((status, err.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.starts_with(expected), "{arguments:?}: {out}");
    }
    Ok(())
}

#[test]
fn the_command_says_what_it_cannot_explain() -> Result<()> {
    let rows: [(&[&str], i32, &str); 5] = [
        (&["traffic", "--from", "shop/ghost", "--to", "cart"], 1, "Pod shop/ghost sends nothing: it is not there"),
        (&["traffic", "--from", "web", "--to", "cart"], 1, "--from \"web\" is not NAMESPACE/POD"),
        (&["traffic", "--from", "shop/web", "--to", "a..b"], 2, "is not HOST[:PORT], IP[:PORT]"),
        (&["host", "10.0.0.1"], 1, "10.0.0.1 is an address"),
        (&["pod", "shop/web/10.0.0.1"], 1, "is not NAMESPACE/NAME"),
    ];
    for (arguments, expected, text) in rows {
        let (status, out, err) = run(arguments)?;
        assert_eq!((status, out.as_str()), (Some(expected), ""), "{arguments:?}: {err}");
        assert!(err.contains(text), "{arguments:?}: {err}");
    }
    let (status, out, err) = run(&["host", "api.bank.example", "-o", "json"])?;
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let answer: Value = serde_json::from_str(&out)?;
    assert_eq!(answer["meant"]["namespace"], "shop");
    assert_eq!(answer["claims"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["decisions"][0]["reason"], "WaypointAccepted");
    Ok(())
}
