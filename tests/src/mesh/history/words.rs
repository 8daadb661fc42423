//! From the numbers of an operation to an object: what each number means. Values are chosen to collide.

use model::mesh::{EntryVisibility, EntryVisibilityRules, VisibilityPolicy};
use model::peer_authentication::MtlsMode;
use model::selector::Selector;
use model::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, Mesh, Namespace, Node, Pod, Service, ServiceEntry,
    WorkloadEntry,
};

use crate::mesh::draft::{self, Draft, Drafted, ListenerDraft, at, hbone, listener};
use crate::mesh::{GATEWAY_NAME, MANAGED, MESH_CONTROLLER, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

/// What labels say about a waypoint: nothing, `none`, or a name and perhaps a namespace.
#[derive(Clone, Debug)]
pub enum Says {
    /// No such label.
    Nothing,
    /// The opt-out (R18).
    OptOut,
    /// A waypoint by its number, in a namespace by its number.
    Waypoint(u8, Option<u8>),
}

/// The label that listeners, discovery and visibility go by.
const TEAM: &str = "team";

pub(super) fn ns_name(ns: u8) -> String {
    format!("ns{ns}")
}

fn gateway_name(name: u8) -> String {
    format!("w{name}")
}

/// The last one never exists.
pub(super) fn class_name(class: u8) -> String {
    format!("class{class}")
}

fn service_host(ns: u8, name: u8) -> String {
    format!("s{name}.{}.svc.cluster.local", ns_name(ns))
}

/// How many hosts entries claim.
pub(super) const HOSTS: u8 = 4;

/// Two that anybody may claim, the one of a Service in the entry's own namespace, and one of a Service in the first.
fn host(ns: u8, at: u8) -> String {
    match at {
        0 => "h.example".into(),
        1 => "*.h.example".into(),
        2 => service_host(ns, 1),
        _ => service_host(0, 0),
    }
}

pub(super) fn said<T: Drafted>(draft: Draft<T>, says: &Says) -> Draft<T> {
    pairs(says).into_iter().fold(draft, |draft, (key, value)| draft.label(key, &value))
}

/// The same in the spec of a WorkloadEntry, which its metadata would overlay (R50).
pub(super) fn said_in_spec(draft: Draft<WorkloadEntry>, says: &Says) -> Draft<WorkloadEntry> {
    pairs(says).into_iter().fold(draft, |draft, (key, value)| draft.spec_label(key, &value))
}

fn pairs(says: &Says) -> Vec<(&'static str, String)> {
    match says {
        Says::Nothing => Vec::new(),
        Says::OptOut => vec![(USE_WAYPOINT, "none".into())],
        Says::Waypoint(name, None) => vec![(USE_WAYPOINT, gateway_name(*name))],
        Says::Waypoint(name, Some(ns)) => {
            vec![(USE_WAYPOINT, gateway_name(*name)), (USE_WAYPOINT_NAMESPACE, ns_name(*ns))]
        }
    }
}

/// Of another revision of Istio, or of this one in so many words (R144).
pub(super) fn revised<T: Drafted>(draft: Draft<T>, revision: Option<u8>) -> Draft<T> {
    let word = |revision| if revision == 0 { "default" } else { "other" };
    revision.into_iter().fold(draft, |draft, revision| draft.label(model::store::REVISION, word(revision)))
}

pub(super) fn app<T: Drafted>(draft: Draft<T>, app: Option<u8>) -> Draft<T> {
    app.into_iter().fold(draft, |draft, app| draft.label("app", &app.to_string()))
}

pub(super) fn instance(draft: Draft<Pod>, of: Option<u8>) -> Draft<Pod> {
    of.into_iter().fold(draft, |draft, name| draft.label(GATEWAY_NAME, &gateway_name(name)))
}

fn serving<T: Drafted>(draft: Draft<T>, serves: Option<u8>) -> Draft<T> {
    match serves {
        None => draft,
        Some(0) => draft.label(WAYPOINT_FOR, "all"),
        Some(1) => draft.label(WAYPOINT_FOR, "workload"),
        Some(_) => draft.label(WAYPOINT_FOR, "service"),
    }
}

pub(super) fn namespace(ns: u8, says: &Says, team: Option<u8>) -> Draft<Namespace> {
    let draft = draft::namespace(&ns_name(ns));
    said(team.into_iter().fold(draft, |draft, team| draft.label(TEAM, &team.to_string())), says)
}

pub(super) fn class(class: u8, serves: Option<u8>) -> Draft<GatewayClass> {
    serving(draft::gateway_class(&class_name(class)), serves)
}

pub(super) fn gateway(ns: u8, name: u8, class: u8, serves: Option<u8>, admits: u8, reports: u8) -> Draft<Gateway> {
    let draft = draft::gateway(&ns_name(ns), &gateway_name(name)).class(&class_name(class));
    reported(serving(draft, serves).listeners(listeners(admits)), ns, reports)
}

pub(super) const ADMISSIONS: u8 = 7;

fn listeners(admits: u8) -> Vec<ListenerDraft> {
    match admits {
        0 => vec![hbone().from_all()],
        1 => vec![hbone()],
        2 => vec![hbone().from_namespaces_with([(TEAM, "0")])],
        3 => vec![hbone().from_namespaces_with([(TEAM, "1")]), listener(80, "HTTP").from("None")],
        4 => vec![hbone().from_namespaces_where(TEAM, "DoesNotExist", &[])],
        5 => vec![listener(80, "HTTP").from_all()],
        _ => Vec::new(),
    }
}

pub(super) const REPORTS: u8 = 8;

/// Hostnames of a Service and of ServiceEntries in the Gateway's own namespace, and of a Service that may be in another.
fn reported(draft: Draft<Gateway>, ns: u8, reports: u8) -> Draft<Gateway> {
    match reports {
        0 => draft,
        1 => draft.address("10.0.0.1"),
        2 => draft.address("10.0.0.2").hostname(&service_host(ns, 1)),
        3 => draft.address("2001:db8::1").address("10.0.0.1"),
        4 => draft.status_address(None, "10.0.0.1"),
        5 => draft.hostname(&service_host(ns, 0)),
        6 => draft.hostname(&service_host(0, 0)),
        _ => draft.hostname(&host(ns, 0)),
    }
}

pub(super) fn service(ns: u8, name: u8, says: &Says, managed: bool, kind: u8, selects: Option<u8>) -> Draft<Service> {
    let draft = draft::service(&ns_name(ns), &format!("s{name}"));
    let draft = if managed { draft.label(MANAGED, MESH_CONTROLLER) } else { draft };
    let draft = selects.into_iter().fold(draft, |draft, app| draft.selecting("app", &app.to_string()));
    said(
        match kind {
            0 => draft.external_name(),
            1 => draft.bad_address("nowhere"),
            2 => draft.headless(),
            3 => draft.address("10.1.0.1").address("2001:db8::2"),
            4 => draft.address("10.1.0.2"),
            _ => draft.address("10.1.0.1"),
        },
        says,
    )
}

/// Of the third there is never an object.
pub(super) fn node_name(node: u8) -> String {
    format!("node{node}")
}

/// Of the mesh, a namespace or some workloads; two of three have the same age.
pub(super) fn peer(
    ns: u8,
    name: u8,
    app: Option<u8>,
    mode: u8,
    ports: u8,
    created: u8,
) -> Draft<model::PeerAuthentication> {
    let mode_of = |word: u8| match word {
        0 => MtlsMode::Unset,
        1 => MtlsMode::Disable,
        2 => MtlsMode::Permissive,
        _ => MtlsMode::Strict,
    };
    let draft = draft::peer_authentication(&ns_name(ns), &format!("i{name}"));
    let draft = draft.mode(mode_of(mode)).created((created / 2).into());
    let draft = match app {
        None => draft,
        Some(2) => draft.about([]),
        Some(app) => draft.about([("app", &app.to_string())]),
    };
    let draft = if ports & 3 == 0 { draft } else { draft.port(80, mode_of(ports & 3)) };
    if ports >> 2 == 0 { draft } else { draft.port(81, mode_of(ports >> 2)) }
}

pub(super) fn node(node: u8, zone: u8) -> Draft<Node> {
    let draft = draft::node(&node_name(node));
    if zone == 0 { draft } else { draft.label("topology.kubernetes.io/zone", &format!("z{zone}")) }
}

pub(super) fn pod(ns: u8, name: u8, account: u8, ip: u8, state: u8) -> Draft<Pod> {
    let draft = draft::pod(&ns_name(ns), &format!("p{name}")).service_account(&format!("sa{account}"));
    let draft = draft.on_node(&node_name(ip % 3));
    let addressed = |draft: Draft<Pod>| draft.address(&format!("10.2.0.{ip}"));
    match state {
        0 => draft,
        1 => addressed(draft).finished(),
        2 => addressed(draft).on_host_network(),
        _ => addressed(draft),
    }
}

/// Kinds: not resolved, with a bad address, by DNS, dynamically, static with endpoints, others, a selector, one that
/// selects nothing.
pub(super) fn entry(ns: u8, name: u8, hosts: u8, kind: u8) -> Draft<ServiceEntry> {
    let draft = draft::service_entry(&ns_name(ns), &format!("e{name}")).resolution(super::resolution(kind));
    let claimed = (0..HOSTS).filter(|at| hosts & 1 << at != 0).map(|at| host(ns, at));
    let draft = claimed.fold(draft, |draft, host| draft.host(&host));
    match kind {
        0 => draft.address("10.3.0.1"),
        1 => draft.address("10.3.0.1").address("nowhere"),
        2 => draft.allocated(Some(&host(ns, 0)), "240.0.0.1").allocated(None, "240.0.0.2"),
        3 => draft.allocated(None, "240.0.0.2"),
        4 => {
            let named = at("10.4.0.2").label(USE_WAYPOINT, &gateway_name(0)).service_account("sa0");
            draft.address("10.3.0.2").endpoint(at("10.4.0.1")).endpoint(named)
        }
        5 => {
            draft.address("10.3.0.0/24").endpoint(at("10.4.0.1").label(USE_WAYPOINT, "none")).endpoint(at("a.example"))
        }
        6 => draft.address("10.3.0.3").selecting("app", "0"),
        _ => draft.selecting_nothing(),
    }
}

pub(super) fn workload_entry(ns: u8, name: u8, kind: u8) -> Draft<WorkloadEntry> {
    let draft = draft::workload_entry(&ns_name(ns), &format!("m{name}"));
    match kind {
        0 => draft.address("vm.example"),
        1 => draft.address("10.5.0.1").label("app", "0"),
        2 => draft.address("10.5.0.1").service_account("sa1").spec_label(GATEWAY_NAME, &gateway_name(0)),
        _ => draft.address("10.5.0.2").spec_label(USE_WAYPOINT, &gateway_name(1)),
    }
}

pub(super) fn slice(
    ns: u8,
    name: u8,
    service: Option<u8>,
    addresses: u8,
    pods: impl Iterator<Item = u8>,
) -> Draft<EndpointSlice> {
    let draft = draft::endpoint_slice(&ns_name(ns), &format!("l{name}"));
    let draft = service.into_iter().fold(draft, |draft, name| draft.of_service(&format!("s{name}")));
    let draft = draft.pods(pods.map(|at| format!("p{at}")));
    let addresses = (0..2).filter(|at| addresses & 1 << at != 0);
    addresses.fold(draft, |draft, at| draft.address(&format!("10.6.0.{at}")))
}

pub(super) fn policy(ns: u8, denies: bool) -> Draft<AuthorizationPolicy> {
    let draft = draft::authorization_policy(&ns_name(ns), "a0");
    if denies { draft.annotation("note", "denies") } else { draft }
}

/// How many MeshConfigs there are.
pub(super) const MESHES: u8 = 7;

/// What may be discovered, and who sees entries, by the label of their namespace.
pub fn mesh_config(config: u8) -> Mesh {
    let team = |team: &str| Selector { labels: [(TEAM, team)].into_iter().collect(), ..Selector::default() };
    let policy = |visibility, team| VisibilityPolicy { visibility, rules: vec![Some(team)] };
    let seen = |default, policies| Some(EntryVisibilityRules { default, policies });
    let (discovery_selectors, entry_visibility) = match config {
        0 => (vec![], None),
        1 => (vec![team("0")], None),
        2 => (vec![team("0"), team("1")], None),
        3 => (vec![], seen(EntryVisibility::Namespace, vec![])),
        4 => (vec![], seen(EntryVisibility::Public, vec![policy(EntryVisibility::Namespace, team("0"))])),
        5 => (vec![], seen(EntryVisibility::Public, vec![policy(EntryVisibility::None, team("1"))])),
        _ => (vec![team("0")], seen(EntryVisibility::None, vec![policy(EntryVisibility::Public, team("0"))])),
    };
    Mesh { discovery_selectors, entry_visibility, ..Mesh::default() }
}
