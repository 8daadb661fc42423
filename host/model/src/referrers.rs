//! Who names a Gateway as its waypoint, in Istio's labels, as they are written: whether it is there, ready or of use to them
//! does not matter, so that it can be said before a Gateway goes, or comes. What a component makes of it is in a table, and
//! what is bound to a waypoint in [`crate::waypoint_view`].

use std::collections::BTreeMap;

use crate::gateway::GatewayKey;
use crate::name::{Labels, Name};
use crate::object::{Kind, Object, ObjectKey};
use crate::store::Store;
use crate::waypoint_view::Role;

/// Label: the name of the waypoint (R15).
pub const USE_WAYPOINT: &str = "istio.io/use-waypoint";
/// Label of the same object: its namespace (R15).
pub const USE_WAYPOINT_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Label: the name of the second waypoint (R61).
pub const CANARY: &str = "istio.io/use-waypoint-canary";
/// Label of the same object: its namespace (R61).
pub const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
/// Annotation: percent of new connections to the second waypoint, 0 to 100 (R62).
pub const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
/// The value that opts out (R18).
pub const NONE: &str = "none";

/// A place where a Gateway is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Referrer {
    /// The object that is written in.
    pub object: ObjectKey,
    /// The address of an endpoint of a ServiceEntry that has labels of its own (R53).
    pub part: Option<Name>,
    /// As which waypoint.
    pub role: Role,
}

impl std::fmt::Display for Referrer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(part) = &self.part {
            write!(f, ", endpoint {part}")?;
        }
        match self.role {
            Role::Primary => Ok(()),
            Role::Canary => f.write_str(", as second waypoint"),
        }
    }
}

/// The Gateway that labels name, of an object in `namespace` (R15, R61); none: they name none, or opt out. An empty first
/// name is the name of a Gateway that cannot be there; an empty second one is none.
pub fn named(labels: &Labels, namespace: &Name, role: Role) -> Option<GatewayKey> {
    let (name, beside) = match role {
        Role::Primary => (USE_WAYPOINT, USE_WAYPOINT_NAMESPACE),
        Role::Canary => (CANARY, CANARY_NAMESPACE),
    };
    let name = labels.get(name).filter(|name| ***name != *NONE && (role == Role::Primary || !name.is_empty()))?;
    let namespace = labels.get(beside).unwrap_or(namespace);
    Some(GatewayKey { namespace: namespace.clone(), name: name.clone() })
}

/// What an object names as its waypoints, each place once. Workloads have no second one (R66).
pub fn names(object: &Object) -> Vec<(GatewayKey, Referrer)> {
    let key = object.key();
    let meta = object.meta();
    let place = |part: Option<&Name>, role| Referrer { object: key.clone(), part: part.cloned(), role };
    let mut found = Vec::new();
    let mut add = |labels: &Labels, namespace: &Name, part: Option<&Name>, roles: &[Role]| {
        let named = roles.iter().filter_map(|role| Some((named(labels, namespace, *role)?, place(part, *role))));
        found.extend(named);
    };
    let both = &[Role::Primary, Role::Canary];
    match object {
        // A namespace speaks for what is in it (R16).
        Object::Namespace(it) => add(&it.meta.labels, &it.meta.name, None, both),
        Object::Service(_) => add(&meta.labels, &meta.namespace, None, both),
        Object::ServiceEntry(it) => {
            add(&meta.labels, &meta.namespace, None, both);
            for endpoint in &it.endpoints {
                add(&endpoint.labels, &meta.namespace, Some(&endpoint.address), &[Role::Primary]);
            }
        }
        Object::Pod(_) => add(&meta.labels, &meta.namespace, None, &[Role::Primary]),
        Object::WorkloadEntry(it) => add(&it.labels(), &meta.namespace, None, &[Role::Primary]),
        Object::GatewayClass(_)
        | Object::Gateway(_)
        | Object::EndpointSlice(_)
        | Object::AuthorizationPolicy(_)
        | Object::Node(_)
        | Object::PeerAuthentication(_) => {}
    }
    found
}

/// Everything that names a Gateway, by the Gateway, in the order of the kinds and keys. Looks at every object once.
pub fn referrers(store: &Store) -> BTreeMap<GatewayKey, Vec<Referrer>> {
    let mut all: BTreeMap<GatewayKey, Vec<Referrer>> = BTreeMap::new();
    for object in store.object_keys().filter_map(|key| store.object(&key)) {
        for (gateway, referrer) in names(&object) {
            all.entry(gateway).or_default().push(referrer);
        }
    }
    for list in all.values_mut() {
        list.sort_unstable();
        list.dedup();
    }
    all
}

/// Referrers in a few words: `1 Namespace, 2 Services`.
pub fn in_words(referrers: &[Referrer]) -> String {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for referrer in referrers {
        *counts.entry(referrer.object.kind).or_default() += 1;
    }
    let word = |(kind, count): (Kind, usize)| match (kind, count) {
        (kind, 1) => format!("1 {kind}"),
        (Kind::ServiceEntry, count) => format!("{count} ServiceEntries"),
        (Kind::WorkloadEntry, count) => format!("{count} WorkloadEntries"),
        (kind, count) => format!("{count} {kind}s"),
    };
    counts.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_entry::EntryEndpoint;
    use crate::{Event, Meta, Namespace, Pod, Service, ServiceEntry, WorkloadEntry};

    fn meta(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Meta {
        Meta { labels: labels.iter().copied().collect(), ..Meta::named(namespace, name) }
    }

    fn store(objects: Vec<Object>) -> Store {
        let mut store = Store::default();
        store.apply_all(objects.into_iter().map(Event::Apply));
        store
    }

    fn texts(store: &Store, namespace: &str, name: &str) -> Vec<String> {
        let all = referrers(store);
        let list = all.get(&GatewayKey::new(namespace, name)).map_or(&[][..], Vec::as_slice);
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_level_and_kind_that_may_name_a_waypoint_is_looked_at() {
        let mut endpoint = EntryEndpoint::at("10.0.0.1");
        endpoint.labels = [(USE_WAYPOINT, "w")].into_iter().collect();
        let mut entry = ServiceEntry::named("shop", "api");
        entry.endpoints = vec![endpoint];
        let mut workload = WorkloadEntry::named("shop", "vm");
        workload.spec_labels = [(USE_WAYPOINT, "w")].into_iter().collect();
        let mut pod = Pod::named("shop", "web");
        pod.meta = meta("shop", "web", &[(USE_WAYPOINT, "w"), (CANARY, "w")]);
        let service = Service {
            meta: meta("other", "cart", &[(USE_WAYPOINT, "w"), (USE_WAYPOINT_NAMESPACE, "shop")]),
            ..Service::named("other", "cart")
        };
        let canary = Service { meta: meta("shop", "cart", &[(CANARY, "w")]), ..Service::named("shop", "cart") };
        let store = store(vec![
            Object::Namespace(Namespace { meta: meta("", "shop", &[(USE_WAYPOINT, "w")]) }),
            Object::ServiceEntry(entry),
            Object::WorkloadEntry(workload),
            Object::Pod(pod),
            Object::Service(service),
            Object::Service(canary),
        ]);
        assert_eq!(
            texts(&store, "shop", "w"),
            [
                "Namespace shop",
                "Service other/cart",
                "Service shop/cart, as second waypoint",
                "Pod shop/web",
                "ServiceEntry shop/api, endpoint 10.0.0.1",
                "WorkloadEntry shop/vm",
            ]
        );
        let all = referrers(&store);
        assert_eq!(
            in_words(all.get(&GatewayKey::new("shop", "w")).unwrap()),
            "1 Namespace, 2 Services, 1 Pod, 1 ServiceEntry, 1 WorkloadEntry"
        );
    }

    #[test]
    fn who_opts_out_names_nobody_and_another_namespace_counts_only_beside_a_name() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let named = |pairs: &[(&str, &str)], role| named(&labels(pairs), &"shop".into(), role).map(|it| it.to_string());
        assert_eq!(named(&[(USE_WAYPOINT, "none")], Role::Primary), None);
        assert_eq!(named(&[(USE_WAYPOINT_NAMESPACE, "other")], Role::Primary), None);
        assert_eq!(named(&[(USE_WAYPOINT, "None")], Role::Primary).as_deref(), Some("shop/None"));
        assert_eq!(named(&[(USE_WAYPOINT, "")], Role::Primary).as_deref(), Some("shop/"));
        assert_eq!(named(&[(CANARY, "")], Role::Canary), None);
        assert_eq!(
            named(&[(CANARY, "c"), (USE_WAYPOINT_NAMESPACE, "x"), (CANARY_NAMESPACE, "y")], Role::Canary).as_deref(),
            Some("y/c")
        );
    }
}
