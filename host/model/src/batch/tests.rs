//! A batch is sorted as the interface promises, and answers are checked before use.

use super::*;
use crate::gateway::{GatewayKey, StatusAddress};
use crate::input::SubjectKind;

fn gateway(namespace: &str, name: &str) -> Shared<GatewayInput> {
    let address = |kind: &str, value: &str| StatusAddress { kind: Some(kind.into()), value: value.into() };
    Shared::new(GatewayInput {
        key: GatewayKey::new(namespace, name),
        labels: Shared::new(Vec::new()),
        annotations: Shared::new(Vec::new()),
        class: None,
        listeners: Vec::new(),
        addresses: vec![
            address("Hostname", "w.example"),
            address("IPAddress", "10.0.0.1"),
            address("IPAddress", "not an address"),
        ],
        dialled_at: vec![Vec::new(), vec![[10, 0, 0, 1].into()], Vec::new()],
        endpoints: Vec::new(),
    })
}

fn input(namespace: &str, candidates: Vec<Shared<GatewayInput>>) -> Shared<Input> {
    Shared::new(Input { candidates, ..Input::about(SubjectKind::Service, NamespaceInput::named(namespace)) })
}

fn answer(choice: AnswerChoice) -> Answer {
    Answer {
        choice,
        on_unreachable: OnUnreachable::Fail,
        reason: None,
        second_reason: None,
        ingress: false,
        tunnel: None,
    }
}

fn to(gateway: u32, address: Option<u32>, weight: u32) -> AnswerTarget {
    AnswerTarget { gateway, address, weight }
}

/// What becomes of an answer for the first of two subjects, which may mean ns1/a (0) and ns2/b (1) respectively.
fn judged(answer: Answer) -> Result<Decision, WrongAnswer> {
    let inputs = [input("ns1", vec![gateway("ns1", "a")]), input("ns2", vec![gateway("ns2", "b")])];
    let node = NodeInput::default();
    let batch = Batch::new("", &node, &inputs);
    let second = self::answer(AnswerChoice::Direct);
    let network: Name = "net".into();
    batch.accept(vec![answer, second], &network).map(|mut all| all.remove(0)).map_err(|(_, wrong)| wrong)
}

#[test]
fn lists_are_sorted_and_each_thing_is_there_once() {
    let inputs = [
        input("ns2", vec![gateway("ns1", "z"), gateway("ns2", "b")]),
        input("ns1", vec![gateway("ns1", "z")]),
        input("ns2", vec![gateway("ns2", "b")]),
    ];
    let node = NodeInput::default();
    let batch = Batch::new("", &node, &inputs);
    assert_eq!(batch.namespaces.iter().map(|n| &*n.name).collect::<Vec<_>>(), ["ns1", "ns2"]);
    assert_eq!(batch.gateways.iter().map(|g| g.key.to_string()).collect::<Vec<_>>(), ["ns1/z", "ns2/b"]);
    let indexes: Vec<_> = batch.subjects.iter().map(|s| (s.namespace, s.candidates.clone())).collect();
    assert_eq!(indexes, [(1, vec![0, 1]), (0, vec![0]), (1, vec![1])]);
}

#[test]
fn a_good_answer_is_translated_to_names_and_addresses() {
    let decision = judged(answer(AnswerChoice::Waypoints(vec![to(0, Some(0), 90), to(0, Some(1), 10)]))).unwrap();
    let targets = decision.targets();
    let ip: std::net::IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(targets[0].address, Some(WaypointAddress::Hostname("w.example".into())));
    assert_eq!(targets[0].dial, [ip], "a hostname is dialled at the addresses reported beside it");
    assert_eq!(targets[1].address, Some(WaypointAddress::Ip { network: "net".into(), ip }));
    assert_eq!((targets[0].weight, targets[1].weight), (90, 10));
}

#[test]
fn wrong_answers_are_named() {
    let waypoints = |targets: Vec<AnswerTarget>| answer(AnswerChoice::Waypoints(targets));
    let rows = [
        (waypoints(vec![to(7, None, 100)]), "gateway 7 is not in the batch, which has 2"),
        (waypoints(vec![to(1, None, 100)]), "gateway 1 is not a candidate of the subject"),
        (waypoints(vec![to(0, Some(3), 100)]), "address 3 is not one of the gateway's 3"),
        (waypoints(vec![to(0, Some(2), 100)]), "address 2 is neither a hostname nor an IP address"),
        (waypoints(vec![to(0, None, 70), to(0, None, 70)]), "weights add up to 140 and not to 100"),
        (waypoints(vec![to(0, None, u32::MAX), to(0, None, 101)]), "weights add up to 4294967396 and not to 100"),
        (waypoints(Vec::new()), "0 waypoints; 1 to 16 are possible"),
    ];
    for (answer, expected) in rows {
        assert_eq!(judged(answer).unwrap_err().to_string(), expected);
    }
}

#[test]
fn reasons_are_condition_reasons() {
    for (reason, good) in [("WaypointAccepted", true), ("lower", false), ("", false), ("Two words\n", false)] {
        let judged = judged(Answer { reason: Some(reason.into()), ..answer(AnswerChoice::Direct) });
        assert_eq!(judged.is_ok(), good, "{reason:?}: {judged:?}");
    }
    let long = "A".repeat(REASON_CHARS_MAX + 1);
    let wrong = judged(Answer { reason: Some(long), ..answer(AnswerChoice::Direct) }).unwrap_err();
    assert!(matches!(wrong, WrongAnswer::Reason { shown } if shown.len() == REASON_CHARS_MAX));
}

#[test]
fn a_list_of_another_length_is_refused() {
    let inputs = [input("ns1", Vec::new())];
    let node = NodeInput::default();
    let wrong = Batch::new("", &node, &inputs).accept(Vec::new(), &"".into()).unwrap_err();
    assert_eq!(wrong, (None, WrongAnswer::Length { asked: 1, given: 0 }));
}
