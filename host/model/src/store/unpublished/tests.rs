//! Each reason for its object, and that exactly what is no row has one.

use crate::endpoint_slice::{EndpointSlice, SERVICE_NAME};
use crate::mesh::{EntryVisibility, EntryVisibilityRules, Mesh, VisibilityPolicy};
use crate::object::Object;
use crate::selector::Selector;
use crate::service::Service;
use crate::service_entry::{EntryEndpoint, Resolution, ServiceEntry};
use crate::store::{Event, Facts, LostHost, Store, Unpublished};
use crate::table::{RowKey, RowKind};
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;
use crate::{Meta, Namespace};

fn key(kind: RowKind, name: &str) -> RowKey {
    match name.split_once('/') {
        Some((name, part)) => RowKey::endpoint(kind, "shop", name, part),
        None => RowKey::new(kind, "shop", name),
    }
}

fn labelled(name: &str, key: &str, value: &str) -> Meta {
    Meta { labels: [(key, value)].into_iter().collect(), ..Meta::named("shop", name) }
}

fn entry(name: &str, host: &str) -> ServiceEntry {
    ServiceEntry { hosts: vec![host.into()], ..ServiceEntry::named("shop", name) }
}

fn objects() -> Vec<Object> {
    let ip = vec![[10, 0, 0, 1].into()];
    let service = Service::named("shop", "cart");
    let pod = Pod { addresses: ip.into(), ..Pod::named("shop", "cart") };
    let endpoint = |entry: ServiceEntry| ServiceEntry { endpoints: vec![EntryEndpoint::at("10.0.0.9")], ..entry };
    let slice = EndpointSlice {
        meta: labelled("cart", SERVICE_NAME, "cart"),
        addresses: vec!["10.0.0.7".into()],
        ..EndpointSlice::named("shop", "cart")
    };
    vec![
        Object::Service(Service { external_name: true, ..Service::named("shop", "elsewhere") }),
        Object::Service(Service { bad_address: Some("10.0.0".into()), ..Service::named("shop", "bad") }),
        Object::Service(service),
        Object::Pod(Pod { finished: true, ..Pod { meta: Meta::named("shop", "done"), ..pod.clone() } }),
        Object::Pod(Pod {
            bad_address: Some(Box::new("::g".into())),
            ..Pod { meta: Meta::named("shop", "bad"), ..pod.clone() }
        }),
        Object::Pod(Pod::named("shop", "pending")),
        Object::Pod(pod),
        Object::ServiceEntry(entry("api", "api.example")),
        Object::ServiceEntry(endpoint(entry("later", "api.example"))),
        Object::ServiceEntry(ServiceEntry {
            resolution: Resolution::Dns,
            ..entry("shadow", "cart.shop.svc.cluster.local")
        }),
        Object::ServiceEntry(ServiceEntry { bad_address: Some("x".into()), ..entry("bad", "bad.example") }),
        Object::ServiceEntry(ServiceEntry::named("shop", "nameless")),
        Object::ServiceEntry(endpoint(entry("static", "static.example"))),
        Object::WorkloadEntry(WorkloadEntry {
            meta: labelled("other", "istio.io/rev", "canary"),
            ..WorkloadEntry::named("shop", "")
        }),
        Object::WorkloadEntry(WorkloadEntry::named("shop", "vm")),
        Object::EndpointSlice(EndpointSlice { meta: Meta::named("shop", "unnamed"), ..slice.clone() }),
        Object::EndpointSlice(slice),
    ]
}

fn store(mesh: Mesh) -> Store {
    let mut store = Store::new(Facts { mesh, ..Facts::default() });
    store.apply_all(objects().into_iter().map(Event::Apply));
    store
}

#[test]
fn each_reason_is_told_for_its_object() {
    use RowKind::{EndpointSliceEndpoint, ServiceEntryEndpoint, WorkloadEntry};
    let store = store(Mesh::default());
    let lost = |host: &str, kind, to: &str| {
        Some(Unpublished::HostsLost { to: vec![LostHost { host: host.into(), to: key(kind, to) }] })
    };
    let bad = |written: &str| written.into();
    let rows = [
        (RowKind::Service, "nobody", Some(Unpublished::NoObject)),
        (RowKind::Service, "cart", None),
        (RowKind::Service, "elsewhere", Some(Unpublished::ExternalName)),
        (RowKind::Service, "bad", Some(Unpublished::BadClusterIp { written: bad("10.0.0") })),
        (RowKind::Pod, "nobody", Some(Unpublished::NoObject)),
        (RowKind::Pod, "cart", None),
        (RowKind::Pod, "done", Some(Unpublished::Finished)),
        (RowKind::Pod, "bad", Some(Unpublished::BadPodIp { written: bad("::g") })),
        (RowKind::Pod, "pending", Some(Unpublished::NoAddress)),
        (RowKind::ServiceEntry, "nobody", Some(Unpublished::NoObject)),
        (RowKind::ServiceEntry, "api", None),
        (RowKind::ServiceEntry, "later", lost("api.example", RowKind::ServiceEntry, "api")),
        (ServiceEntryEndpoint, "later/10.0.0.9", lost("api.example", RowKind::ServiceEntry, "api")),
        (RowKind::ServiceEntry, "shadow", lost("cart.shop.svc.cluster.local", RowKind::Service, "cart")),
        (
            ServiceEntryEndpoint,
            "shadow/cart.shop.svc.cluster.local",
            lost("cart.shop.svc.cluster.local", RowKind::Service, "cart"),
        ),
        (ServiceEntryEndpoint, "shadow/another.host", Some(Unpublished::NoSuchEndpoint)),
        (RowKind::ServiceEntry, "bad", Some(Unpublished::BadAddress { written: bad("x") })),
        (RowKind::ServiceEntry, "nameless", Some(Unpublished::NoHosts)),
        (ServiceEntryEndpoint, "static/10.0.0.9", None),
        (ServiceEntryEndpoint, "static/10.0.0.8", Some(Unpublished::NoSuchEndpoint)),
        (ServiceEntryEndpoint, "static", Some(Unpublished::NoSuchEndpoint)),
        (WorkloadEntry, "nobody", Some(Unpublished::NoObject)),
        (WorkloadEntry, "vm", None),
        (WorkloadEntry, "other", Some(Unpublished::OtherRevision { revision: "canary".into() })),
        (EndpointSliceEndpoint, "nobody/10.0.0.7", Some(Unpublished::NoObject)),
        (EndpointSliceEndpoint, "cart/10.0.0.7", None),
        (EndpointSliceEndpoint, "cart/10.0.0.8", Some(Unpublished::NoSuchEndpoint)),
        (EndpointSliceEndpoint, "unnamed/10.0.0.7", Some(Unpublished::NoServiceNamed)),
    ];
    for (kind, name, expected) in rows {
        let key = key(kind, name);
        let why = store.unpublished(&key);
        assert_eq!(why, expected, "{key}");
        assert_eq!(store.row(&key).is_none(), why.is_some(), "{key}");
    }
}

#[test]
fn what_is_hidden_or_seen_by_nobody_says_so() {
    let visibility = EntryVisibilityRules {
        default: EntryVisibility::None,
        policies: vec![VisibilityPolicy { visibility: EntryVisibility::Public, rules: vec![None] }],
    };
    let seen_by_nobody = store(Mesh { entry_visibility: Some(visibility), ..Mesh::default() });
    let api = key(RowKind::ServiceEntry, "api");
    assert_eq!(seen_by_nobody.unpublished(&api), Some(Unpublished::SeenByNobody));

    let discovered = Selector { labels: [("mesh", "yes")].into_iter().collect(), ..Selector::default() };
    let mut hidden = store(Mesh { discovery_selectors: vec![discovered], ..Mesh::default() });
    let all = [
        api,
        key(RowKind::Service, "cart"),
        key(RowKind::Pod, "done"),
        key(RowKind::EndpointSliceEndpoint, "cart/10.0.0.7"),
    ];
    for key in &all {
        assert_eq!(hidden.unpublished(key), Some(Unpublished::HiddenNamespace), "{key}");
    }
    let meta = Meta { labels: [("mesh", "yes")].into_iter().collect(), ..Meta::named("", "shop") };
    hidden.apply(Event::Apply(Object::Namespace(Namespace { meta })));
    let now: Vec<_> = all.iter().map(|key| hidden.unpublished(key)).collect();
    assert_eq!(now, [None, None, Some(Unpublished::Finished), None]);
}
