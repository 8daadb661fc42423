//! Writing and reading again, and everything that a capture may not be. Whole meshes, and what the commands make of them,
//! are in the package `tests`.

use std::sync::Arc;

use model::decision::{Decision, Target, Tunnel, TunnelProtocol, WaypointAddress};
use model::gateway::GatewayKey;
use model::store::Event;
use model::table::{RowKind, Subject};
use model::{Labels, Meta, Object, Pod, Row, RowKey, Service};

use super::*;

fn ip(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn rules(component: &str, settings: &str) -> Rules {
    Rules {
        number: 7,
        component: component.to_owned(),
        name: "strict".to_owned(),
        version: "2".to_owned(),
        sha256: "ab".repeat(32),
        settings: settings.to_owned(),
        denied: Fallback::Blocked,
        undecided: Fallback::Direct,
        unresolved: Some(Unresolved::Bypass),
        labels: vec!["secret.example/tier".into()],
        annotations: Vec::new(),
    }
}

/// Every form of a decision.
fn decisions() -> Vec<Decision> {
    let target = |name: &str, address, weight| Target {
        gateway: GatewayKey::new("secret-shared", name),
        address,
        dial: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        weight,
    };
    let hostname = WaypointAddress::Hostname("secret-w.secret-shared.svc.cluster.local".into());
    let address = WaypointAddress::Ip { network: "secret-net".into(), ip: ip("192.0.2.1") };
    let targets =
        [target("secret-w", Some(hostname), 60), target("secret-v", Some(address), 30), target("secret-u", None, 10)];
    let bound = Decision {
        on_unreachable: OnUnreachable::Bypass,
        second_reason: Some("CanaryInvalidWeight".into()),
        ingress: true,
        floor: true,
        ..Decision::without_waypoint(Choice::Waypoints(targets.into()), Some("WaypointAccepted"))
    };
    let instance = |protocol| Decision {
        tunnel: Some(Tunnel { protocol, port: 15088 }),
        ..Decision::without_waypoint(Choice::Direct, None)
    };
    vec![
        bound,
        instance(TunnelProtocol::Proxy),
        instance(TunnelProtocol::None),
        Decision::without_waypoint(Choice::Keep, None),
        Decision::without_waypoint(Choice::Blocked, Some("AttachmentDenied")),
    ]
}

fn capture(rules: Option<Rules>) -> Capture {
    let labels: Labels = [("secret.example/tier", "secret-gold"), ("secret", "secret")].into_iter().collect();
    let meta = Meta { labels, ..Meta::named("secret-ns", "secret-cart") };
    let mut store = Store::new(Facts { network: "secret-net".into(), ..Facts::default() });
    store.apply(Event::Apply(Object::Service(Service { meta: meta.clone(), ..Service::named("", "") })));
    store.apply(Event::Apply(Object::Pod(Pod { meta, addresses: [ip("192.0.2.7")].into(), ..Pod::named("", "") })));
    let mut table = Table::new(rules.as_ref().map_or(0, |rules| rules.number), store.revision());
    for (at, decision) in decisions().into_iter().enumerate() {
        let (kind, hosts) = match at {
            0 => (RowKind::Service, ["secret-cart.secret-ns.svc.cluster.local".into()].into()),
            _ => (RowKind::ServiceEntryEndpoint, Arc::default()),
        };
        let part = (at > 0).then(|| format!("192.0.2.{at}").into());
        let key = RowKey { part, ..RowKey::new(kind, "secret-ns", "secret-cart") };
        let subject = Subject { hosts, addresses: [ip("192.0.2.9")].into(), dialled_by_address: at != 2 };
        let degraded = (at == 3).then(|| Arc::new("the component said: secret".to_owned()));
        let decision = Arc::new(decision);
        let row = Row { subject, input: wire::unknown_input(), decision, revision: at as u64, degraded };
        table.set(key, Some(row));
    }
    Capture { header: Header::of(&store, &table, rules), store, table, learned: LearnedRows::new() }
}

/// The same of an agent that follows a control plane.
fn capture_with_learned() -> Capture {
    let capture = capture(Some(rules("mine.wasm", "")));
    let mut decisions = decisions().into_iter();
    let (upstream, kept) = (decisions.next().unwrap(), decisions.nth(2).unwrap());
    let subject = Subject {
        hosts: ["secret-cart.secret-ns.svc.cluster.local".into()].into(),
        addresses: [].into(),
        dialled_by_address: false,
    };
    let row = Row { subject, input: wire::unknown_input(), decision: Arc::new(kept), revision: 3, degraded: None };
    let part = Some("secret-cluster//Pod/secret-ns/secret-pod".into());
    let pod = RowKey { part, ..RowKey::new(RowKind::Pod, "secret-ns", "secret-pod") };
    let refused = LearnedRow { row: row.clone(), upstream: upstream.clone(), refused: Some(upstream.clone()) };
    let kept = LearnedRow { row, upstream, refused: None };
    let learned = [(RowKey::new(RowKind::Service, "secret-ns", "secret-cart"), refused), (pod, kept)];
    Capture { learned: learned.into(), ..capture }
}

/// Written, with so many decisions on what a control plane told.
fn text_with(capture: &Capture, count: u64) -> String {
    let mut out = Vec::new();
    let learned = capture.learned.iter().map(|(key, row)| (key.clone(), row.clone()));
    let written = write(&mut out, &capture.header, &capture.store, &capture.table, learned).unwrap();
    assert_eq!((written.objects, written.decisions, written.learned), (2, 5, count));
    String::from_utf8(out).unwrap()
}

fn text(capture: &Capture) -> String {
    text_with(capture, 0)
}

fn read(text: &str) -> Result<Capture, String> {
    read_within(text, CaptureLimits::default())
}

fn read_within(text: &str, limits: CaptureLimits) -> Result<Capture, String> {
    Reader::new(text.as_bytes(), limits).and_then(Reader::into_memory).map_err(|error| format!("{error:#}"))
}

#[test]
fn what_is_read_is_what_was_written() {
    for rules in [None, Some(rules("mine.wasm", r#"{"unbound":"blocked"}"#))] {
        let capture = capture(rules);
        let text = text(&capture);
        let again = read(&text).unwrap();
        assert_eq!(again.header.facts, capture.header.facts);
        let table = |capture: &Capture| format!("{:?}", capture.table.iter().collect::<Vec<_>>());
        assert_eq!(table(&again), table(&capture));
        assert_eq!((again.table.rules, again.table.revision), (capture.table.rules, capture.table.revision));
        assert!(again.store.object_keys().eq(capture.store.object_keys()));
        assert!(again.store.object_keys().all(|key| again.store.object(&key) == capture.store.object(&key)));
        assert_eq!(self::text(&again), text, "to the byte");
    }
}

#[test]
fn what_a_control_plane_told_is_kept_and_counted_and_hidden_like_the_rest() {
    let capture = capture_with_learned();
    let text = text_with(&capture, 2);
    assert!(!self::text(&self::capture(None)).contains("learned"), "others are as they always were");
    let again = read(&text).unwrap();
    assert_eq!(format!("{:?}", again.learned), format!("{:?}", capture.learned));
    assert_eq!(text_with(&again, 2), text, "to the byte");
    let (renamed, _) = pseudonymised(&capture);
    let kept = text_with(&renamed, 2).replace("secret.example/tier", "");
    assert!(!kept.contains("secret") && !kept.contains("192.0.2"), "{kept}");

    let last = text.lines().position(|line| line.starts_with(write::LEARNED)).unwrap();
    let line = |number: usize| text.lines().nth(number).unwrap();
    let rows = [
        (text.replacen(&format!("{}\n", line(last)), "", 1), "it was changed"),
        (text.replacen("\"learned\":2", "\"learned\":1", 1), "it was changed"),
        (text.replacen(line(last), &format!("{}\n{}", line(last), line(last - 1)), 1), "is none of a capture"),
        (text.replacen(line(last), &format!("{}\n{}", line(last), line(1)), 1), "is none of a capture"),
        (text.replacen("\"upstream\":", "\"downstream\":", 1), "cannot be read"),
    ];
    for (changed, expected) in rows {
        assert_ne!(changed, text, "{expected}");
        let error = read(&sealed(&changed)).err().unwrap_or_else(|| panic!("{expected}"));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let within = CaptureLimits { decisions_max: 6, ..CaptureLimits::default() };
    assert!(read_within(&text, within).err().unwrap().contains("more than 6 decisions"));
}

#[test]
fn equal_decisions_are_one_value() {
    let text = text(&capture(None));
    let keep = text.lines().find(|line| line.contains("keep")).unwrap();
    let keep = keep.strip_prefix(write::DECISION).and_then(|line| line.strip_suffix('}')).unwrap();
    let mut rows = wire::Rows::new();
    let [first, second] = [keep, keep].map(|text| rows.read(text).unwrap().1);
    assert!(Arc::ptr_eq(&first.decision, &second.decision));
}

#[test]
fn cut_off_anywhere_it_is_refused() {
    let text = text(&capture(None));
    for (at, _) in text.char_indices() {
        let error = read(&text[..at]).err().unwrap_or_else(|| panic!("read up to {at} of {}", text.len()));
        let expected = if at <= text.find('\n').unwrap() { "it is no capture" } else { "it is cut off after " };
        assert!(error.starts_with(expected) && !error.contains('\n'), "{at}: {error}");
    }
}

#[test]
fn changed_anywhere_it_is_refused() {
    let whole = text(&capture(None));
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
        let error = read(&String::from_utf8(bytes).unwrap()).err();
        assert!(error.as_ref().is_some_and(|error| !error.contains('\n')), "{at}: {error:?}");
    }
}

/// The text with its checksum as it would be.
fn sealed(text: &str) -> String {
    use sha2::Digest;
    let end = text.find(write::END).unwrap();
    let (body, end) = text.split_at(end);
    let digest = hex(&sha2::Sha256::digest(body));
    let at = end.find("sha256").unwrap() + "sha256\":\"".len();
    format!("{body}{}{digest}{}", &end[..at], &end[at + digest.len()..])
}

#[test]
fn what_does_not_belong_is_refused_with_its_line() {
    let whole = text(&capture(None));
    let line = |number: usize| whole.lines().nth(number - 1).unwrap();
    let pod = "\"kind\":\"Pod\"";
    let rows = [
        (whole.replacen("\"version\":1", "\"version\":2", 1), "it is a capture of version 2, written by \"wayswitch "),
        (whole.replacen("\"istio\":\"1.31\"", "\"istio\":\"1.99\"", 1), "line 1 is not that of a capture: \"1.99\""),
        (whole.replacen(pod, "\"kind\":\"Pud\"", 1), "line 3 cannot be read: capture again: an object of kind Pud"),
        (whole.replacen("{\"object\"", "{\"subject\"", 1), "line 2 is none of a capture"),
        (
            whole.replacen("\"choice\":\"keep\"", "\"choice\":\"waypoint\"", 1),
            "cannot be read: capture again: \"waypoint\"",
        ),
        (whole.replacen("\"protocol\":\"PROXY\"", "\"protocol\":\"X\"", 1), "unknown tunnel protocol \"X\""),
        (whole.replacen(line(2), &format!("{} {}", line(2), line(3)), 1), "line 2 cannot be read"),
        (whole.replacen(line(8), &format!("{}\n{}", line(8), line(2)), 1), "line 9 is none of a capture"),
        (whole.replacen(&format!("{}\n", line(3)), "", 1), "it was changed"),
        (whole.replacen("\"objects\":2", "\"objects\":3", 1), "it was changed"),
        (format!("{whole}x"), "something stands behind its end"),
        (format!("{whole}\n"), "something stands behind its end"),
    ];
    for (text, expected) in rows {
        assert_ne!(text, whole, "{expected}");
        let error = read(&sealed(&text)).err().unwrap_or_else(|| panic!("{expected}"));
        assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
    }
    assert_eq!(sealed(&whole), whole);
}

#[test]
fn every_size_has_its_bound() {
    let whole = text(&capture(None));
    let longest = whole.lines().map(str::len).max().unwrap() as u64 + 1;
    let within =
        CaptureLimits { bytes_max: whole.len() as u64, line_bytes_max: longest + 1, objects_max: 2, decisions_max: 5 };
    assert!(read_within(&whole, within.clone()).is_ok());
    let rows = [
        (CaptureLimits { bytes_max: within.bytes_max - 1, ..within.clone() }, "it has more than "),
        (CaptureLimits { line_bytes_max: longest - 1, ..within.clone() }, " has more than "),
        (CaptureLimits { objects_max: 1, ..within.clone() }, "it has more than 1 objects"),
        (CaptureLimits { decisions_max: 4, ..within }, "it has more than 4 decisions"),
    ];
    for (limits, expected) in rows {
        let error = read_within(&whole, limits).err().unwrap_or_else(|| panic!("{expected}"));
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn nothing_of_a_component_that_is_not_ours_is_told_but_what_it_reads() {
    let settings = r#"{"secret-ns":["secret-ns",7,true,null,{"none":"secret"}],"x":"secret.example"}"#;
    let capture = capture(Some(rules("/secret/mine.wasm", settings)));
    let (renamed, pseudonyms) = pseudonymised(&capture);
    let text = text(&renamed);
    let kept = text.replace("secret.example/tier", "");
    assert!(!kept.contains("secret") && !kept.contains("192.0.2") && !kept.contains("2001:db8"), "{kept}");
    let again = read(&text).unwrap();
    let rules = again.header.rules.unwrap();
    let namespace = pseudonyms.text("secret-ns");
    assert!(rules.settings.starts_with(&format!("{{\"{namespace}\":[\"{namespace}\",7,true,null,{{\"none\":")));
    assert_eq!((rules.component.as_str(), rules.name.as_str()), ("custom", "custom"));
    assert!(again.header.pseudonymised);
    let bound = again.table.iter().find(|(key, _)| key.kind == RowKind::Service).unwrap();
    assert_eq!(bound.0.namespace, namespace);
    assert_eq!(*bound.1.subject.hosts[0], *format!("{}.{namespace}.svc.cluster.local", bound.0.name));
    let mut mapping = Vec::new();
    super::mapping(&mut mapping, &pseudonyms).unwrap();
    let mapping: serde_json::Value = serde_json::from_slice(&mapping).unwrap();
    assert_eq!(mapping["words"]["secret-ns"], *namespace);
    assert!(mapping["addresses"]["192.0.2.7"].is_string());
}

#[test]
fn settings_of_the_built_in_component_stay() {
    let settings = r#"{"unbound":"blocked"}"#;
    let (renamed, _) = pseudonymised(&capture(Some(rules(BUILT_IN, settings))));
    let rules = renamed.header.rules.unwrap();
    assert_eq!((rules.component.as_str(), rules.settings.as_str()), (BUILT_IN, settings));
}
