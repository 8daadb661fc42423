//! Lists are unfolded item by item, and JSON values stand one behind the other.

use super::*;

#[test]
fn a_list_is_unfolded_wherever_its_type_is_written() {
    let items = "items:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: a}\n- metadata: {name: b}\n  kind: Service\n  apiVersion: v1\n";
    for (text, line) in [
        (format!("apiVersion: v1\nkind: List\n{items}"), 4),
        (format!("{items}apiVersion: v1\nkind: List\n"), 2),
        (format!("apiVersion: v1\n{items}kind: List\nmetadata: {{resourceVersion: ''}}\n"), 3),
    ] {
        check(&text, &[&format!("Namespace a @{line}:3 in 1.1"), &format!("Service default/b @{}:3 in 1.2", line + 3)]);
    }
    check(&format!("apiVersion: v1\n{items}kind: ServiceList\n"), &["unread ServiceList "]);
    check(&format!("apiVersion: apps/v1\nkind: List\n{items}"), &["unread List apps"]);
    check(items, &["mesh.yaml:1:1: document 1: apiVersion is missing"]);
    for empty in ["", "items:\n", "items: []\n"] {
        check(&format!("apiVersion: v1\nkind: List\n{empty}"), &[]);
    }
}

#[test]
fn an_item_with_a_fault_hides_no_other() {
    let text = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a, labels: {b: 1}}}
- seven
-
- {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: c}}]}
- {apiVersion: apps/v1, kind: Deployment}
- {apiVersion: v1, kind: Pod, metadata: {name: d}}
";
    check(
        text,
        &[
            "mesh.yaml:4:60: document 1, item 1: Pod default/a: metadata.labels[\"b\"] must be text, found a number; put it in quotes",
            "mesh.yaml:3:1: document 1, item 2: is text, not an object with apiVersion and kind",
            "mesh.yaml:3:1: document 1, item 3: is null, not an object with apiVersion and kind",
            "mesh.yaml:7:4: document 1, item 4: a List inside a List is not unfolded",
            "unread Deployment apps",
            "Pod default/d @9:4 in 1.6",
        ],
    );
}

#[test]
fn an_item_that_is_not_yaml_ends_its_list_and_says_so() {
    let item = "- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n";
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{item}- {{name: [}}\n{item}---\n{SERVICE}");
    check(
        &text,
        &["Pod default/a @4:4 in 1.1", "mesh.yaml:5:10: document 1: not valid YAML: …", "Service shop/cart @8:1 in 2"],
    );
    let [_, Found::Problem(problem), _] = &*found_in(&text, Format::Yaml, &Limits::default()) else { panic!() };
    assert!(problem.to_string().ends_with("(the List was read up to item 1, the rest is lost)"), "{problem}");
    let twice = format!("apiVersion: v1\nkind: List\nitems:\n{item}- {{kind: Pod, kind: Pod}}\n{item}");
    check(&twice, &["Pod default/a @4:4 in 1.1", "mesh.yaml:5:15: document 1: not valid YAML: …"]);
}

/// A tree-first parser would deliver nothing of a List that ends in an error, and hold all of it.
#[test]
fn items_of_a_long_list_are_handed_on_one_at_a_time() {
    const ITEMS: usize = 10_000;
    let yaml_item = |i| format!("- apiVersion: v1\n  kind: Pod\n  metadata: {{name: p{i}}}\n");
    let yaml_items: String = (0..ITEMS).map(yaml_item).collect();
    let json_item = |i| format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "p{i}"}}}}"#);
    let json_items = (0..ITEMS).map(json_item).collect::<Vec<_>>().join(",\n");
    for (format, text) in [
        (Format::Yaml, format!("apiVersion: v1\nkind: List\nitems:\n{yaml_items}broken")),
        (Format::Yaml, format!("apiVersion: v1\nitems:\n{yaml_items}kind: List\n")),
        (Format::Json, format!(r#"{{"items": [{json_items}], "kind": "List", "apiVersion": "v1"}}"#)),
    ] {
        alive::MOST.set(0);
        let mut objects = 0;
        let mut problems = 0;
        read_text(&"long".into(), &text, format, &Limits::default(), &mut |found| match found {
            Found::Object { object, position, .. } => {
                assert_eq!((&*object.meta().name, position.item), (&*format!("p{objects}"), Some(objects + 1)));
                objects += 1;
            }
            _ => problems += 1,
        });
        assert_eq!((objects, problems), (ITEMS, usize::from(text.ends_with("broken"))), "{format:?}");
        assert_eq!(alive::MOST.get(), 1, "{format:?}");
    }
}

#[test]
fn json_values_stand_one_behind_the_other() {
    let text = "\u{feff}{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}}
  {\"kind\": \"Service\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"b\", \"labels\": {\"c\": \"\\ud83d\\ude00\"}}}
{\"items\": [
   {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"c\", \"labels\": {\"d\": 1}}},
   {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"e\", \"name\": \"f\"}},
   {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"g\"}}
 ], \"apiVersion\": \"v1\", \"kind\": \"List\"}
[]
{\"apiVersion\": ";
    check_json(
        text,
        &[
            "Namespace a @1:1 in 1",
            "Service default/b @2:3 in 2",
            "mesh.yaml:4:4: document 3, item 1: Pod default/c: metadata.labels[\"d\"] must be text, found a number; put it in quotes",
            "mesh.yaml:5:4: document 3, item 2: Pod default/e: the key \"name\" appears twice in one mapping",
            "Pod default/g @6:4 in 3.3",
            "mesh.yaml:8:1: document 4: is a list, not an object with apiVersion and kind",
            "mesh.yaml:9:16: document 5: not valid JSON: a value is missing",
        ],
    );
    check_json("", &[]);
    check_json("null", &["mesh.yaml:1:1: document 1: is null, not an object with apiVersion and kind"]);
    check_json(
        "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": 3}",
        &[
            "mesh.yaml:1:1: document 1: not valid JSON: invalid type: integer `3`, expected a sequence (the List was read up to item 0…",
        ],
    );
}

#[test]
fn json_in_a_yaml_file_is_yaml() {
    check(
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Namespace\",\n\t\"metadata\": {\"name\": \"a\\/b\\u0041\"}\n}\n",
        &["mesh.yaml:4:2: document 1: Namespace a/bA: …"],
    );
}

/// Bytes come as the operating system likes it: here one at a time.
struct Dripping(std::io::Cursor<Vec<u8>>);

impl std::io::Read for Dripping {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(to.get_mut(..1).unwrap_or_default())
    }
}

impl std::io::Seek for Dripping {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

/// What is found with all in one piece, byte by byte, and with each List cut into its items.
fn found_each_way(text: &str, format: Format) -> [Vec<String>; 3] {
    let (limits, pool, file) = (Limits::default(), Pool::default(), "mesh.yaml".into());
    let with = Context { limits: &limits, pool: &pool };
    let read = |input: &mut dyn Input, cut_from| {
        let mut lines = Vec::new();
        let each = &mut |found| lines.push(line_of(&found));
        let mut reader = Reader { file: &file, with, each, document: 0, first_line: 1 };
        match format {
            Format::Yaml => reader.yaml(input, cut_from),
            Format::Json => reader.json(input),
        }
        lines
    };
    let mut dripping = Dripping(std::io::Cursor::new(text.into()));
    [
        read(&mut std::io::Cursor::new(text), usize::MAX),
        read(&mut dripping, usize::MAX),
        read(&mut std::io::Cursor::new(text), 0),
    ]
}

#[test]
fn how_a_text_arrives_makes_no_difference() {
    let item =
        |name: &str| format!("{{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"metadata\": {{\"name\": \"{name}\"}}}}");
    let json = format!(
        "\u{feff} {{\"a\": [{{\"é\\\\\\\"]\": 1e5}}, [], {{}}], \"items\": [\n {},\r\n\t{} ,{{}}], \"kind\": \"List\", \"apiVersion\": \"v1\"}}[{{}}]\"x\" 7 {}",
        item("a"),
        item("b\\u00e9"),
        item("c")
    );
    let yaml_items = "- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: a\n    labels: {b: 'c\n    - d'}\n- seven\n-\n# x\n-  {apiVersion: v1,\n    kind: Pod, metadata: {}}\n- apiVersion: apps/v1\n  kind: Deployment\n";
    let yaml = format!("apiVersion: v1\nitems:\n{yaml_items}kind: List\nmetadata:\n  x: ''\n---\n{SERVICE}");
    for (text, format, parts) in [(&json, Format::Json, 7), (&yaml, Format::Yaml, 6)] {
        let [whole, dripping, cut] = found_each_way(text, format);
        assert_eq!((whole.len(), &whole), (parts, &dripping), "{text}");
        // Where an item has no line of its own it is that of the List, or its own if that is known.
        let without_place = |lines: &[String]| -> Vec<String> {
            lines
                .iter()
                .map(|line| line.split_once(": document").map_or(line.clone(), |(_, rest)| rest.into()))
                .collect()
        };
        assert_eq!(without_place(&cut), without_place(&whole), "{text}");
        let pods = |lines: &[String]| -> Vec<_> { lines.iter().filter(|it| it.starts_with("Pod")).cloned().collect() };
        assert_eq!(pods(&cut), pods(&whole), "{text}");
    }
}

#[test]
fn an_item_that_is_not_valid_hides_no_other_where_its_end_is_known() {
    let item = |name: &str| format!(r#"{{"kind": "Pod", "apiVersion": "v1", "metadata": {{"name": "{name}"}}}}"#);
    let list = |items: &str| format!(r#"{{"apiVersion": "v1", "items": [{items}], "kind": "List"}}"#);
    let (a, b) = (item("a"), item("b"));
    check_json(
        &list(&format!("{a}, {{\"kind\" \"Pod\"}}, tru, {{\"a\": 1,}}, {b}")),
        &[
            "Pod default/a @1:32 in 1.1",
            "mesh.yaml:1:96: document 1, item 2: not valid JSON: …",
            "mesh.yaml:1:112: document 1, item 3: not valid JSON: …",
            "mesh.yaml:1:117: document 1, item 4: not valid JSON: …",
            "Pod default/b @1:128 in 1.5",
        ],
    );
    for (items, message) in [
        ("{a}, {\"x\": [}, {b}", "a bracket closes what it does not belong to"),
        ("{a}, {\"x\": \", {b}", "it ends inside a value"),
        ("{a}, , {b}", "a value is missing"),
        ("{a}, ", "a value is missing"),
        ("{a} {b}", "a ',' or ']' is missing"),
    ] {
        let items = items.replace("{a}", &a).replace("{b}", &b);
        let text =
            list(&items).replace("\"items\"", "\"kind\": \"List\", \"items\"").replace(", \"kind\": \"List\"}", "}");
        let lines: Vec<_> = found_in(&text, Format::Json, &Limits::default()).iter().map(line_of).collect();
        assert_eq!(lines[0], "Pod default/a @1:48 in 1.1", "{text}");
        let end = format!("not valid JSON: {message} (the List was read up to item 1, the rest is lost)");
        assert!(lines.len() == 2 && lines[1].ends_with(&end), "{text}\n{lines:?}");
    }
    let found = found_in(&list(&"[".repeat(20_000)), Format::Json, &Limits::default());
    let lines: Vec<_> = found.iter().map(line_of).collect();
    assert_eq!(lines, ["mesh.yaml:1:10032: document 1: not valid JSON: brackets are nested too deep"]);
}

#[test]
fn an_item_that_is_too_long_hides_no_other() {
    let limits = Limits { object_text_bytes_max: 100, ..Limits::default() };
    let long = format!(r#"{{"kind": "Pod", "x": "{}"}}"#, "y".repeat(100));
    let short = r#"{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}"#;
    let text = format!(r#"{{"items": [{long}, {short}], "kind": "List", "apiVersion": "v1"}} {long}"#);
    check_with(
        &text,
        Format::Json,
        &limits,
        &[
            "mesh.yaml:1:12: document 1, item 1: its text has 124 bytes, more than the 100 allowed for one object",
            "Pod default/a @1:138 in 1.2",
            "mesh.yaml:1:239: document 2: its text has 121 bytes, more than the 100 allowed for one object",
        ],
    );
}
