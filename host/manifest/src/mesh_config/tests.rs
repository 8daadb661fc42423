//! MeshConfig in full, in parts, inside a ConfigMap, and with mistakes.

use super::*;

const FULL: &str = "\
accessLogFile: /dev/stdout
defaultConfig: {discoveryAddress: istiod.istio-system.svc:15012, proxyMetadata: {A: 'true'}}
rootNamespace: mesh
trustDomain: example.org
serviceEntryVisibility:
  defaultVisibility: NAMESPACE
  policies:
  - visibility: PUBLIC
    matchingRules:
    - namespaceSelector: {matchLabels: {name: a}}
    - {}
  - visibility: NONE
serviceScopeConfigs:
- servicesSelector: {matchExpressions: [{key: istio.io/global, operator: Exists}]}
  scope: GLOBAL
- namespaceSelector: {matchLabels: {name: b}}
discoverySelectors:
- matchLabels: {istio-discovery: enabled}
";

fn read(text: &str) -> Result<Mesh, String> {
    mesh_config("mesh.yaml", text, &Limits::default()).map_err(|problem| problem.to_string())
}

#[test]
fn the_fields_that_matter_are_read() {
    let mesh = read(FULL).unwrap();
    assert_eq!((&*mesh.root_namespace, &*mesh.trust_domain), ("mesh", "example.org"));
    let rules = mesh.entry_visibility.unwrap();
    assert_eq!(rules.default, EntryVisibility::Namespace);
    let [first, second] = &*rules.policies else { panic!("{rules:?}") };
    assert_eq!((first.visibility, second.visibility), (EntryVisibility::Public, EntryVisibility::None));
    assert_eq!(first.rules[0].as_ref().unwrap().labels.get("name").map(|v| &**v), Some("a"));
    assert_eq!((first.rules.len(), &first.rules[1], second.rules.len()), (2, &None, 0));
    let [global, local] = &*mesh.service_scopes else { panic!("{:?}", mesh.service_scopes) };
    assert!(global.global && !local.global);
    assert_eq!((global.services.requirements.len(), global.namespaces.labels.len()), (1, 0));
    assert_eq!((local.services.requirements.len(), local.namespaces.labels.len()), (0, 1));
    assert_eq!(mesh.discovery_selectors.len(), 1);
}

#[test]
fn what_is_not_written_has_istios_default() {
    for text in
        ["", "# nothing\n", "~", "{}", "rootNamespace: ''\ntrustDomain: ~\nserviceScopeConfigs: []\nzipkin: {}\n"]
    {
        assert_eq!(read(text).unwrap(), Mesh::default(), "{text:?}");
    }
    let mesh = read("serviceEntryVisibility: {}").unwrap();
    assert_eq!(mesh.entry_visibility.unwrap().default, EntryVisibility::Public);
}

#[test]
fn json_and_the_config_map_of_the_installation_will_do() {
    assert_eq!(&*read("{\n\t\"rootNamespace\": \"mesh\"\n}").unwrap().root_namespace, "mesh");
    let indented: String = FULL.lines().map(|line| format!("    {line}\n")).collect();
    let map = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio}}\ndata:\n{data}");
    let text = map(&format!("  meshNetworks: 'networks: {{}}'\n  mesh: |-\n{indented}"));
    assert_eq!(read(&text), read(FULL));
    assert_eq!(read(&map("  mesh: ''\n")).unwrap(), Mesh::default());
    for (data, expected) in [
        ("  other: x\n", "mesh.yaml:1:1: data.mesh is missing"),
        ("  mesh: 7\n", "mesh.yaml:5:3: data.mesh must be text, found a number; put it in quotes"),
        (
            "  mesh: |\n    rootNamespace: 7\n",
            "mesh.yaml:5:3: rootNamespace must be text, found a number; put it in quotes",
        ),
        ("  mesh: |\n    - a\n", "mesh.yaml:5:3: not a valid configuration: it is a list, not a mapping"),
    ] {
        assert_eq!(read(&map(data)).unwrap_err(), expected, "{data}");
    }
}

#[test]
fn a_mistake_is_named_with_its_line() {
    for (text, expected) in [
        ("a: 1\nrootNamespace: [x]\n", "mesh.yaml:2:1: rootNamespace must be text, found a list"),
        (
            "serviceEntryVisibility:\n  defaultVisibility: Private\n",
            "mesh.yaml:2:3: serviceEntryVisibility.defaultVisibility is \"Private\", which is none of PUBLIC, NAMESPACE, NONE",
        ),
        (
            "serviceEntryVisibility:\n  policies:\n  - visibility: public\n",
            "mesh.yaml:3:5: serviceEntryVisibility.policies[0].visibility is \"public\", which is none of PUBLIC, NAMESPACE, NONE",
        ),
        (
            "serviceScopeConfigs:\n- scope: WORLD\n",
            "mesh.yaml:2:3: serviceScopeConfigs[0].scope is \"WORLD\", which is none of LOCAL, GLOBAL",
        ),
        ("discoverySelectors: {}\n", "mesh.yaml:1:1: discoverySelectors must be a list, found a mapping"),
        ("- a\n", "mesh.yaml: not a valid configuration: it is a list, not a mapping"),
        ("a: b: c\n", "mesh.yaml:1:5: not a valid configuration: mapping values are not allowed in this context"),
    ] {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
    assert!(read("a: 1\n---\nb: 2\n").is_err(), "two documents");
    let limits = Limits { document_bytes_max: 5, object_nodes_max: 3, ..Limits::default() };
    let problem = mesh_config("mesh.yaml", "a: 123", &limits).unwrap_err();
    assert_eq!(problem.to_string(), "mesh.yaml: has 6 bytes, more than the 5 allowed for a document; split it");
    let limits = Limits { document_bytes_max: 500, ..limits };
    let problem = mesh_config("mesh.yaml", "a: [1, 2, 3]", &limits).unwrap_err();
    assert!(problem.to_string().starts_with("mesh.yaml: is too large: at most 3 values"), "{problem}");
}
