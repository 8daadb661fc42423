//! Generated histories: what may happen to a small mesh, in any order, so that the same few objects come, change, go and
//! come back. Small on purpose: with two Gateways in each of three namespaces nearly every event concerns somebody, and with
//! two ServiceEntries and two Services for four hosts nearly every host is disputed.

use std::fmt;

use model::object::{Kind, ObjectKey};
use model::service_entry::Resolution;
use model::store::Changes;
use model::{Event, Mesh, Object, Store};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

mod words;
use words::{ADMISSIONS, HOSTS, MESHES, REPORTS};
pub use words::{Says, mesh_config};

/// What happened, step by step. The operations of a step are applied as one set of changes; the first step is a mesh.
#[derive(Clone)]
pub struct History {
    /// The steps.
    pub steps: Vec<Vec<Operation>>,
}

/// One event, in the fewest words: shrinking works on these numbers.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A Namespace is now like this.
    Namespace { ns: u8, says: Says, team: Option<u8> },
    /// A GatewayClass is now like this.
    Class { class: u8, serves: Option<u8> },
    /// A Gateway is now like this.
    Gateway { ns: u8, name: u8, class: u8, serves: Option<u8>, admits: u8, reports: u8 },
    /// A Service is now like this.
    Service { ns: u8, name: u8, says: Says, managed: bool, kind: u8, selects: Option<u8> },
    /// A Pod is now like this.
    Pod { ns: u8, name: u8, says: Says, instance_of: Option<u8>, account: u8, ip: u8, state: u8, app: Option<u8> },
    /// A ServiceEntry is now like this; `hosts` is a set of bits.
    Entry { ns: u8, name: u8, says: Says, hosts: u8, created: Option<u8>, kind: u8, revision: Option<u8> },
    /// A WorkloadEntry is now like this.
    WorkloadEntry { ns: u8, name: u8, says: Says, in_spec: bool, kind: u8, revision: Option<u8> },
    /// An EndpointSlice is now like this; `addresses` and `pods` are sets of bits.
    Slice { ns: u8, name: u8, service: Option<u8>, addresses: u8, pods: u8 },
    /// An AuthorizationPolicy is now like this: nothing depends on it.
    Policy { ns: u8, action: bool },
    /// A PeerAuthentication is now like this: nothing that is decided depends on it.
    Peer { ns: u8, name: u8, app: Option<u8>, mode: u8, ports: u8, created: u8, revision: Option<u8> },
    /// A Node is now in this zone, or in none.
    Node { node: u8, zone: u8 },
    /// MeshConfig is now this one.
    Mesh { config: u8 },
    /// An object is gone, if it was there.
    Delete { kind: Kind, ns: u8, name: u8 },
}

const NAMESPACES: u8 = 3;
const CLASSES: u8 = 2;
const GATEWAYS: u8 = 2;
const SERVICES: u8 = 2;
const PODS: u8 = 3;
const ENTRIES: u8 = 2;
const WORKLOAD_ENTRIES: u8 = 2;
const SLICES: u8 = 2;
const NODES: u8 = 2;
const PEERS: u8 = 3;

/// How many objects of a kind a namespace, or the cluster, may have.
fn count(kind: Kind) -> u8 {
    match kind {
        Kind::Namespace | Kind::AuthorizationPolicy => 1,
        Kind::GatewayClass => CLASSES,
        Kind::Gateway => GATEWAYS,
        Kind::Service => SERVICES,
        Kind::Pod => PODS,
        Kind::ServiceEntry => ENTRIES,
        Kind::WorkloadEntry => WORKLOAD_ENTRIES,
        Kind::EndpointSlice => SLICES,
        Kind::Node => NODES,
        Kind::PeerAuthentication => PEERS,
    }
}

/// Histories of up to `steps` steps after the first.
pub fn histories(steps: usize) -> impl Strategy<Value = History> {
    let mesh = vec(change(), 1..40);
    let later = vec(vec(operation(), 1..4), 1..steps);
    (mesh, later).prop_map(|(mesh, later)| History { steps: std::iter::once(mesh).chain(later).collect() })
}

/// Three of ten take something away; it comes back when its few numbers are drawn again.
fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![7 => change(), 3 => deletion()]
}

fn deletion() -> impl Strategy<Value = Operation> {
    // What there are fewer of is met as often.
    (prop::sample::select(Kind::ALL.to_vec()), 0..NAMESPACES, 0..PODS).prop_map(|(kind, ns, name)| Operation::Delete {
        kind,
        ns,
        name: name % count(kind),
    })
}

fn change() -> impl Strategy<Value = Operation> {
    let serves = || option::of(0..3_u8);
    let revision = || option::weighted(0.2, 0..2_u8);
    let ns = || 0..NAMESPACES;
    let namespace = (ns(), says(), option::of(0..2_u8));
    let class = (0..CLASSES, serves());
    let gateway = (ns(), 0..GATEWAYS, 0..=CLASSES, serves(), 0..ADMISSIONS, 0..REPORTS);
    let service = (ns(), 0..SERVICES, says(), prop::bool::weighted(0.1), 0..7_u8, option::of(0..2_u8));
    let pod =
        (ns(), 0..PODS, says(), option::weighted(0.2, 0..GATEWAYS), 0..2_u8, 0..4_u8, 0..8_u8, option::of(0..2_u8));
    let entry = (ns(), 0..ENTRIES, says(), 0..(1_u8 << HOSTS), option::of(0..3_u8), 0..8_u8, revision());
    let workload_entry = (ns(), 0..WORKLOAD_ENTRIES, says(), any::<bool>(), 0..4_u8, revision());
    let slice = (ns(), 0..SLICES, option::weighted(0.8, 0..SERVICES), 0..4_u8, 0..(1_u8 << PODS));
    let peer = (ns(), 0..PEERS, option::of(0..3_u8), 0..4_u8, 0..16_u8, 0..3_u8, revision());
    prop_oneof![
        3 => namespace.prop_map(|(ns, says, team)| Operation::Namespace { ns, says, team }),
        1 => class.prop_map(|(class, serves)| Operation::Class { class, serves }),
        4 => gateway.prop_map(|(ns, name, class, serves, admits, reports)| {
            Operation::Gateway { ns, name, class, serves, admits, reports }
        }),
        4 => service.prop_map(|(ns, name, says, managed, kind, selects)| {
            Operation::Service { ns, name, says, managed, kind, selects }
        }),
        4 => pod.prop_map(|(ns, name, says, instance_of, account, ip, state, app)| {
            Operation::Pod { ns, name, says, instance_of, account, ip, state, app }
        }),
        5 => entry.prop_map(|(ns, name, says, hosts, created, kind, revision)| {
            Operation::Entry { ns, name, says, hosts, created, kind, revision }
        }),
        2 => workload_entry.prop_map(|(ns, name, says, in_spec, kind, revision)| {
            Operation::WorkloadEntry { ns, name, says, in_spec, kind, revision }
        }),
        2 => slice.prop_map(|(ns, name, service, addresses, pods)| {
            Operation::Slice { ns, name, service, addresses, pods }
        }),
        1 => (ns(), any::<bool>()).prop_map(|(ns, action)| Operation::Policy { ns, action }),
        2 => peer.prop_map(|(ns, name, app, mode, ports, created, revision)| {
            Operation::Peer { ns, name, app, mode, ports, created, revision }
        }),
        2 => (0..NODES, 0..3_u8).prop_map(|(node, zone)| Operation::Node { node, zone }),
        2 => (0..MESHES).prop_map(|config| Operation::Mesh { config }),
    ]
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        4 => Just(Says::Nothing),
        1 => Just(Says::OptOut),
        4 => (0..GATEWAYS, option::of(0..NAMESPACES)).prop_map(|(name, ns)| Says::Waypoint(name, ns)),
    ]
}

/// What an operation does to a store.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An object came, changed or went.
    Event(Event),
    /// MeshConfig is now this.
    Mesh(Mesh),
}

impl Effect {
    /// Carries it out.
    pub fn apply(self, store: &mut Store) -> Changes {
        match self {
            Self::Event(event) => store.apply(event),
            Self::Mesh(mesh) => store.set_mesh(mesh),
        }
    }
}

impl Operation {
    /// What it does.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Delete { kind, ns, name } => Effect::Event(Event::Delete(deleted(*kind, *ns, *name))),
            Self::Mesh { config } => Effect::Mesh(mesh_config(*config)),
            change => Effect::Event(Event::Apply(change.object())),
        }
    }

    fn object(&self) -> Object {
        match self {
            Self::Namespace { ns, says, team } => words::namespace(*ns, says, *team).into(),
            Self::Class { class, serves } => words::class(*class, *serves).into(),
            Self::Gateway { ns, name, class, serves, admits, reports } => {
                words::gateway(*ns, *name, *class, *serves, *admits, *reports).into()
            }
            Self::Service { ns, name, says, managed, kind, selects } => {
                words::service(*ns, *name, says, *managed, *kind, *selects).into()
            }
            Self::Pod { ns, name, says, instance_of, account, ip, state, app } => {
                let draft = words::pod(*ns, *name, *account, *ip, *state);
                words::instance(words::app(words::said(draft, says), *app), *instance_of).into()
            }
            Self::Entry { ns, name, says, hosts, created, kind, revision } => {
                let draft = words::entry(*ns, *name, *hosts, *kind);
                let draft = created.iter().fold(draft, |draft, created| draft.created((*created).into()));
                words::revised(words::said(draft, says), *revision).into()
            }
            Self::WorkloadEntry { ns, name, says, in_spec, kind, revision } => {
                let draft = words::workload_entry(*ns, *name, *kind);
                let draft = if *in_spec { words::said_in_spec(draft, says) } else { words::said(draft, says) };
                words::revised(draft, *revision).into()
            }
            Self::Slice { ns, name, service, addresses, pods } => {
                words::slice(*ns, *name, *service, *addresses, (0..PODS).filter(|at| pods & 1 << at != 0)).into()
            }
            Self::Policy { ns, action } => words::policy(*ns, *action).into(),
            Self::Node { node, zone } => words::node(*node, *zone).into(),
            Self::Peer { ns, name, app, mode, ports, created, revision } => {
                words::revised(words::peer(*ns, *name, *app, *mode, *ports, *created), *revision).into()
            }
            Self::Mesh { .. } | Self::Delete { .. } => unreachable!("only changes have an object"),
        }
    }
}

fn deleted(kind: Kind, ns: u8, name: u8) -> ObjectKey {
    let letter = match kind {
        Kind::Namespace => return ObjectKey::new(kind, "", &words::ns_name(ns)),
        Kind::GatewayClass => return ObjectKey::new(kind, "", &words::class_name(name)),
        Kind::Node => return ObjectKey::new(kind, "", &words::node_name(name)),
        Kind::Gateway => 'w',
        Kind::Service => 's',
        Kind::Pod => 'p',
        Kind::ServiceEntry => 'e',
        Kind::WorkloadEntry => 'm',
        Kind::EndpointSlice => 'l',
        Kind::AuthorizationPolicy => 'a',
        Kind::PeerAuthentication => 'i',
    };
    ObjectKey::new(kind, &words::ns_name(ns), &format!("{letter}{name}"))
}

/// The event log, a step a line.
impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{at:>4}  {step:?}")?;
        }
        Ok(())
    }
}

/// How the entries of a history are resolved, by the number of their kind.
fn resolution(kind: u8) -> Resolution {
    match kind {
        0 | 1 => Resolution::None,
        2 => Resolution::Dns,
        3 => Resolution::DynamicDns,
        _ => Resolution::Static,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_is_what_was_put_in() {
        let all = [
            Operation::Namespace { ns: 1, says: Says::Nothing, team: None },
            Operation::Class { class: 1, serves: None },
            Operation::Gateway { ns: 1, name: 1, class: 0, serves: None, admits: 0, reports: 0 },
            Operation::Service { ns: 1, name: 1, says: Says::Nothing, managed: false, kind: 0, selects: None },
            Operation::Pod {
                ns: 1,
                name: 1,
                says: Says::Nothing,
                instance_of: None,
                account: 0,
                ip: 0,
                state: 0,
                app: None,
            },
            Operation::Entry { ns: 1, name: 1, says: Says::Nothing, hosts: 1, created: None, kind: 0, revision: None },
            Operation::WorkloadEntry { ns: 1, name: 1, says: Says::Nothing, in_spec: false, kind: 0, revision: None },
            Operation::Slice { ns: 1, name: 1, service: None, addresses: 0, pods: 0 },
            Operation::Node { node: 1, zone: 1 },
            Operation::Peer { ns: 1, name: 1, app: None, mode: 3, ports: 0, created: 0, revision: None },
        ];
        let mut store = Store::default();
        for operation in &all {
            operation.effect().apply(&mut store);
            let kind = operation.object().kind();
            assert_eq!(store.len(), 1, "{operation:?}");
            Operation::Delete { kind, ns: 1, name: 1 }.effect().apply(&mut store);
            assert!(store.is_empty(), "{operation:?}");
        }
    }
}
