//! Any JSON value as YAML for people: blocks, keys in their order, text without quotes where no reader can take it for
//! anything else. Not a printer of what was read: comments and styles are not kept anywhere.

use serde_json::Value;

/// Plain words that some version of YAML reads as something other than text.
const NO_TEXT: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// One document, without a line of dashes, that ends with a line break.
pub fn write_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Array(list) if !list.is_empty() => block(&mut out, value, 0),
        _ => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
    out
}

/// The entries of a mapping or sequence, each on lines of its own.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (at, (key, value)) in map.iter().enumerate() {
                // The first entry of a mapping in a sequence stands behind its dash.
                if at > 0 || !out.ends_with("- ") {
                    pad(out, indent);
                }
                out.push_str(&text(key));
                out.push(':');
                match value {
                    // Lists stand under their key, as kubectl writes them.
                    Value::Array(list) if !list.is_empty() => nested(out, value, indent),
                    Value::Object(map) if !map.is_empty() => nested(out, value, indent + 2),
                    other => line(out, other),
                }
            }
        }
        Value::Array(list) => {
            for item in list {
                pad(out, indent);
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        out.push_str("- ");
                        block(out, item, indent + 2);
                    }
                    Value::Array(list) if !list.is_empty() => {
                        out.push('-');
                        nested(out, item, indent + 2);
                    }
                    other => {
                        out.push('-');
                        line(out, other);
                    }
                }
            }
        }
        _ => {}
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    out.push('\n');
    block(out, value, indent);
}

fn line(out: &mut String, value: &Value) {
    out.push(' ');
    out.push_str(&scalar(value));
    out.push('\n');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(it) => text(it),
        // Of the rest, and of what is empty, JSON is YAML.
        other => other.to_string(),
    }
}

/// Plain where it begins like a word and has nothing that means something to YAML; else as JSON has it.
fn text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '@');
    // A colon ends a key only before a space or the end of the line.
    let colon = |at: usize| text.get(at + 1..).and_then(|rest| rest.chars().next()).is_some_and(plain);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = begins
        && text.char_indices().all(|(at, c)| plain(c) || (c == ':' && colon(at)))
        && !NO_TEXT.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for c in Value::from(text).to_string().chars() {
        // JSON leaves these as they are, and YAML takes some of them for line breaks or refuses them.
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use model::{Labels, Meta, Object};
    use serde_json::json;

    use super::*;
    use crate::{Format, Found, Limits, read_text, write};

    #[test]
    fn it_reads_like_a_manifest() {
        let value = json!({
            "kind": "Gateway", "empty": {}, "none": [], "nothing": null, "port": 15008, "yes": "no",
            "spec": { "listeners": [{ "name": "mesh", "to": { "from": "All" } }, { "name": "1" }] },
            "values": ["a", "", [["b"], []], "istio.io/rev: x", "example.org/a:b"],
        });
        let expected = "\
empty: {}
kind: Gateway
none: []
nothing: null
port: 15008
spec:
  listeners:
  - name: mesh
    to:
      from: All
  - name: \"1\"
values:
- a
- \"\"
-
  -
    - b
  - []
- \"istio.io/rev: x\"
- example.org/a:b
\"yes\": \"no\"
";
        assert_eq!(write_yaml(&value), expected);
        assert_eq!(write_yaml(&json!([])), "[]\n");
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let odd = [
            "",
            " ",
            "a: b",
            "a #b",
            "#",
            "- a",
            "true",
            "NULL",
            "1e3",
            "0x1",
            "~",
            "a\nb",
            "\u{85}\u{2028}\t\"\\",
            "é",
            "a:",
            "a:b",
            "*x",
            "&x",
            "!x",
            "%x",
            "{",
            "[a]",
            "2026-01-01",
            ".nan",
            "=",
            "<<",
            "@a",
            "`",
            "|",
            ">",
            "\u{7f}\u{feff}",
        ];
        let labels: Labels = odd.iter().enumerate().map(|(at, value)| (format!("key-{at}"), *value)).collect();
        let keys: Labels = odd.iter().map(|key| (*key, "value")).collect();
        let meta = Meta { labels, annotations: keys, ..Meta::named("shop", "w") };
        let object = Object::Service(model::Service { meta, ..model::Service::named("shop", "w") });
        let text = write_yaml(&write(&object));
        let mut found = Vec::new();
        read_text(&"written".into(), &text, Format::Yaml, &Limits::default(), &mut |next| found.push(next));
        match &*found {
            [Found::Object { object: again, .. }] => assert_eq!(*again, object, "{text}"),
            other => panic!("{text}\n{other:?}"),
        }
    }
}
