//! Who may depend on whom, from cargo's own resolution. The picture is in ARCHITECTURE.md; the rule is here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// Every package of ours, and which of ours it may depend on. Dependencies of tests (`dev`) are not meant.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("manifest", &["model"]),
    ("engine", &["model"]),
    ("redirect", &["model", "ebpf-common"]),
    ("xds", &["model"]),
    ("cluster", &["model", "manifest"]),
    ("agent", &["model", "manifest", "engine", "redirect", "xds", "cluster"]),
    ("ebpf-common", &[]),
    ("ebpf-programs", &["ebpf-common"]),
    ("wayswitch-sdk", &[]),
    ("plugin-istio", &["wayswitch-sdk"]),
    ("plugin-service-account", &["wayswitch-sdk"]),
    // Istio's choice, and then the nearest of what it chose.
    ("plugin-locality", &["wayswitch-sdk", "plugin-istio"]),
    (
        "tests",
        &[
            "model",
            "manifest",
            "engine",
            "redirect",
            "xds",
            "cluster",
            "agent",
            "apiserver",
            "deploy-checks",
            "ebpf-common",
            "plugin-istio",
            "plugin-service-account",
            "plugin-locality",
            "wayswitch-sdk",
        ],
    ),
    // Looks at deploy/ only.
    ("deploy-checks", &[]),
    // Of the tests: knows nothing of wayswitch.
    ("apiserver", &[]),
    ("xtask", &[]),
];

/// Heavy dependencies and the packages of ours that may name them.
const OWNERS: [(&str, &[&str]); 14] = [
    ("wasmtime", &["engine"]),
    // In ebpf-common it is one optional trait: the layouts may be written to maps.
    ("aya", &["redirect", "ebpf-common"]),
    ("aya-ebpf", &["ebpf-programs"]),
    // The checks of deploy/ and the API server of the tests read YAML of ours, and nothing of a user.
    ("serde-saphyr", &["manifest", "deploy-checks", "apiserver"]),
    ("axum", &["agent"]),
    ("notify", &["agent"]),
    ("wit-bindgen", &["wayswitch-sdk"]),
    // The tests have a client of their own, that can be wrong.
    ("tonic", &["xds", "tests"]),
    ("prost", &["xds", "tests"]),
    ("tokio-rustls", &["xds"]),
    ("kube", &["cluster"]),
    ("k8s-openapi", &["cluster"]),
    ("prometheus-client", &["agent"]),
    ("flate2", &["agent", "tests"]),
];

/// Packages that depend on the named ones and on nothing else at all: what they link is what runs in the sandbox.
const NOTHING_ELSE: [&str; 3] = ["plugin-istio", "plugin-service-account", "plugin-locality"];

/// The model is pure: none of these may be reached from it, however far.
const PURE: &str = "model";
const IMPURE: [&str; 8] = ["tokio", "tonic", "prost", "kube", "aya", "wasmtime", "axum", "clap"];

/// Package names and what they depend on when built, not when tested.
pub(super) struct Graph {
    ours: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Reads the answer of `cargo metadata`. Versions are not told apart: a rule about a name holds for all of them.
    pub(super) fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut names = BTreeMap::new();
        for package in list(metadata, "packages") {
            names.insert(
                text(&package, "id").context("a package without id")?,
                text(&package, "name").context("a package without name")?,
            );
        }
        let name_of = |id: &str| names.get(id).cloned().with_context(|| format!("cargo does not describe {id}"));
        let ours = list(metadata, "workspace_members")
            .iter()
            .filter_map(Value::as_str)
            .map(name_of)
            .collect::<Result<BTreeSet<_>>>()?;
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(metadata.get("resolve").context("cargo resolved nothing")?, "nodes") {
            let from = edges.entry(name_of(&text(&node, "id").context("a node without id")?)?).or_default();
            for dependency in list(&node, "deps") {
                let is_built =
                    list(&dependency, "dep_kinds").iter().any(|kind| text(kind, "kind").as_deref() != Some("dev"));
                if is_built {
                    from.insert(name_of(&text(&dependency, "pkg").context("a dependency without package")?)?);
                }
            }
        }
        Ok(Self { ours, edges })
    }

    fn of(&self, package: &str) -> impl Iterator<Item = &str> {
        self.edges.get(package).into_iter().flatten().map(String::as_str)
    }

    /// The way from one package to another, if there is one.
    fn path(&self, from: &str, to: &str) -> Option<Vec<&str>> {
        let start = self.edges.get_key_value(from)?.0.as_str();
        let mut seen = BTreeSet::from([start]);
        let mut paths = vec![vec![start]];
        while let Some(path) = paths.pop() {
            for next in path.last().into_iter().flat_map(|last| self.of(last)) {
                let longer: Vec<&str> = path.iter().copied().chain([next]).collect();
                if next == to {
                    return Some(longer);
                }
                if seen.insert(next) {
                    paths.push(longer);
                }
            }
        }
        None
    }
}

/// Every edge that is not allowed.
pub(super) fn check(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &graph.ours {
        match ALLOWED.iter().find(|(name, _)| name == package) {
            Some((_, allowed)) => {
                let wrong = graph.of(package).filter(|to| graph.ours.contains(*to) && !allowed.contains(to));
                findings.extend(wrong.map(|to| format!("{package} must not depend on {to} (xtask/src/tidy/edges.rs)")));
            }
            None => findings.push(format!("{package}: a new package needs a line in xtask/src/tidy/edges.rs")),
        }
        if NOTHING_ELSE.contains(&package.as_str()) {
            let wrong = graph.of(package).filter(|to| !graph.ours.contains(*to));
            findings
                .extend(wrong.map(|to| format!("{package} depends on wayswitch-sdk and nothing else, not on {to}")));
        }
        for (heavy, owners) in OWNERS {
            if graph.of(package).any(|to| to == heavy) && !owners.contains(&package.as_str()) {
                findings.push(format!("{package} must not depend on {heavy}: its owner is {}", owners.join(", ")));
            }
        }
    }
    for impure in IMPURE {
        if let Some(path) = graph.path(PURE, impure) {
            findings.push(format!("{PURE} must stay pure, but reaches {impure}: {}", path.join(" -> ")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(ours: &[&str], edges: &[(&str, &[&str])]) -> Graph {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        Graph { ours: set(ours), edges: edges.iter().map(|(from, to)| ((*from).to_owned(), set(to))).collect() }
    }

    #[test]
    fn a_sibling_is_refused_and_the_model_is_not() {
        let found = check(&graph(&["engine", "model", "manifest"], &[("engine", &["model", "manifest"])]));
        assert_eq!(found, ["engine must not depend on manifest (xtask/src/tidy/edges.rs)"]);
    }

    #[test]
    fn a_second_owner_is_refused() {
        let found = check(&graph(&["agent", "engine"], &[("agent", &["wasmtime"]), ("engine", &["wasmtime"])]));
        assert_eq!(found, ["agent must not depend on wasmtime: its owner is engine"]);
    }

    #[test]
    fn an_impure_dependency_of_the_model_is_found_with_its_path() {
        let found = check(&graph(&["model"], &[("model", &["a"]), ("a", &["b", "model"]), ("b", &["tokio"])]));
        assert_eq!(found, ["model must stay pure, but reaches tokio: model -> a -> b -> tokio"]);
    }

    #[test]
    fn a_plugin_depends_on_the_sdk_alone() {
        let found = check(&graph(&["plugin-istio", "wayswitch-sdk"], &[("plugin-istio", &["serde", "wayswitch-sdk"])]));
        assert_eq!(found, ["plugin-istio depends on wayswitch-sdk and nothing else, not on serde"]);
    }

    #[test]
    fn a_new_package_needs_a_rule() {
        assert_eq!(check(&graph(&["new"], &[])), ["new: a new package needs a line in xtask/src/tidy/edges.rs"]);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "model"}, {"id": "2", "name": "tokio"}, {"id": "3", "name": "serde"}],
            "workspace_members": ["1"],
            "resolve": {"nodes": [
                {"id": "1", "deps": [
                    {"pkg": "2", "dep_kinds": [{"kind": "dev"}]},
                    {"pkg": "3", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}
                ]},
                {"id": "2", "deps": []}, {"id": "3", "deps": []}
            ]}
        });
        let graph = Graph::read(&metadata).unwrap();
        assert_eq!(graph.of("model").collect::<Vec<_>>(), ["serde"]);
        assert!(check(&graph).is_empty());
    }
}
