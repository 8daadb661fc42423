//! Generated histories: what may happen to a small mesh, in any order, so that the same few objects come, change, go and
//! come back. Small on purpose: with two Gateways in each of three namespaces nearly every event concerns somebody.

use std::fmt;

use model::object::{Kind, ObjectKey};
use model::{Event, Object};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::draft::{Draft, Drafted, ListenerDraft, gateway, gateway_class, hbone, listener, namespace, pod, service};
use super::{GATEWAY_NAME, MANAGED, MESH_CONTROLLER, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

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
    Namespace { ns: u8, says: Words, team: Option<u8> },
    /// A GatewayClass is now like this.
    Class { class: u8, serves: Option<u8> },
    /// A Gateway is now like this.
    Gateway { ns: u8, name: u8, class: u8, serves: Option<u8>, admits: u8, reports: u8 },
    /// A Service is now like this.
    Service { ns: u8, name: u8, says: Words, managed: bool, kind: u8 },
    /// A Pod is now like this.
    Pod { ns: u8, name: u8, says: Words, instance_of: Option<u8>, account: u8, ip: u8, state: u8 },
    /// An object is gone, if it was there.
    Delete { kind: Kind, ns: u8, name: u8 },
}

/// What labels say about a waypoint: nothing, `none`, or a name and perhaps a namespace.
#[derive(Clone, Debug)]
pub enum Words {
    /// No such label.
    Nothing,
    /// The opt-out (R18).
    OptOut,
    /// A waypoint by its number, in a namespace by its number.
    Waypoint(u8, Option<u8>),
}

const NAMESPACES: u8 = 3;
const CLASSES: u8 = 2;
const GATEWAYS: u8 = 2;
const SERVICES: u8 = 3;
const PODS: u8 = 4;

/// Histories of up to `steps` steps after the first.
pub fn histories(steps: usize) -> impl Strategy<Value = History> {
    let mesh = vec(change(), 1..30);
    let later = vec(vec(operation(), 1..4), 1..steps);
    (mesh, later).prop_map(|(mesh, later)| History { steps: std::iter::once(mesh).chain(later).collect() })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![7 => change(), 3 => deletion()]
}

fn deletion() -> impl Strategy<Value = Operation> {
    let kinds = [Kind::Namespace, Kind::GatewayClass, Kind::Gateway, Kind::Service, Kind::Pod];
    (prop::sample::select(kinds.to_vec()), 0..NAMESPACES, 0..PODS).prop_map(|(kind, ns, name)| {
        // What there are fewer of is met as often.
        let name = name
            % match kind {
                Kind::Namespace => 1,
                Kind::GatewayClass => CLASSES,
                Kind::Gateway => GATEWAYS,
                Kind::Service => SERVICES,
                Kind::Pod => PODS,
            };
        Operation::Delete { kind, ns, name }
    })
}

fn change() -> impl Strategy<Value = Operation> {
    let serves = || option::of(0..3_u8);
    let ns = 0..NAMESPACES;
    let namespace = (ns.clone(), words(), option::of(0..2_u8));
    let class = (0..CLASSES, serves());
    let gateway = (ns.clone(), 0..GATEWAYS, 0..=CLASSES, serves(), 0..ADMISSIONS, 0..REPORTS);
    let service = (ns.clone(), 0..SERVICES, words(), prop::bool::weighted(0.1), 0..6_u8);
    let pod = (ns, 0..PODS, words(), option::weighted(0.2, 0..GATEWAYS), 0..2_u8, 0..4_u8, 0..8_u8);
    prop_oneof![
        2 => namespace.prop_map(|(ns, says, team)| Operation::Namespace { ns, says, team }),
        1 => class.prop_map(|(class, serves)| Operation::Class { class, serves }),
        3 => gateway.prop_map(|(ns, name, class, serves, admits, reports)| {
            Operation::Gateway { ns, name, class, serves, admits, reports }
        }),
        3 => service.prop_map(|(ns, name, says, managed, kind)| Operation::Service { ns, name, says, managed, kind }),
        4 => pod.prop_map(|(ns, name, says, instance_of, account, ip, state)| {
            Operation::Pod { ns, name, says, instance_of, account, ip, state }
        }),
    ]
}

fn words() -> impl Strategy<Value = Words> {
    prop_oneof![
        4 => Just(Words::Nothing),
        1 => Just(Words::OptOut),
        4 => (0..GATEWAYS, option::of(0..NAMESPACES)).prop_map(|(name, ns)| Words::Waypoint(name, ns)),
    ]
}

impl Operation {
    /// The event.
    pub fn event(&self) -> Event {
        match self {
            Self::Delete { kind, ns, name } => Event::Delete(deleted(*kind, *ns, *name)),
            change => Event::Apply(change.object()),
        }
    }

    fn object(&self) -> Object {
        match self {
            Self::Namespace { ns, says, team } => {
                let draft =
                    team.iter().fold(namespace(&ns_name(*ns)), |draft, team| draft.label("team", &team.to_string()));
                said(draft, says).into()
            }
            Self::Class { class, serves } => serving(gateway_class(&class_name(*class)), *serves).into(),
            Self::Gateway { ns, name, class, serves, admits, reports } => {
                let draft = gateway(&ns_name(*ns), &gateway_name(*name)).class(&class_name(*class));
                let draft = serving(draft, *serves).listeners(listeners(*admits));
                reported(draft, *reports).into()
            }
            Self::Service { ns, name, says, managed, kind } => {
                let draft = service(&ns_name(*ns), &format!("s{name}"));
                let draft = if *managed { draft.label(MANAGED, MESH_CONTROLLER) } else { draft };
                said(kind_of_service(draft, *kind), says).into()
            }
            Self::Pod { ns, name, says, instance_of, account, ip, state } => {
                let draft = pod(&ns_name(*ns), &format!("p{name}")).service_account(&format!("sa{account}"));
                let draft =
                    instance_of.iter().fold(draft, |draft, name| draft.label(GATEWAY_NAME, &gateway_name(*name)));
                said(pod_in_state(draft, *ip, *state), says).into()
            }
            Self::Delete { .. } => unreachable!("only changes have an object"),
        }
    }
}

fn ns_name(ns: u8) -> String {
    format!("ns{ns}")
}

fn gateway_name(name: u8) -> String {
    format!("w{name}")
}

/// The last one never exists.
fn class_name(class: u8) -> String {
    format!("class{class}")
}

fn deleted(kind: Kind, ns: u8, name: u8) -> ObjectKey {
    match kind {
        Kind::Namespace => ObjectKey::new(kind, "", &ns_name(ns)),
        Kind::GatewayClass => ObjectKey::new(kind, "", &class_name(name)),
        Kind::Gateway => ObjectKey::new(kind, &ns_name(ns), &gateway_name(name)),
        Kind::Service => ObjectKey::new(kind, &ns_name(ns), &format!("s{name}")),
        Kind::Pod => ObjectKey::new(kind, &ns_name(ns), &format!("p{name}")),
    }
}

fn said<T: Drafted>(draft: Draft<T>, words: &Words) -> Draft<T> {
    match words {
        Words::Nothing => draft,
        Words::OptOut => draft.label(USE_WAYPOINT, "none"),
        Words::Waypoint(name, None) => draft.label(USE_WAYPOINT, &gateway_name(*name)),
        Words::Waypoint(name, Some(ns)) => {
            draft.label(USE_WAYPOINT, &gateway_name(*name)).label(USE_WAYPOINT_NAMESPACE, &ns_name(*ns))
        }
    }
}

fn serving<T: Drafted>(draft: Draft<T>, serves: Option<u8>) -> Draft<T> {
    match serves {
        None => draft,
        Some(0) => draft.label(WAYPOINT_FOR, "all"),
        Some(1) => draft.label(WAYPOINT_FOR, "workload"),
        Some(_) => draft.label(WAYPOINT_FOR, "service"),
    }
}

const ADMISSIONS: u8 = 7;

fn listeners(admits: u8) -> Vec<ListenerDraft> {
    match admits {
        0 => vec![hbone().from_all()],
        1 => vec![hbone()],
        2 => vec![hbone().from_namespaces_with([("team", "0")])],
        3 => vec![hbone().from_namespaces_with([("team", "1")]), listener(80, "HTTP").from("None")],
        4 => vec![hbone().from_namespaces_where("team", "DoesNotExist", &[])],
        5 => vec![listener(80, "HTTP").from_all()],
        _ => Vec::new(),
    }
}

const REPORTS: u8 = 5;

fn reported(draft: Draft<model::Gateway>, reports: u8) -> Draft<model::Gateway> {
    match reports {
        0 => draft,
        1 => draft.address("10.0.0.1"),
        2 => draft.address("10.0.0.2").hostname("w.example"),
        3 => draft.address("2001:db8::1").address("10.0.0.1"),
        _ => draft.status_address(None, "10.0.0.1"),
    }
}

fn kind_of_service(draft: Draft<model::Service>, kind: u8) -> Draft<model::Service> {
    match kind {
        0 => draft.external_name(),
        1 => draft.bad_address("nowhere"),
        2 => draft,
        3 => draft.address("10.1.0.1").address("2001:db8::2"),
        _ => draft.address("10.1.0.1"),
    }
}

fn pod_in_state(draft: Draft<model::Pod>, ip: u8, state: u8) -> Draft<model::Pod> {
    let addressed = |draft: Draft<model::Pod>| draft.address(&format!("10.2.0.{ip}"));
    match state {
        0 => draft,
        1 => addressed(draft).finished(),
        2 => addressed(draft).on_host_network(),
        _ => addressed(draft),
    }
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
