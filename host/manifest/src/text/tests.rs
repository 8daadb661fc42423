//! Text in, objects and problems out: what is read, what is refused, and how that is told.

use super::*;
use crate::node::alive;
use model::Meta;

mod lists;

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\n";

fn found_in(text: &str, format: Format, limits: &Limits) -> Vec<Found> {
    let mut found = Vec::new();
    read_text(&"mesh.yaml".into(), text, format, limits, &mut |next| found.push(next));
    found
}

fn line_of(found: &Found) -> String {
    match found {
        Found::Object { object, position: Position { document, item, line, column }, .. } => {
            let item = item.map_or_else(String::new, |n| format!(".{n}"));
            format!("{} @{line}:{column} in {document}{item}", object.key())
        }
        Found::Unread { unread: Unread { group, kind }, .. } => format!("unread {kind} {group}"),
        Found::Problem(problem) => problem.to_string(),
    }
}

/// Compares what a text holds with `expected`, one line each. A line that ends in `…` is only compared up to there.
fn check_with(text: &str, format: Format, limits: &Limits, expected: &[&str]) {
    let lines: Vec<String> = found_in(text, format, limits).iter().map(line_of).collect();
    let fits = |line: &String, want: &&str| match want.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == want,
    };
    let all_fit = lines.len() == expected.len() && lines.iter().zip(expected).all(|(l, w)| fits(l, w));
    assert!(all_fit, "{text}\nfound    {lines:#?}\nexpected {expected:#?}");
}

fn check(text: &str, expected: &[&str]) {
    check_with(text, Format::Yaml, &Limits::default(), expected);
}

fn check_json(text: &str, expected: &[&str]) {
    check_with(text, Format::Json, &Limits::default(), expected);
}

/// The only object of a text.
fn object(text: &str) -> Object {
    match <[Found; 1]>::try_from(found_in(text, Format::Yaml, &Limits::default())) {
        Ok([Found::Object { object, .. }]) => object,
        other => panic!("{text}\n{other:?}"),
    }
}

#[test]
fn every_kind_of_the_model_is_read() {
    let text = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: GatewayClass
metadata: {name: istio-waypoint}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: cart}
---
apiVersion: v1
kind: Pod
metadata: {name: cart-1, namespace: shop}
";
    check(
        text,
        &[
            "Namespace shop @1:1 in 1",
            "GatewayClass istio-waypoint @5:1 in 2",
            "Gateway shop/waypoint @9:1 in 3",
            "Service default/cart @13:1 in 4",
            "Pod shop/cart-1 @17:1 in 5",
        ],
    );
}

#[test]
fn kinds_are_told_apart_by_their_group() {
    let of =
        |api_version: &str, kind: &str| format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n");
    for (api_version, kind, expected) in [
        ("networking.istio.io/v1", "Gateway", &["unread Gateway networking.istio.io"][..]),
        ("v1", "Gateway", &["unread Gateway "]),
        ("serving.knative.dev/v1", "Service", &["unread Service serving.knative.dev"]),
        ("apps/v1", "Deployment", &["unread Deployment apps"]),
        ("v1", "ServiceList", &["unread ServiceList "]),
        ("v2", "List", &["unread List "]),
        ("v1", "ServiceAccount", &[]),
        ("v1", "Node", &["Node x @1:1 in 1"]),
        ("networking.istio.io/v1alpha3", "ServiceEntry", &["ServiceEntry default/x @1:1 in 1"]),
        ("networking.istio.io/v1", "WorkloadEntry", &["WorkloadEntry default/x @1:1 in 1"]),
        ("v1", "WorkloadEntry", &["unread WorkloadEntry "]),
        ("discovery.k8s.io/v1", "EndpointSlice", &["EndpointSlice default/x @1:1 in 1"]),
        ("security.istio.io/v1", "AuthorizationPolicy", &["AuthorizationPolicy default/x @1:1 in 1"]),
        ("security.istio.io/v1", "PeerAuthentication", &["PeerAuthentication default/x @1:1 in 1"]),
        ("gateway.networking.k8s.io/v1alpha2", "Gateway", &["Gateway default/x @1:1 in 1"]),
    ] {
        check(&of(api_version, kind), expected);
    }
}

#[test]
fn a_document_that_is_not_valid_hides_no_other() {
    let text = format!("{SERVICE}---\nkind: [\n---\n# fine again\n{SERVICE}---\na: b: c\n...\n{SERVICE}");
    check(
        &text,
        &[
            "Service shop/cart @1:1 in 1",
            "mesh.yaml:5:7: document 2: not valid YAML: …",
            "Service shop/cart @8:1 in 3",
            "mesh.yaml:12:5: document 4: not valid YAML: …",
            "Service shop/cart @14:1 in 5",
        ],
    );
}

#[test]
fn lines_are_right_with_crlf_and_a_byte_order_mark() {
    let text = format!("\u{feff}{SERVICE}---\n\n{SERVICE}").replace('\n', "\r\n");
    check(&text, &["Service shop/cart @1:1 in 1", "Service shop/cart @6:1 in 2"]);
}

#[test]
fn empty_documents_are_fine_and_other_values_are_not() {
    check("---\n---\n# nothing\n---\n~\n", &[]);
    check(
        "--- hello\n--- [1]\n--- 7\n--- true\n--- 1.5\n--- {}\n",
        &[
            "mesh.yaml:1: document 1: is text, not an object with apiVersion and kind",
            "mesh.yaml:2: document 2: is a list, not an object with apiVersion and kind",
            "mesh.yaml:3: document 3: is a number, not an object with apiVersion and kind",
            "mesh.yaml:4: document 4: is a boolean, not an object with apiVersion and kind",
            "mesh.yaml:5: document 5: is a number, not an object with apiVersion and kind",
            "mesh.yaml:6: document 6: apiVersion is missing",
        ],
    );
}

#[test]
fn inline_documents_and_tags_directives_and_anchors_are_yaml_too() {
    let text = "\
%YAML 1.2
--- # comment
apiVersion: v1
kind: Service
metadata: &meta
  name: cart
  labels: &labels {app: cart}
  annotations: {<<: *labels, more: !!str 1}
spec: {selector: *labels}
--- {apiVersion: v1, kind: Namespace, metadata: {name: !custom shop}}
";
    check(text, &["Service default/cart @3:1 in 1", "Namespace shop @10:6 in 2"]);
    let Found::Object { object: Object::Service(service), .. } =
        found_in(text, Format::Yaml, &Limits::default()).remove(0)
    else {
        panic!("no service")
    };
    assert_eq!(service.selector.get("app").map(|v| &**v), Some("cart"));
    assert_eq!(format!("{:?}", service.meta.annotations), r#"{"app": "cart", "more": "1"}"#);
}

#[test]
fn labels_must_be_text_and_the_message_names_the_key() {
    let with =
        |labels: &str| format!("{SERVICE}---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n{labels}");
    for (labels, expected) in [
        ("    ok: yes\n", "metadata.labels[\"ok\"] must be text, found a boolean; put it in quotes"),
        ("    a: b\n    ok: 1\n", "metadata.labels[\"ok\"] must be text, found a number; put it in quotes"),
        ("    ok: 1.10\n", "metadata.labels[\"ok\"] must be text, found a number; put it in quotes"),
        ("    ok: .inf\n", "metadata.labels[\"ok\"] must be text, found a number; put it in quotes"),
        ("    ok: [a]\n", "metadata.labels[\"ok\"] must be text, found a list"),
        ("    - a\n", "metadata.labels must be a mapping, found a list"),
    ] {
        let line = 10 + labels.lines().position(|l| l.contains("ok:")).unwrap_or(0);
        let (line, column) = if labels.contains("ok:") { (line, 5) } else { (9, 3) };
        check(
            &with(labels),
            &[
                "Service shop/cart @1:1 in 1",
                &format!("mesh.yaml:{line}:{column}: document 2: Pod default/a: {expected}"),
            ],
        );
    }
}

#[test]
fn labels_keep_what_is_written() {
    let text =
        "{apiVersion: v1, kind: Service, metadata: {name: a, labels: {a: '', b: ~, 1: 'true', on: x, c: 2024-01-01}}}";
    let Object::Service(service) = object(text) else { panic!("no service") };
    assert_eq!(
        format!("{:?}", service.meta.labels),
        r#"{"1": "true", "a": "", "b": "", "c": "2024-01-01", "on": "x"}"#
    );
}

/// The parser has `tRUE` for a boolean; neither YAML nor the API server does.
#[test]
fn only_the_usual_spellings_of_a_boolean_are_one() {
    let text = |labels: &str| format!("{{apiVersion: v1, kind: Service, metadata: {{name: a, labels: {labels}}}}}");
    let labels = "{a: tRUE, y: y, N: N , 'b' : yEs , c: nULL,\n d:\toFF}";
    let Object::Service(service) = object(&text(labels)) else { panic!("no service") };
    assert_eq!(
        format!("{:?}", service.meta.labels),
        r#"{"N": "N", "a": "tRUE", "b": "yEs", "c": "nULL", "d": "oFF", "y": "y"}"#
    );
    let block = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels:\n    a: tRUE # really\n    é: fALSE\n";
    let Object::Service(service) = object(block) else { panic!("no service") };
    assert_eq!(format!("{:?}", service.meta.labels), r#"{"a": "tRUE", "é": "fALSE"}"#);
    for word in ["true", "True", "TRUE", "yes", "No", "ON", "off"] {
        let found = found_in(&text(&format!("{{a: {word}}}")), Format::Yaml, &Limits::default());
        assert!(line_of(&found[0]).contains("found a boolean; put it in quotes"), "{word}: {found:?}");
    }
}

#[test]
fn nulls_are_the_same_as_absent_and_unknown_fields_are_fine() {
    let text = "\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: ~, labels: null, annotations: ~, creationTimestamp: null, managedFields: [{a: .nan}]}
spec: null
status: null
extra: {a: [!!binary aGk=, 0x1F, 1e999]}
";
    let Object::Pod(pod) = object(text) else { panic!("no pod") };
    assert_eq!(pod.meta, Meta::named("default", "a"));
    assert_eq!(&**pod.service_account(), "default");
    assert!(pod.addresses.is_empty() && !pod.finished && !pod.host_network && pod.bad_address.is_none());
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n";
    for rest in [
        "",
        "spec: ~\nstatus: ~\n",
        "spec: {listeners: ~}\nstatus: {addresses: ~}\n",
        "spec: {gatewayClassName: ~, listeners: [{port: ~, protocol: ~, allowedRoutes: ~}]}\n",
        "spec: {listeners: [{allowedRoutes: {namespaces: ~}}, {allowedRoutes: {namespaces: {from: ~, selector: ~}}}]}\n",
    ] {
        let Object::Gateway(gateway) = object(&format!("{gateway}{rest}")) else { panic!("no gateway") };
        assert!(gateway.class.is_empty() && gateway.addresses.is_empty());
        assert!(gateway.listeners.iter().all(|l| l.port == 0 && l.admits_from.is_none() && l.selector.is_none()));
    }
}

#[test]
fn a_gateway_has_its_class_listeners_and_addresses() {
    let text = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: all}}
spec:
  gatewayClassName: istio-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
    allowedRoutes:
      namespaces:
        from: Selector
        selector:
          matchLabels: {team: a}
          matchExpressions: [{key: env, operator: In, values: [prod, dev]}, {key: x, operator: Exists}]
status:
  addresses: [{type: Hostname, value: w.shop}, {value: 10.0.0.1}, {type: IPAddress, value: 10.0.0.2}]
  conditions: [{type: Programmed, status: 'True'}]
";
    let Object::Gateway(gateway) = object(text) else { panic!("no gateway") };
    assert_eq!(&*gateway.class, "istio-waypoint");
    let [listener] = &*gateway.listeners else { panic!("{gateway:?}") };
    assert_eq!(
        (listener.port, &*listener.protocol, listener.admits_from.as_deref()),
        (15008, "HBONE", Some("Selector"))
    );
    let selector = listener.selector.clone().unwrap();
    assert_eq!(selector.labels.get("team").map(|v| &**v), Some("a"));
    let requirements: Vec<_> = selector.requirements.iter().map(|r| (&*r.key, &*r.operator, r.values.len())).collect();
    assert_eq!(requirements, [("env", "In", 2), ("x", "Exists", 0)]);
    let addresses: Vec<_> = gateway.addresses.iter().map(|a| (a.kind.as_deref(), &*a.value)).collect();
    assert_eq!(addresses, [(Some("Hostname"), "w.shop"), (None, "10.0.0.1"), (Some("IPAddress"), "10.0.0.2")]);
}

#[test]
fn a_selector_that_is_empty_is_not_one_that_is_absent() {
    let text = |namespaces: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: w}}\n\
             spec: {{listeners: [{{allowedRoutes: {{namespaces: {namespaces}}}}}]}}\n"
        )
    };
    for (namespaces, expected) in [("{from: Selector}", false), ("{from: Selector, selector: {}}", true)] {
        let Object::Gateway(gateway) = object(&text(namespaces)) else { panic!("no gateway") };
        assert_eq!(gateway.listeners[0].selector.is_some(), expected, "{namespaces}");
    }
}

#[test]
fn addresses_of_services_and_pods() {
    let check = |kind: &str, rest: &str, addresses: &[&str], bad: Option<&str>| {
        let text = format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{rest}\n");
        let (found, found_bad) = match object(&text) {
            Object::Service(service) => (service.addresses.to_vec(), service.bad_address),
            Object::Pod(pod) => (pod.addresses.to_vec(), pod.bad_address.map(|text| *text)),
            other => panic!("{other:?}"),
        };
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), addresses, "{text}");
        assert_eq!(found_bad.as_deref(), bad, "{text}");
    };
    check("Service", "spec: {clusterIP: 10.0.0.1}", &["10.0.0.1"], None);
    check("Service", "spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2, 'fd00::2']}", &["10.0.0.2", "fd00::2"], None);
    check("Service", "spec: {clusterIP: 10.0.0.1, clusterIPs: []}", &["10.0.0.1"], None);
    check("Service", "spec: {clusterIP: None, clusterIPs: [None]}", &[], None);
    check("Service", "spec: {clusterIP: ''}", &[], None);
    check("Service", "spec: {clusterIPs: [10.0.0.1, 10.0.0.300]}", &["10.0.0.1"], Some("10.0.0.300"));
    check("Pod", "status: {podIP: 10.0.0.1}", &["10.0.0.1"], None);
    check(
        "Pod",
        "status: {podIP: 10.0.0.1, podIPs: [{ip: 'fd00::1'}, {ip: 10.0.0.2}]}",
        &["fd00::1", "10.0.0.2"],
        None,
    );
    check("Pod", "status: {podIP: 10.0.0.1, podIPs: []}", &["10.0.0.1"], None);
    check("Pod", "status: {podIP: ''}", &[], None);
    check("Pod", "status: {podIPs: [{ip: nope}]}", &[], Some("nope"));
}

#[test]
fn pods_and_services_have_their_other_fields() {
    let pod = |rest: &str| match object(&format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{rest}\n")) {
        Object::Pod(pod) => pod,
        other => panic!("{other:?}"),
    };
    assert_eq!(&**pod("spec: {serviceAccountName: robot}").service_account(), "robot");
    assert_eq!(&**pod("spec: {serviceAccountName: ''}").service_account(), "default");
    assert!(pod("spec: {hostNetwork: true}").host_network);
    for (phase, finished) in [("Succeeded", true), ("Failed", true), ("Running", false), ("Pending", false)] {
        assert_eq!(pod(&format!("status: {{phase: {phase}}}")).finished, finished, "{phase}");
    }
    let Object::Service(service) = object(&format!("{SERVICE}spec: {{type: ExternalName, selector: {{app: cart}}}}\n"))
    else {
        panic!("no service")
    };
    assert!(service.external_name && service.selector.get("app").is_some());
}

#[test]
fn fields_of_the_wrong_type_name_field_and_line() {
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w}\nspec:\n";
    check(
        &format!("{gateway}  listeners:\n  - name: a\n  - port: '80'\n"),
        &["mesh.yaml:7:5: document 1: Gateway default/w: spec.listeners[1].port must be a number, found text"],
    );
    check(
        &format!("{gateway}  listeners:\n  - port: -1\n"),
        &[
            "mesh.yaml:6:5: document 1: Gateway default/w: spec.listeners[0].port must be a number below 2^32, found a number",
        ],
    );
    check(
        &format!("{gateway}  listeners: {{}}\n"),
        &["mesh.yaml:5:3: document 1: Gateway default/w: spec.listeners must be a list, found a mapping"],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: 'true'}\n",
        &["mesh.yaml:4:8: document 1: Pod default/a: spec.hostNetwork must be true or false, found text"],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n",
        &["mesh.yaml:3:12: document 1: metadata.name must be text, found a number; put it in quotes"],
    );
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: [a]\n",
        &["mesh.yaml:3:1: document 1: metadata must be a mapping, found a list"],
    );
    check(
        "apiVersion: 1\nkind: Pod\n",
        &["mesh.yaml:1:1: document 1: apiVersion must be text, found a number; put it in quotes"],
    );
}

#[test]
fn names_are_there_bounded_and_harmless() {
    let pod = |meta: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {meta}\n");
    check("apiVersion: v1\nkind: Pod\n", &["mesh.yaml:1:1: document 1: metadata.name is missing"]);
    check(&pod("{namespace: shop}"), &["mesh.yaml:3:1: document 1: metadata.name is missing"]);
    check(&pod("{name: ''}"), &["mesh.yaml:3:1: document 1: Pod default/: metadata.name is missing"]);
    let longest = "n".repeat(253);
    check(&pod(&format!("{{name: {longest}}}")), &[&format!("Pod default/{longest} @1:1 in 1")]);
    for name in [&*format!("{longest}n"), "a/b", "..", "a b", "a%b", "\"a\\eb\""] {
        check(&pod(&format!("{{name: {name}}}")), &["mesh.yaml:3:1: document 1: Pod default/…"]);
    }
    check(
        &pod("{name: \"a\\e[0m\\nb\"}"),
        &[
            "mesh.yaml:3:1: document 1: Pod default/a[0mb: metadata.name \"a[0mb\" is not a name: 1 to 253 bytes, without \
         control characters, spaces, '/' and '%'",
        ],
    );
    check(
        &pod("{name: a, namespace: b/c}"),
        &["mesh.yaml:3:1: document 1: Pod b/c/a: metadata.namespace \"b/c\" is not a name: …"],
    );
}

#[test]
fn what_is_too_large_is_refused_with_both_figures() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";
    let limits = Limits { document_bytes_max: 60, ..Limits::default() };
    check_with(
        &format!("{pod}# {}\n---\n{pod}", "x".repeat(60)),
        Format::Yaml,
        &limits,
        &[
            "mesh.yaml:1:1: document 1: has 108 bytes, more than the 60 allowed for a document; split it",
            "Pod default/a @7:1 in 2",
        ],
    );
    let limits = Limits { labels_max: 1, label_bytes_max: 10, ..Limits::default() };
    for (labels, fits) in [("{a: b}", true), ("{a: b, c: d}", false), ("{a: '1234567890'}", false)] {
        let found = found_in(&format!("{pod}  labels: {labels}\n"), Format::Yaml, &limits);
        assert_eq!(matches!(found[0], Found::Object { .. }), fits, "{labels}: {}", line_of(&found[0]));
    }
    let limits = Limits { object_nodes_max: 10, object_bytes_max: 40, depth_max: 4, ..Limits::default() };
    let too_large = "is too large: at most 10 values with 40 bytes of text, nested 4 deep";
    for spec in ["[1, 2, 3, 4, 5, 6, 7, 8]", "'0123456789012345678901234567890123456789'", "[[[[1]]]]"] {
        let text = format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {{name: a}}\n  spec: {spec}\n- {{apiVersion: v1, kind: Pod, metadata: {{name: b}}}}\n"
        );
        check_with(
            &text,
            Format::Yaml,
            &limits,
            &[&format!("mesh.yaml:4:3: document 1, item 1: Pod default/a: {too_large}"), "Pod default/b @8:4 in 1.2"],
        );
    }
}

/// With room: without optimisation a level of nesting takes kilobytes of the stack.
#[test]
fn deep_nesting_and_alias_bombs_are_refused_not_followed() {
    std::thread::Builder::new().stack_size(16 << 20).spawn(refuse_bombs).unwrap().join().unwrap();
}

fn refuse_bombs() {
    for deep in [
        format!("a: {}", "[".repeat(100_000)),
        "- ".repeat(100_000),
        "[".repeat(129) + &"]".repeat(129),
        format!("{}x", "{a: ".repeat(5_000)),
    ] {
        check(&deep, &["mesh.yaml:1:…"]);
    }
    check_json(
        &format!("{{\"metadata\": {}{}}}", "[".repeat(1_000), "]".repeat(1_000)),
        &["mesh.yaml:1:1: document 1: …"],
    );
    let mut bomb = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  x0: &x0 [lol, lol, lol]\n".to_owned();
    for i in 1..30 {
        bomb += &format!("  x{i}: &x{i} [*x{0}, *x{0}, *x{0}, *x{0}, *x{0}, *x{0}]\n", i - 1);
    }
    let lines: Vec<_> = found_in(&bomb, Format::Yaml, &Limits::default()).iter().map(line_of).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("mesh.yaml:") && lines[0].contains("not valid YAML"), "{lines:?}");
}

#[test]
fn text_of_the_parser_is_one_line_without_control_characters() {
    for text in
        ["a: \"\\q\u{1b}[31m\"", "? \u{7}\n: [\u{7}", "%FOO\n--- *x\n", "a: *un\u{1b}known\n", "key: \"\u{85}\n"]
    {
        for found in found_in(text, Format::Yaml, &Limits::default()) {
            let line = line_of(&found);
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

/// One line for each, and what is around them is read.
#[test]
fn objects_of_absurd_size_or_shape_hide_no_other() {
    let label = "x".repeat(1 << 20);
    let pod = |name: &str, rest: &str| format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n{rest}");
    let documents = [
        pod("a", &format!("  labels: {{big: {label}}}\n")),
        pod("b", ""),
        pod("c", &format!("  {label}: d\n")),
        pod("d", &format!("spec: {{containers: [{}]}}\n", "{name: a},".repeat(60_000))),
        pod("e", &format!("  annotations: {{a: '{}'}}\n", "y".repeat(5 << 20))),
        "apiVersion: v1\nkind: Pod\nmetadata: 7\n".to_owned(),
        format!("apiVersion: v1\nkind: {label}\n"),
        pod("f", ""),
    ];
    let lines: Vec<_> =
        found_in(&documents.join("---\n"), Format::Yaml, &Limits::default()).iter().map(line_of).collect();
    assert!(lines.iter().all(|line| line.len() < 300), "{lines:?}");
    let starts = [
        "mesh.yaml:5:3: document 1: Pod default/a: metadata.labels has 1 entries of 1048579 bytes, more than",
        "Pod default/b",
        "mesh.yaml:16:3: document 3: not valid YAML: ",
        "mesh.yaml:18:1: document 4: Pod default/d: is too large",
        "mesh.yaml:24:1: document 5: Pod default/e: is too large",
        "mesh.yaml:32:1: document 6: metadata must be a mapping, found a number",
        "unread xxx",
        "Pod default/f",
    ];
    assert!(lines.len() == 8 && lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:#?}");
}
