//! What operators write, and what they are told.

use super::json::{Scalar, object};
use super::{Settings, none};

#[test]
fn nothing_written_is_fine_and_any_key_is_refused_where_nothing_can_be_set() {
    for text in ["", "  \n", "null", "{}", " { } "] {
        assert_eq!(none(text), Ok(()), "{text:?}");
    }
    let refused = none(r#"{"canary": 1}"#);
    assert_eq!(refused, Err("settings: there is no key `canary`; nothing can be set".to_owned()));
}

#[test]
fn values_are_found_by_key_and_null_is_not_written() {
    let settings =
        Settings::parse(r#" { "name" : "a \"b\" \\ \u00e9\ud83d\ude00\/", "mode":true , "x":null } "#).unwrap();
    assert_eq!(settings.text("name"), Ok(Some("a \"b\" \\ é😀/")));
    assert_eq!(settings.text("x"), Ok(None));
    assert_eq!(settings.text("absent"), Ok(None));
    assert_eq!(settings.text("mode"), Err("settings: `mode` must be text, not true".to_owned()));
    assert_eq!(settings.choice("mode", &[("true", 1), ("false", 0)]), Ok(Some(1)));
    assert_eq!(settings.choice("x", &[("a", 1)]), Ok(None));
    assert_eq!(settings.finish(), Ok(()));
}

#[test]
fn an_error_names_the_key_and_what_is_allowed() {
    let settings = Settings::parse(r#"{"mode":"fast","speed":3}"#).unwrap();
    let wrong = settings.choice("mode", &[("direct", ()), ("blocked", ())]);
    assert_eq!(wrong, Err("settings: `mode` must be one of `direct`, `blocked`, not `fast`".to_owned()));
    assert_eq!(settings.text("name"), Ok(None));
    assert_eq!(settings.finish(), Err("settings: there is no key `speed`; allowed: `mode`, `name`".to_owned()));
}

#[test]
fn what_is_no_flat_object_is_refused_with_a_line() {
    let mapping = "settings: must be a mapping of keys to values";
    let json = "settings: the text is not JSON";
    let rows = [
        ("[1]", mapping),
        ("7", mapping),
        ("\"a\"", mapping),
        ("{", json),
        (r#"{"a""#, json),
        (r#"{"a":1"#, json),
        (r#"{"a":1,}"#, json),
        (r#"{"a":1 "b":2}"#, json),
        (r#"{"a":1} x"#, json),
        (r#"{a:1}"#, json),
        (r#"{"a":"\x"}"#, json),
        (r#"{"a":"\u12g4"}"#, json),
        (r#"{"a":"\ud800"}"#, json),
        (r#"{"a":"\ud800\u0041"}"#, json),
        (r#"{"a":"\udc00"}"#, json),
        (r#"{"a":"b"#, json),
        (r#"{"a":1,"a":2}"#, "settings: `a` is written twice"),
        (r#"{"a":{}}"#, "settings: `a` must be a single value, not a mapping or list"),
        (r#"{"a":[1]}"#, "settings: `a` must be a single value, not a mapping or list"),
        (r#"{"a":1.5}"#, "settings: `a` must be text in quotes, a whole number, true or false"),
        (r#"{"a":}"#, "settings: `a` must be text in quotes, a whole number, true or false"),
        (r#"{"a":yes}"#, "settings: `a` must be text in quotes, a whole number, true or false"),
    ];
    for (text, error) in rows {
        assert_eq!(object(text), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn no_prefix_of_a_good_text_is_read_as_settings() {
    let text = r#"{"unbound":"bl\u0041cked","n":-12,"t":true}"#;
    assert_eq!(object(text).unwrap().pop(), Some(("t".to_owned(), Scalar::Other("true".to_owned()))));
    for end in 0..text.len() {
        assert!(object(&text[..end]).is_err(), "{}", &text[..end]);
    }
}
