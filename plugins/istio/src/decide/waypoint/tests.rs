//! One Gateway at a time: R1-R11. Who asks for it is tested in `decide/tests`.

use wayswitch_sdk::test::{Admits, GatewayDraft, gateway, mesh, waypoint};
use wayswitch_sdk::{Batch, Gateway, Level, Tunnel, TunnelProtocol};

use super::{Admission, Policy, Serves, Waypoint, parse_binding};
use crate::decide::keys;
use crate::decide::version::{self, Version};

fn only(draft: GatewayDraft) -> Gateway {
    mesh().gateway(draft).batch().gateways.remove(0)
}

fn waypoint_of(gateway: &Gateway) -> Option<Waypoint<'_>> {
    Waypoint::of(gateway, Version::of_minor(version::NEWEST))
}

fn tunnel(app_protocol: TunnelProtocol, port: u32) -> Option<Tunnel> {
    Some(Tunnel { app_protocol, port })
}

#[test]
fn r1_any_gateway_with_an_address_is_a_waypoint_and_r2_none_without() {
    let rows = [
        ("an ingress gateway", gateway("ns", "gw").class("istio", &[]).ip("10.0.0.1"), true),
        ("no class, no listener", gateway("ns", "gw").hostname("gw.ns"), true),
        ("an address that cannot be used", gateway("ns", "gw").ip("not an ip"), true),
        ("an address without a type", gateway("ns", "gw").address(None, "10.0.0.1"), true),
        ("no address yet", waypoint("ns", "gw").without_addresses(), false),
    ];
    for (what, draft, expected) in rows {
        assert_eq!(waypoint_of(&only(draft)).is_some(), expected, "{what}");
    }
}

#[test]
fn r4_what_it_serves_is_the_gateways_word_then_its_classs_then_service() {
    let class = |value| gateway("ns", "gw").class("c", &[(keys::WAYPOINT_FOR, value)]);
    let own = |value| gateway("ns", "gw").label(keys::WAYPOINT_FOR, value);
    let rows = [
        (gateway("ns", "gw"), (true, false, None)),
        (own("service"), (true, false, Some((Level::Gateway, "service")))),
        (own("workload"), (false, true, Some((Level::Gateway, "workload")))),
        (own("all"), (true, true, Some((Level::Gateway, "all")))),
        (own("none"), (false, false, Some((Level::Gateway, "none")))),
        (own(""), (false, false, Some((Level::Gateway, "")))),
        (own("Service"), (false, false, Some((Level::Gateway, "Service")))),
        (class("all"), (true, true, Some((Level::GatewayClass, "all")))),
        (class("all").label(keys::WAYPOINT_FOR, "workload"), (false, true, Some((Level::Gateway, "workload")))),
        (class("all").label(keys::WAYPOINT_FOR, "typo"), (false, false, Some((Level::Gateway, "typo")))),
    ];
    for (draft, (services, workloads, written)) in rows {
        assert_eq!(Serves::of(&only(draft)), Serves { services, workloads, written });
    }
}

#[test]
fn r5_r6_r7_the_first_hostname_else_the_first_ip_that_is_one_else_none() {
    let gw = || gateway("ns", "gw");
    let rows = [
        (gw().ip("10.0.0.1").hostname("a").hostname("b"), Some(1)),
        (gw().hostname(""), Some(0)),
        (gw().ip("10.0.0.1").ip("10.0.0.2"), Some(0)),
        (gw().ip("10.0.0.300").ip("fd00::1"), Some(1)),
        (gw().ip("::ffff:10.0.0.1"), Some(0)),
        (gw().address(None, "10.0.0.1"), None),
        (gw().address(Some("hostname"), "a").address(Some("NamedAddress"), "b"), None),
        (gw().address(None, "a").address(Some("Hostname"), "b"), Some(1)),
    ];
    for (draft, expected) in rows {
        let gateway = only(draft);
        assert_eq!(waypoint_of(&gateway).unwrap().address, expected, "{:?}", gateway.addresses);
    }
}

#[test]
fn r9_a_binding_is_a_protocol_and_perhaps_a_port() {
    let (none, proxy) = (TunnelProtocol::None, TunnelProtocol::Proxy);
    let rows = [
        ("PROXY", tunnel(proxy, 0)),
        ("NONE", tunnel(none, 0)),
        ("PROXY/15088", tunnel(proxy, 15088)),
        ("NONE/0015088", tunnel(none, 15088)),
        ("PROXY/0", tunnel(proxy, 0)),
        ("PROXY/", tunnel(proxy, 0)),
        ("PROXY/abc", tunnel(proxy, 0)),
        ("PROXY/+1", tunnel(proxy, 0)),
        ("PROXY/-1", tunnel(proxy, 0)),
        ("PROXY/ 1", tunnel(proxy, 0)),
        ("PROXY/4294967295", tunnel(proxy, u32::MAX)),
        ("PROXY/4294967296", tunnel(proxy, 0)),
        ("PROXY/99999999999", tunnel(proxy, 0)),
        ("PROXY/1/2", None),
        ("PROXY//", None),
        ("proxy/1", None),
        ("HBONE", None),
        ("", None),
        ("/1", None),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_binding(text), expected, "{text}");
    }
}

#[test]
fn r9_the_gateways_annotation_hides_its_classs_even_where_it_is_not_valid() {
    let class = || gateway("ns", "gw").ip("::1").class("c", &[]).class_annotation(keys::INBOUND_BINDING, "PROXY/1");
    let rows = [
        (gateway("ns", "gw").ip("::1"), None),
        (class(), tunnel(TunnelProtocol::Proxy, 1)),
        (class().annotation(keys::INBOUND_BINDING, "NONE/2"), tunnel(TunnelProtocol::None, 2)),
        (class().annotation(keys::INBOUND_BINDING, "junk"), None),
        (class().annotation(keys::INBOUND_BINDING, ""), None),
    ];
    for (draft, expected) in rows {
        assert_eq!(waypoint_of(&only(draft)).unwrap().binding, expected);
    }
}

#[test]
fn r10_the_listener_that_counts_is_the_bound_one_else_the_hbone_one() {
    let listeners = |draft: GatewayDraft| {
        let draft =
            draft.ip("::1").listener(1, "HTTP", Admits::Unsaid).listener(15088, "istio.io/PROXY", Admits::Unsaid);
        draft.listener(15008, "TCP", Admits::Unsaid).listener(15008, "HBONE", Admits::Unsaid)
    };
    let rows = [
        (None, Some(3)),
        (Some("PROXY/15088"), Some(1)),
        (Some("NONE/1"), Some(0)),
        (Some("NONE/15008"), Some(2)),
        (Some("PROXY"), Some(1)),
        (Some("NONE"), Some(3)),
        (Some("PROXY/7"), Some(3)),
        (Some("junk"), Some(3)),
    ];
    for (binding, expected) in rows {
        let draft = listeners(gateway("ns", "gw"));
        let draft = binding.into_iter().fold(draft, |draft, text| draft.annotation(keys::INBOUND_BINDING, text));
        assert_eq!(waypoint_of(&only(draft)).unwrap().admission.listener, expected, "{binding:?}");
    }
    let elsewhere = gateway("ns", "gw").listener(15009, "HBONE", Admits::from("All"));
    let expected = Admission { listener: None, policy: Policy::Same };
    assert_eq!(Admission::of(&only(elsewhere), None), expected, "HBONE, but not on 15008");
    let bound = gateway("ns", "gw").listener(15008, "HBONE", Admits::from("All"));
    let expected = Admission { listener: Some(0), policy: Policy::All };
    assert_eq!(Admission::of(&only(bound), tunnel(TunnelProtocol::Proxy, 0)), expected, "no PROXY listener");
}

/// One waypoint in `here` with this policy, and the namespaces `here` and `there`.
fn admitting(admits: Admits) -> Batch {
    let draft = waypoint("here", "wp").only_listener(15008, "HBONE", admits);
    mesh().namespace("here", &[]).namespace("there", &[]).gateway(draft).batch()
}

#[test]
fn r11_r21_whom_it_admits() {
    let rows = [
        (Admits::Unsaid, (true, false)),
        (Admits::from("Same"), (true, false)),
        (Admits::from("All"), (true, true)),
        (Admits::from("None"), (true, false)),
        (Admits::from("all"), (true, false)),
        (Admits::from(""), (true, false)),
        (Admits::from("Selector"), (false, false)),
        (Admits::selected(&[]), (false, false)),
        (Admits::selected(&["there"]), (false, true)),
        (Admits::selected(&["here", "there"]), (true, true)),
    ];
    for (admits, (here, there)) in rows {
        let batch = admitting(admits.clone());
        let waypoint = waypoint_of(&batch.gateways[0]).unwrap();
        let admitted: Vec<_> = batch.namespaces.iter().map(|namespace| waypoint.admits(namespace)).collect();
        assert_eq!(admitted, [here, there], "{admits:?}");
    }
}

#[test]
fn r11_a_selector_says_nothing_unless_from_is_selector() {
    let mut batch = admitting(Admits::selected(&["there"]));
    for from in [None, Some("Same".to_owned()), Some("None".to_owned())] {
        batch.gateways[0].listeners[0].admits_from = from;
        assert!(!waypoint_of(&batch.gateways[0]).unwrap().admits(&batch.namespaces[1]));
    }
}

#[test]
fn q3_an_id_in_nobodys_list_matches_nothing() {
    let mut batch = admitting(Admits::selected(&["here", "there"]));
    batch.gateways[0].listeners[0].selector = Some(7);
    let waypoint = waypoint_of(&batch.gateways[0]).unwrap();
    assert!(batch.namespaces.iter().all(|namespace| !waypoint.admits(namespace)));
}
