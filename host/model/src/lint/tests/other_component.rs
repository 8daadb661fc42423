//! Another component's mesh is not held to Istio's labels: what it does not read means nothing, and its reasons count.

use super::*;
use crate::batch::{Answer, AnswerChoice, Batch};
use crate::decider::{ResolveFailure, Resolver};
use crate::decision::OnUnreachable;
use crate::description::{Fields, Reach, Read, Reference, Source};

pub(super) fn all() {
    a_refusal_that_no_code_knows_is_a_finding();
}

/// Gives every row the same reason.
struct Always(Option<&'static str>);

impl Resolver for Always {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        let answer = Answer {
            choice: AnswerChoice::Direct,
            on_unreachable: OnUnreachable::Fail,
            reason: self.0.map(str::to_owned),
            second_reason: None,
            ingress: false,
            tunnel: None,
        };
        Ok(vec![answer; batch.subjects.len()])
    }
}

fn findings_of(reason: Option<&'static str>, label: Option<&str>, objects: Vec<Object>) -> Vec<Finding> {
    let reference = |label: &str| Reference { name_label: label.into(), namespace_label: None, inherit: false };
    let description = Arc::new(Description {
        name: "other".into(),
        version: "1".into(),
        reads: label.map(|label| Read { at: Source::SubjectLabel, key: label.into() }).into_iter().collect(),
        fields: Fields::default(),
        references: label.map(reference).into_iter().collect(),
        reach: Reach::OwnNamespace,
    });
    let store = store(Facts::default(), objects);
    let terms = Terms { settings: "".into(), denied: Choice::Direct, undecided: Choice::Blocked, unresolved: None };
    let decider = Decider::new(1, Arc::clone(&description), Arc::new(Always(reason)), terms, &store).unwrap();
    lint(&store, decider.table(), &description)
}

fn objects() -> Vec<Object> {
    let wrong = [
        (USE, "gone"),
        (USE_NAMESPACE, "infra"),
        ("istio.io/use-waypoint-canary", "gone"),
        ("istio.io/ingress-use-waypoint", "perhaps"),
        ("wayswitch.io/waypoint-required", "perhaps"),
        ("acme/via", "gone"),
    ];
    with(quiet(), [service("cart", &wrong)])
}

#[test]
fn labels_that_are_not_read_mean_nothing() {
    assert_eq!(findings_of(None, None, objects()), []);
}

#[test]
fn a_reason_without_a_label_is_said_as_it_is() {
    let found = findings_of(Some("OnHoliday"), None, objects());
    let of_cart: Vec<&Finding> = found.iter().filter(|it| it.object.name.as_ref() == "cart").collect();
    assert_eq!(of_cart.len(), 1, "{found:?}");
    assert_eq!((of_cart[0].code.id, of_cart[0].field.as_str()), ("refused", ""));
    assert!(of_cart[0].text.contains("the reason \"OnHoliday\""), "{}", of_cart[0].text);
    assert!(findings_of(None, None, objects()).is_empty());
}

#[test]
fn a_reference_of_its_own_is_followed() {
    let found = findings_of(Some("WaypointIsNotReady"), Some("acme/via"), objects());
    let missing: Vec<&Finding> = found.iter().filter(|it| it.code.id == "waypoint-missing").collect();
    assert_eq!(missing.len(), 1, "{found:?}");
    assert_eq!(missing[0].field, "metadata.labels[\"acme/via\"]");
    // The same word where the objects do not bear it out is only passed on.
    let ready = with(quiet(), [service("cart", &[("acme/via", "w")])]);
    let found = findings_of(Some("WaypointIsNotReady"), Some("acme/via"), ready);
    assert!(found.iter().all(|it| it.code.id == "refused"), "{found:?}");
}

#[test]
fn a_refusal_that_no_code_knows_is_a_finding() {
    let ready = || with(quiet(), [service("cart", &[("acme/via", "w")])]);
    let found = findings_of(Some("Other"), Some("acme/via"), ready());
    let of_cart: Vec<&Finding> = found.iter().filter(|it| *it.object.name == *"cart").collect();
    assert_eq!(of_cart.len(), 1, "{found:?}");
    assert_eq!(of_cart[0].code.id, "refused");
    assert!(findings_of(None, Some("acme/via"), ready()).is_empty());
    TESTED.with(|tested| tested.borrow_mut().insert("refused"));
}
