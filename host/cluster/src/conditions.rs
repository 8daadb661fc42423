//! What is to be written of an object's conditions: the difference of what it ought to have and what it has, as one server-side
//! apply. A condition of somebody else's is never part of it.

use k8s_openapi::jiff::Timestamp;
use model::conditions::{Condition, ConditionType};
use serde_json::{Value, json};

use crate::held::{Held, HeldCondition, hash};

/// Who owns what is written.
pub(crate) const MANAGER: &str = "wayswitch-conditions";

/// A condition of which somebody else says something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Differs {
    pub(crate) kind: ConditionType,
    /// Status and reason that it ought to have; none: it ought not to be there.
    pub(crate) ours: Option<String>,
    /// Status and reason that it has; none: it is not there.
    pub(crate) theirs: Option<String>,
}

/// `status.conditions` to apply, empty to have none of ours any more; none where nothing is to be written.
pub(crate) fn plan(wanted: &[Condition], held: &Held, now: Timestamp) -> Option<Vec<Value>> {
    let at = |kind| held.conditions.iter().find(|it| it.kind == kind);
    let is_free = |kind| !held.is_closed && at(kind).is_none_or(|it| it.is_ours);
    let writable: Vec<&Condition> = wanted.iter().filter(|it| is_free(it.kind)).collect();
    let ours = held.conditions.iter().filter(|it| it.is_ours).count();
    let is_same = |it: &&Condition| at(it.kind).is_some_and(|held| says_the_same(it, held));
    if writable.len() == ours && writable.iter().all(is_same) {
        return None;
    }
    let written = |it: &&Condition| {
        let before = at(it.kind).filter(|held| *held.status == *status(it.holds) && !held.since.is_empty());
        // A change of reason or text is no transition.
        let since = before.map_or_else(|| whole_seconds(now), |held| held.since.to_string());
        json!({ "type": it.kind.as_str(), "status": status(it.holds), "reason": &*it.reason, "message": it.message,
            "lastTransitionTime": since })
    };
    Some(writable.iter().map(written).collect())
}

/// What somebody else says otherwise. Texts are everybody's own. `is_all`: what is not there counts as well.
pub(crate) fn differences(wanted: &[Condition], held: &Held, is_all: bool) -> Vec<Differs> {
    let theirs = |it: &HeldCondition| format!("{} {}", it.status, it.reason);
    let mut found = Vec::new();
    for it in wanted {
        let ours = Some(format!("{} {}", status(it.holds), it.reason));
        let other = held.conditions.iter().find(|held| held.kind == it.kind).map(theirs);
        if ours != other && (other.is_some() || is_all || held.is_closed) {
            found.push(Differs { kind: it.kind, ours, theirs: other });
        }
    }
    let of_others = held.conditions.iter().filter(|it| !it.is_ours);
    let unwanted = of_others.filter(|held| !wanted.iter().any(|it| it.kind == held.kind));
    found.extend(unwanted.map(|it| Differs { kind: it.kind, ours: None, theirs: Some(theirs(it)) }));
    found
}

fn says_the_same(wanted: &Condition, held: &HeldCondition) -> bool {
    *held.status == *status(wanted.holds) && *held.reason == *wanted.reason && held.message == hash(&wanted.message)
}

fn status(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: ConditionType = ConditionType::WaypointBound;
    const MISSING: ConditionType = ConditionType::WaypointMissing;

    fn wanted(kind: ConditionType, holds: bool, message: &str) -> Condition {
        Condition { kind, holds, reason: "Reason".into(), message: message.to_owned() }
    }

    fn held(conditions: &[(ConditionType, &str, &str, bool)]) -> Held {
        let of = |(kind, status, message, is_ours): &(ConditionType, &str, &str, bool)| HeldCondition {
            kind: *kind,
            status: (*status).into(),
            reason: "Reason".into(),
            message: hash(message),
            since: "2026-01-01T00:00:00Z".into(),
            is_ours: *is_ours,
        };
        Held { version: 1, conditions: conditions.iter().map(of).collect(), ..Held::default() }
    }

    fn now() -> Timestamp {
        "2026-02-02T00:00:00.5Z".parse().unwrap()
    }

    #[track_caller]
    fn check(wanted: &[Condition], held: &Held, expected: Option<&[(&str, &str, &str)]>) {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
        let plan = plan(wanted, held, now()).map(|all| {
            all.iter()
                .map(|it| (text(it, "type"), text(it, "status"), text(it, "lastTransitionTime")))
                .collect::<Vec<_>>()
        });
        let own = |(a, b, c): &(&str, &str, &str)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned());
        assert_eq!(plan, expected.map(|all| all.iter().map(own).collect()));
    }

    #[test]
    fn only_what_changes_is_written() {
        let (bound, was, is) = ("istio.io/WaypointBound", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z");
        check(&[], &held(&[]), None);
        check(&[wanted(BOUND, true, "m")], &held(&[(BOUND, "True", "m", true)]), None);
        check(&[wanted(BOUND, true, "m")], &held(&[]), Some(&[(bound, "True", is)]));
        check(&[wanted(BOUND, true, "n")], &held(&[(BOUND, "True", "m", true)]), Some(&[(bound, "True", was)]));
        check(&[wanted(BOUND, false, "m")], &held(&[(BOUND, "True", "m", true)]), Some(&[(bound, "False", is)]));
    }

    #[test]
    fn what_does_not_apply_any_more_is_pruned_and_the_rest_kept() {
        let both = held(&[(BOUND, "True", "m", true), (MISSING, "True", "m", true)]);
        check(&[], &both, Some(&[]));
        let kept = ("istio.io/WaypointBound", "True", "2026-01-01T00:00:00Z");
        check(&[wanted(BOUND, true, "m")], &both, Some(&[kept]));
    }

    #[test]
    fn what_is_somebody_elses_is_left_to_them() {
        check(&[wanted(BOUND, false, "m")], &held(&[(BOUND, "True", "m", false)]), None);
        check(&[], &held(&[(BOUND, "True", "m", false)]), None);
        let closed = Held { is_closed: true, ..held(&[]) };
        check(&[wanted(BOUND, true, "m")], &closed, None);
    }

    #[test]
    fn only_status_and_reason_can_differ() {
        let found = |wanted: &[Condition], held: &Held, is_all| {
            let of = |it: Differs| (it.ours.unwrap_or_default(), it.theirs.unwrap_or_default());
            differences(wanted, held, is_all).into_iter().map(of).collect::<Vec<_>>()
        };
        let differs = |ours: &str, theirs: &str| vec![(ours.to_owned(), theirs.to_owned())];
        let theirs = held(&[(BOUND, "True", "their words", false)]);
        assert_eq!(found(&[wanted(BOUND, true, "m")], &theirs, true), []);
        assert_eq!(found(&[wanted(BOUND, false, "m")], &theirs, true), differs("False Reason", "True Reason"));
        assert_eq!(found(&[], &theirs, true), differs("", "True Reason"));
        assert_eq!(found(&[wanted(BOUND, true, "m")], &held(&[]), true), differs("True Reason", ""));
        assert_eq!(found(&[wanted(BOUND, true, "m")], &held(&[]), false), [], "it is about to be written");
    }
}
