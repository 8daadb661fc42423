//! Conditions on objects that say otherwise than is decided. What an object has is no part of the store: who lints brings it.

use std::collections::BTreeMap;

use super::{Finding, Findings, codes};
use crate::conditions::{Condition, Said, of};
use crate::object::ObjectKey;
use crate::sink::Decided;

/// A finding for each condition that is not what the decisions would make it: another status or reason (R80), or one that
/// does not apply (R82). That one is missing is none: it may not be written yet. `is_for_all`: the decisions are the same on
/// every node; of others only what does not depend on them is compared.
pub fn disagreements(now: Decided<'_>, said: &BTreeMap<ObjectKey, Vec<Said>>, is_for_all: bool) -> Vec<Finding> {
    let mut found = Findings::default();
    for (object, said) in said {
        // What they say of an object that is gone, or is not published, is as old as that.
        if now.store.object(object).is_none() {
            continue;
        }
        let decided = of(now, object, is_for_all);
        // Rules that differ by node say nothing about an object of all: nor is anything said about it.
        let of_all = if is_for_all { None } else { Some(of(now, object, true)) };
        for it in said {
            let ours = decided.iter().find(|ours| ours.kind == it.kind);
            let depends = ours.is_none() && of_all.iter().flatten().any(|ours| ours.kind == it.kind);
            if !depends && ours.is_none_or(|ours| !it.is(ours)) {
                add(&mut found, object, it, ours);
            }
        }
    }
    found.0
}

fn add(found: &mut Findings, object: &ObjectKey, said: &Said, ours: Option<&Condition>) {
    let kind = said.kind.as_str();
    let decided = match ours {
        None => "it does not apply".to_owned(),
        Some(ours) => format!("{} {}", if ours.holds { "True" } else { "False" }, ours.reason),
    };
    let (status, reason) = (&said.status, &said.reason);
    found.add(
        &codes::CONDITION,
        object.clone(),
        format!("status.conditions[{kind}]"),
        format!("{kind} is {status} {reason}, and here it is decided: {decided}"),
        "find out which is right with wayswitch explain, and let both go by the same rules and versions; what was changed \
         just now may not be written yet"
            .to_owned(),
    );
}
