//! Which policies come of which PeerAuthentications, and who lists them. The rows are the cases that Istio's own golden
//! files tell apart, and those where two of its ways to look at the same objects disagree.

use model::peer_authentication::MtlsMode::{Disable, Permissive, Strict, Unset};
use model::{Event, Facts, Object};

use super::*;

const ROOT: &str = "istio-system";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn at(namespace: &str, name: &str, mode: MtlsMode) -> PeerAuthentication {
    PeerAuthentication { mode, ..PeerAuthentication::named(namespace, name) }
}

fn about_cart(name: &str, mode: MtlsMode, ports: &[(u32, MtlsMode)]) -> PeerAuthentication {
    let selector = Some(labels(&[("app", "cart")]));
    PeerAuthentication { selector, ports: ports.to_vec(), ..at("shop", name, mode) }
}

fn store(all: impl IntoIterator<Item = PeerAuthentication>) -> Store {
    let mut store = Store::new(Facts::default());
    store.apply_all(all.into_iter().map(|it| Event::Apply(Object::PeerAuthentication(it))));
    store
}

/// `!a` at a port: `80`, at all but some: `*-80-81`. Groups with `|` between them.
fn shown(policy: &Authorization) -> String {
    assert_eq!((policy.action(), policy.scope()), (Action::Deny, Scope::WorkloadSelector));
    let rule = |rule: &Rule| {
        let mut parts: Vec<String> = Vec::new();
        for clause in &rule.clauses {
            let [only] = &*clause.matches else { panic!("{clause:?}") };
            let presence = |it: &StringMatch| it.match_type == Some(MatchType::Presence(()));
            let nobody = only.not_principals.iter().all(presence) && only.not_principals.len() == 1;
            assert_eq!(
                *only,
                Match {
                    not_principals: only.not_principals.clone(),
                    destination_ports: only.destination_ports.clone(),
                    not_destination_ports: only.not_destination_ports.clone(),
                    ..Match::default()
                }
            );
            match (nobody, &*only.destination_ports, &*only.not_destination_ports) {
                (true, [], []) => parts.push("*".into()),
                (true, [port], []) => parts.push(port.to_string()),
                (false, [], [port]) => parts.push(format!("-{port}")),
                _ => panic!("{only:?}"),
            }
        }
        parts.concat()
    };
    policy.rules.iter().map(rule).collect::<Vec<_>>().join("|")
}

/// What the workload `cart` of `shop` lists, and what is made, by name without what all names begin with.
fn found(store: &Store) -> (Option<String>, Vec<String>) {
    let cart = Peers::of(store, &"shop".into()).policy(&labels(&[("app", "cart"), ("version", "v1")]));
    let made = authorizations(store);
    for policy in &made {
        let again = authorization(store, &policy.namespace.as_str().into(), &policy.name);
        assert_eq!(again.as_ref(), Some(policy), "found by its name");
    }
    if let Some(name) = &cart {
        assert!(made.iter().any(|it| format!("{}/{}", it.namespace, it.name) == *name), "{name} is not there");
    }
    let own = made.iter().filter(|it| it.name != STRICT);
    let own = own.map(|it| format!("{} {}", it.name.strip_prefix(CONVERTED).unwrap(), shown(it)));
    let cart = cart.map(|name| name.replace("istio-system/istio_converted_static_strict", "strict"));
    (cart.map(|name| name.replace("shop/converted_peer_authentication_", "own ")), own.collect())
}

#[track_caller]
fn check(all: impl IntoIterator<Item = PeerAuthentication>, listed: Option<&str>, own: &[&str]) {
    let (cart, made) = found(&store(all));
    assert_eq!((cart.as_deref(), made.iter().map(String::as_str).collect::<Vec<_>>()), (listed, own.to_vec()));
}

#[test]
fn the_nearest_level_that_says_something_counts() {
    let levels = |mesh, namespace, workload| {
        [at(ROOT, "default", mesh), at("shop", "default", namespace), about_cart("cart", workload, &[])]
    };
    for (mesh, namespace, workload, listed) in [
        (Strict, Unset, Unset, Some("strict")),
        (Strict, Permissive, Unset, None),
        (Strict, Disable, Unset, None),
        (Strict, Strict, Permissive, None),
        (Strict, Strict, Disable, None),
        (Permissive, Strict, Unset, Some("strict")),
        (Disable, Unset, Strict, Some("strict")),
        (Unset, Unset, Unset, None),
    ] {
        check(levels(mesh, namespace, workload), listed, &[]);
    }
    check([at(ROOT, "default", Strict)], Some("strict"), &[]);
    check([at("other", "default", Strict)], None, &[]);
}

#[test]
fn ports_of_another_mode_make_a_policy_of_its_own() {
    let mesh = |mode| at(ROOT, "default", mode);
    // STRICT but for some.
    let ports = [(80, Permissive), (81, Disable), (82, Strict), (83, Unset)];
    check([about_cart("a", Strict, &ports)], Some("own a"), &["a *-80-81"]);
    check([about_cart("a", Strict, &[(80, Strict), (81, Unset)])], Some("strict"), &[]);
    check([mesh(Strict), about_cart("a", Unset, &[(80, Permissive)])], Some("own a"), &["a *-80"]);
    // Only some are STRICT.
    check([about_cart("a", Permissive, &[(80, Strict), (81, Strict), (82, Disable)])], Some("own a"), &["a 80|81"]);
    check([mesh(Permissive), about_cart("a", Unset, &[(80, Strict)])], Some("own a"), &["a 80"]);
    check([about_cart("a", Unset, &[(80, Strict)])], Some("own a"), &["a 80"]);
    check([about_cart("a", Disable, &[(80, Permissive)])], None, &[]);
    // Without a selector ports count for nobody.
    let ports = vec![(80, Strict)];
    check([PeerAuthentication { ports, ..at("shop", "a", Permissive) }], None, &[]);
}

#[test]
fn where_strict_is_inherited_disable_alone_opens_no_port() {
    let mesh = || at(ROOT, "default", Strict);
    check([mesh(), about_cart("a", Unset, &[(80, Disable)])], Some("strict"), &[]);
    check([mesh(), about_cart("a", Unset, &[(80, Disable), (81, Permissive)])], Some("own a"), &["a *-80-81"]);
}

#[test]
fn a_policy_that_is_listed_is_there() {
    // In Istio the two of these are listed and not made, and everybody is let in.
    let mesh = || at(ROOT, "default", Strict);
    let unset = at("shop", "default", Unset);
    check([mesh(), unset, about_cart("a", Unset, &[(80, Permissive)])], Some("own a"), &["a *-80"]);
    check([mesh(), about_cart("a", Permissive, &[(80, Strict)])], Some("own a"), &["a 80"]);
}

#[test]
fn of_several_the_oldest_counts() {
    let aged = |created, it: PeerAuthentication| PeerAuthentication { created: Some(created), ..it };
    check([aged(2, at(ROOT, "a", Permissive)), aged(1, at(ROOT, "b", Strict))], Some("strict"), &[]);
    check([aged(1, at("shop", "b", Permissive)), aged(1, at("shop", "a", Strict))], Some("strict"), &[]);
    let workloads = [aged(1, about_cart("old", Permissive, &[])), aged(2, about_cart("new", Strict, &[(1, Disable)]))];
    check(workloads, None, &["new *-1"]);
}

#[test]
fn who_is_meant_follows_from_selector_and_namespace() {
    let other = PeerAuthentication { selector: Some(labels(&[("app", "other")])), ..at("shop", "a", Strict) };
    check([other], None, &[]);
    let in_root = PeerAuthentication { selector: Some(labels(&[("app", "cart")])), ..at(ROOT, "a", Strict) };
    check([in_root], None, &[]);
    // An empty selector selects everything in its own namespace, and nothing beyond.
    let empty = |namespace| PeerAuthentication { selector: Some(Labels::default()), ..at(namespace, "a", Strict) };
    check([empty("shop")], Some("strict"), &[]);
    check([empty(ROOT)], None, &[]);
    let root = store([empty(ROOT)]);
    assert!(Peers::of(&root, &ROOT.into()).policy(&labels(&[])).is_some());
    let elsewhere = [at("shop", "a", Strict)].map(|mut it| {
        it.meta.labels = labels(&[("istio.io/rev", "other")]);
        it
    });
    assert!(authorizations(&store(elsewhere)).is_empty(), "of another revision (R144)");
}

#[test]
fn as_soon_as_there_is_one_the_shared_policy_is() {
    assert!(authorizations(&store([])).is_empty());
    let [shared] = &*authorizations(&store([at("other", "a", Permissive)])) else { panic!("one policy") };
    assert_eq!((&*shared.namespace, &*shared.name, &*shown(shared)), (ROOT, STRICT, "*"));
}
