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
    check(&format!("apiVersion: v1\n{items}kind: ServiceList\n"), &["unread ServiceList  false"]);
    check(&format!("apiVersion: apps/v1\nkind: List\n{items}"), &["unread List apps false"]);
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
            "unread Deployment apps false",
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
            Found::Object { object, position } => {
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
            "mesh.yaml:9:15: document 5: not valid JSON: EOF while parsing a value",
        ],
    );
    check_json("", &[]);
    check_json("null", &["mesh.yaml:1:1: document 1: is null, not an object with apiVersion and kind"]);
    check_json(
        "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": 3}",
        &[
            "mesh.yaml:1:1: document 1: not valid JSON: invalid type: integer `3`, expected the list of items (the List was read up to item 0…",
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
