//! `istio.io/use-waypoint` as the rules decided it, on the objects themselves, so that an istiod programs the waypoint that was
//! chosen. Never over a label that somebody else set.
//!
//! What is written is written down beside it in an annotation. Where both agree the label is ours, and who reads the object for
//! a decision does not see it ([`hide`]): a decision never depends on the label that it led to, and cannot go back and forth with it. A
//! label that somebody changed since does not agree, and counts like any other.

use model::Object;
use model::name::Labels;
use model::use_waypoint::{USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, Wanted, Written};
use serde_json::{Value, json};

use crate::held::HeldLabel;

/// Who owns what is written.
pub(crate) const MANAGER: &str = "wayswitch-labels";

/// The annotation with what was written: `NAME` or `NAMESPACE/NAME`.
pub const WRITTEN: &str = "wayswitch.io/labels-written";

/// What is to be done about an object's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Nothing,
    Write(Written),
    /// What we wrote is taken off.
    Remove,
}

/// What is to be done, and whether somebody else's label is in the way.
pub(crate) fn plan(wanted: &Wanted, held: &HeldLabel) -> (Plan, bool) {
    let is_by_us = held.is_ours && held.says.is_some() && held.says == held.written;
    let in_the_way = held.says.is_some() && !is_by_us;
    let remove = if held.is_ours { Plan::Remove } else { Plan::Nothing };
    match wanted {
        Wanted::Labels(_) if in_the_way => (remove, true),
        Wanted::Labels(written) if is_by_us && held.says.as_deref() == Some(&*written.to_string()) => {
            (Plan::Nothing, false)
        }
        Wanted::Labels(written) => (Plan::Write(written.clone()), false),
        Wanted::Otherwise => (remove, true),
        Wanted::Nothing | Wanted::Unsayable => (remove, false),
    }
}

/// The metadata to apply.
pub(crate) fn metadata(written: &Written) -> Value {
    let mut labels = json!({ USE_WAYPOINT: &*written.name });
    if let (Some(namespace), Some(fields)) = (&written.namespace, labels.as_object_mut()) {
        fields.insert(USE_WAYPOINT_NAMESPACE.to_owned(), json!(&**namespace));
    }
    json!({ "labels": labels, "annotations": { WRITTEN: written.to_string() } })
}

/// Takes off an object what we wrote on it, before anything is decided by it.
pub(crate) fn hide(object: &mut Object) {
    let meta = object.meta_mut();
    let Some(written) = meta.annotations.get(WRITTEN) else { return };
    let Some(name) = meta.labels.get(USE_WAYPOINT) else { return };
    let now = Written { name: name.clone(), namespace: meta.labels.get(USE_WAYPOINT_NAMESPACE).cloned() };
    if *now.to_string() != **written {
        return;
    }
    let without = |labels: &Labels, keys: &[&str]| {
        labels.iter().filter(|(key, _)| !keys.contains(&&**key)).cloned().collect::<Labels>()
    };
    meta.labels = without(&meta.labels, &[USE_WAYPOINT, USE_WAYPOINT_NAMESPACE]);
    meta.annotations = without(&meta.annotations, &[WRITTEN]);
}

#[cfg(test)]
mod tests {
    use model::{Meta, Service};

    use super::*;

    fn held(says: &str, written: &str, is_ours: bool) -> HeldLabel {
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        HeldLabel { says: some(says), written: some(written), is_ours }
    }

    fn written(name: &str) -> Written {
        Written { name: name.into(), namespace: None }
    }

    #[test]
    fn a_label_is_written_changed_and_taken_off_again() {
        let w = || Wanted::Labels(written("w"));
        assert_eq!(plan(&w(), &held("", "", false)), (Plan::Write(written("w")), false));
        assert_eq!(plan(&w(), &held("w", "w", true)), (Plan::Nothing, false));
        assert_eq!(plan(&w(), &held("v", "v", true)), (Plan::Write(written("w")), false));
        assert_eq!(plan(&Wanted::Nothing, &held("w", "w", true)), (Plan::Remove, false));
        assert_eq!(plan(&Wanted::Unsayable, &held("w", "w", true)), (Plan::Remove, false));
        assert_eq!(plan(&Wanted::Nothing, &held("w", "", false)), (Plan::Nothing, false));
    }

    #[test]
    fn somebody_elses_label_is_in_the_way() {
        let w = || Wanted::Labels(written("w"));
        assert_eq!(plan(&w(), &held("v", "", false)), (Plan::Nothing, true));
        // They changed ours: what is left of it is taken off, theirs stays.
        assert_eq!(plan(&w(), &held("v", "w", true)), (Plan::Remove, true));
        assert_eq!(plan(&Wanted::Otherwise, &held("v", "w", true)), (Plan::Remove, true));
        // They copied our annotation along with the label.
        assert_eq!(plan(&w(), &held("w", "w", false)), (Plan::Nothing, true));
    }

    #[test]
    fn what_we_wrote_is_not_seen_by_who_decides() {
        let service = |labels: &[(&str, &str)], annotation: &str| {
            let annotations = [(WRITTEN, annotation), ("a", "b")].into_iter().collect();
            let meta = Meta { labels: labels.iter().copied().collect(), annotations, ..Meta::named("shop", "a") };
            let mut object = Object::Service(Service { meta, ..Service::named("shop", "a") });
            hide(&mut object);
            let meta = object.meta();
            let label = meta.labels.get(USE_WAYPOINT).map(|it| it.to_string());
            (label, meta.labels.len(), meta.annotations.len())
        };
        assert_eq!(service(&[(USE_WAYPOINT, "w"), ("app", "a")], "w"), (None, 1, 1));
        assert_eq!(service(&[(USE_WAYPOINT, "w"), (USE_WAYPOINT_NAMESPACE, "infra")], "infra/w"), (None, 0, 1));
        // Somebody changed it: it is theirs.
        assert_eq!(service(&[(USE_WAYPOINT, "v")], "w"), (Some("v".to_owned()), 1, 2));
        assert_eq!(service(&[(USE_WAYPOINT, "w"), (USE_WAYPOINT_NAMESPACE, "x")], "w").0, Some("w".to_owned()));
    }
}
