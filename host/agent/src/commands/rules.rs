//! `wayswitch rules`: rules that are tried before they go anywhere, and what may stand in `config.yaml`.

use std::io::Write;
use std::process::ExitCode;

use engine::{Engine, Limits, Loaded, Refusal};
use serde_json::{Value, json};

use super::mesh::live;
use crate::cli::{Output, RulesCheckFlags};
use crate::rules::{Pins, Rules, RulesConfig, Wanted};

/// One of the components that the rules name, for whom, and what became of it.
struct Checked {
    meant: String,
    component: String,
    outcome: Result<Loaded, Refusal>,
}

/// Reads, compiles and describes everything that the rules name.
pub(crate) fn check(flags: &RulesCheckFlags) -> anyhow::Result<ExitCode> {
    let rules = Rules {
        place: live::place(&flags.cluster, None, &flags.rules)?,
        components: flags.components.iter().map(std::path::absolute).collect::<Result<_, _>>()?,
        pins: flags.pins.clone().map(Pins::File),
        node: String::new(),
    };
    let engine = Engine::new(Limits::default())?;
    let load = |wanted: &Wanted| {
        let source = &wanted.source;
        engine.load(&source.bytes, source.pin.as_deref(), &source.terms.settings, &source.limits)
    };
    let checked = match rules.read_all() {
        Err(unreadable) => {
            let (component, outcome) = (unreadable.component, Err(unreadable.refusal));
            vec![Checked { meant: "all nodes".to_owned(), component, outcome }]
        }
        Ok(variants) => variants
            .into_iter()
            .map(|(meant, wanted)| match wanted {
                Ok(wanted) => Checked { meant, outcome: load(&wanted), component: wanted.component },
                Err(it) => Checked { meant, component: it.component, outcome: Err(it.refusal) },
            })
            .collect(),
    };
    let mut out = std::io::stdout().lock();
    match flags.output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &checked.iter().map(document).collect::<Vec<_>>())?;
            writeln!(out)?;
        }
        Output::Table => print(&mut out, &checked)?,
    }
    let is_good = checked.iter().all(|it| it.outcome.is_ok());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(checked: &Checked) -> Value {
    let mut value = json!({ "nodes": checked.meant, "component": checked.component });
    let outcome = match &checked.outcome {
        Ok(loaded) => ("facts", json!(loaded.facts())),
        Err(refusal) => ("refused", json!(refusal)),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert(outcome.0.to_owned(), outcome.1);
    }
    value
}

fn print(out: &mut impl Write, checked: &[Checked]) -> std::io::Result<()> {
    for Checked { meant, component, outcome } in checked {
        match outcome {
            Ok(loaded) => {
                let (facts, said) = (loaded.facts(), loaded.description());
                let (name, version, bytes) = (&said.name, &said.version, facts.bytes);
                writeln!(out, "{meant}: {component}: {name} {version}, {bytes} bytes, sha256 {}", facts.digest)?;
            }
            Err(refusal) => writeln!(out, "{meant}: {component}: {refusal}")?,
        }
    }
    Ok(())
}

/// Prints the schema of `config.yaml`.
pub(crate) fn schema() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schemars::schema_for!(RulesConfig))?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
