//! A capture under other names; the names themselves are `model::pseudonym`'s.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use model::pseudonym::{Names, Pseudonyms, Vocabulary};
use model::store::Event;
use model::{Row, Store, Table};
use serde_json::Value;

use super::{Capture, Header, LearnedRow, Rules};
use crate::rules::BUILT_IN;

/// What is said of a component that is not ours, and of why a row is not fresh.
const CUSTOM: &str = "custom";
const DEGRADED: &str = "degraded";

/// The same mesh and decisions under other names, and what is called how.
pub(crate) fn pseudonymised(capture: &Capture) -> (Capture, Pseudonyms) {
    let Capture { header, store, table, learned } = capture;
    let rules = header.rules.as_ref();
    let vocabulary = rules.map(|rules| Vocabulary::new(rules.labels.clone(), rules.annotations.clone()));
    let mut names = Names::new(vocabulary.unwrap_or_default());
    for object in objects(store) {
        names.object(&object);
    }
    names.facts(&header.facts);
    for (key, row) in table.iter() {
        names.row(key, &row.subject, &row.decision);
    }
    for (key, LearnedRow { row, upstream, refused }) in learned {
        for decision in [&*row.decision, upstream].into_iter().chain(refused) {
            names.row(key, &row.subject, decision);
        }
    }
    if let Some(rules) = rules {
        settings(rules, &mut |text| {
            names.text(text);
            String::new()
        });
    }
    let pseudonyms = names.pseudonyms();

    let facts = pseudonyms.facts(&header.facts);
    let mut renamed = Store::new(facts.clone());
    renamed.apply_all(objects(store).map(|object| Event::Apply(pseudonyms.object(&object))));
    let header = Header {
        program: header.program.clone(),
        pseudonymised: true,
        revision: header.revision,
        objects_revision: header.objects_revision,
        facts,
        rules: rules.map(|rules| renamed_rules(rules, &pseudonyms)),
    };
    let table = renamed_table(table, &pseudonyms);
    let learned = learned.iter().map(|(key, it)| (pseudonyms.key(key), renamed_learned(it, &pseudonyms))).collect();
    (Capture { header, store: renamed, table, learned }, pseudonyms)
}

fn objects(store: &Store) -> impl Iterator<Item = model::Object> + '_ {
    store.object_keys().filter_map(|key| store.object(&key))
}

fn renamed_table(table: &Table, pseudonyms: &Pseudonyms) -> Table {
    let mut renamed = Table::new(table.rules, table.revision);
    for (key, row) in table.iter() {
        renamed.set(pseudonyms.key(key), Some(renamed_row(row, pseudonyms)));
    }
    renamed
}

fn renamed_row(row: &Row, pseudonyms: &Pseudonyms) -> Row {
    Row {
        subject: pseudonyms.subject(&row.subject),
        input: row.input.clone(),
        decision: Arc::new(pseudonyms.decision(&row.decision)),
        revision: row.revision,
        // The reason may be a component's text.
        degraded: row.degraded.as_ref().map(|_| Arc::new(DEGRADED.to_owned())),
    }
}

fn renamed_learned(learned: &LearnedRow, pseudonyms: &Pseudonyms) -> LearnedRow {
    LearnedRow {
        row: renamed_row(&learned.row, pseudonyms),
        upstream: pseudonyms.decision(&learned.upstream),
        refused: learned.refused.as_ref().map(|it| pseudonyms.decision(it)),
    }
}

/// The built-in component's name is no secret, nor are its settings, none of which is a name.
fn renamed_rules(rules: &Rules, pseudonyms: &Pseudonyms) -> Rules {
    let mut renamed = rules.clone();
    if rules.is_built_in() {
        renamed.component = BUILT_IN.to_owned();
    } else {
        renamed.component = CUSTOM.to_owned();
        renamed.name = CUSTOM.to_owned();
        renamed.settings = settings(rules, &mut |text| pseudonyms.text(text).to_string());
    }
    renamed
}

/// The settings with every text in them renamed, keys as well; none of those of the built-in component.
fn settings(rules: &Rules, rename: &mut dyn FnMut(&str) -> String) -> String {
    if rules.settings.is_empty() || rules.is_built_in() {
        return rules.settings.clone();
    }
    match serde_json::from_str(&rules.settings) {
        Ok(value) => renamed_value(value, rename).to_string(),
        Err(_) => rename(&rules.settings),
    }
}

fn renamed_value(value: Value, rename: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => rename(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| renamed_value(item, rename)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (rename(&key), renamed_value(value, rename)));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Writes what is called how, as one JSON object: `words` and `addresses`, each from the original to what stands in its
/// place.
///
/// # Errors
/// Those of `out`.
pub(crate) fn mapping(mut out: impl Write, pseudonyms: &Pseudonyms) -> io::Result<()> {
    let words: BTreeMap<_, _> = pseudonyms.words().collect();
    let addresses: BTreeMap<_, _> = pseudonyms.addresses().collect();
    serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "words": words, "addresses": addresses }))?;
    writeln!(out)?;
    out.flush()
}
