//! The rules: which holes a destination has. One function for each, in the order of the codes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::decision::{Choice, Decision, OnUnreachable};
use crate::gateway::GatewayKey;
use crate::input::Visibility;
use crate::name::Name;
use crate::object::{Kind, ObjectKey};
use crate::policy::{AuthorizationPolicy, PolicyTarget};
use crate::store::RowObject;
use crate::table::{RowKey, RowKind};

use super::clients::{AMBIENT, ClientKind, Clients, DATAPLANE_MODE};
use super::enforcement::Guard;
use super::fixes::{Fix, OnlyThrough, admit, label_each, name_waypoint, serve, waypoint_for_pods};
use super::mesh::Mesh;
use super::{Code, Destination, Hole, Severity, What};

/// Label of a service or namespace: gateways go through the waypoint as well (R70).
const INGRESS_USE_WAYPOINT: &str = "istio.io/ingress-use-waypoint";
/// Label of a subject or namespace: its traffic fails rather than go past a waypoint. Of the default component, not Istio's.
const WAYPOINT_REQUIRED: &str = "wayswitch.io/waypoint-required";
/// Hosts and services that a detail names.
const NAMED_MAX: usize = 3;

/// A destination in the making.
struct Sought<'a, 'm> {
    mesh: &'a Mesh<'m>,
    decision: &'a Decision,
    namespace: &'a Name,
    /// Its waypoints; where it goes through none, those it may mean.
    waypoints: BTreeSet<GatewayKey>,
    guard: Guard,
    policy: Option<OnlyThrough>,
    holes: Vec<Hole>,
}

pub(super) fn of_service(mesh: &Mesh<'_>, key: &RowKey, decision: &Arc<Decision>) -> Destination {
    let waypoints = mesh.meant(key);
    let workloads = mesh.workloads_of(key);
    let (principals, _) = mesh.principals(&mesh.waypoints_before(workloads, &waypoints));
    let guard = mesh.guard(Some(key), workloads, &principals);
    let policy = OnlyThrough::for_service(mesh, key, &guard, &waypoints);
    let mut sought = Sought { mesh, decision, namespace: &key.namespace, waypoints, guard, policy, holes: Vec::new() };
    match decision.choice {
        Choice::Direct if decision.reason.is_some() => {
            sought.refused(Some(key));
        }
        Choice::Waypoints(_) | Choice::Blocked => {
            sought.may_bypass(sought.seen_by(key));
            sought.headless(key);
            sought.no_service_address(key);
            sought.shadowed(key);
            sought.workload_addressed(key);
            sought.sidecars();
            sought.gateways(key);
            sought.outside();
            sought.unenforced();
            sought.canary();
        }
        Choice::Direct | Choice::Keep => {}
    }
    sought.finish(What::Service(key.clone()), decision)
}

/// None without any row.
pub(super) fn of_workloads(mesh: &Mesh<'_>, rows: Vec<RowKey>) -> Option<Destination> {
    let first = rows.first()?;
    let (namespace, decision) = (first.namespace.clone(), Arc::clone(&mesh.table.get(first)?.decision));
    let keys: BTreeSet<RowKey> = rows.iter().cloned().collect();
    let waypoints: BTreeSet<GatewayKey> = rows.iter().flat_map(|row| mesh.meant(row)).collect();
    let (principals, _) = mesh.principals(&mesh.waypoints_before(&keys, &waypoints));
    let guard = mesh.guard(None, &keys, &principals);
    let policy = OnlyThrough::for_workloads(mesh, &namespace, &keys, &guard, &waypoints);
    let (of, holes) = (&namespace, Vec::new());
    let mut sought = Sought { mesh, decision: &decision, namespace: of, waypoints, guard, policy, holes };
    if decision.choice == Choice::Direct {
        sought.refused(None);
    } else {
        sought.may_bypass(mesh.census.of(ClientKind::Captured, None));
        sought.no_workload_address(&keys);
        sought.service_addressed(&keys);
        sought.sidecars();
        sought.gateways_to_workloads(&keys);
        sought.outside();
        sought.unenforced();
    }
    Some(sought.finish(What::Workloads { namespace: namespace.clone(), rows }, &decision))
}

impl Sought<'_, '_> {
    fn finish(self, what: What, decision: &Arc<Decision>) -> Destination {
        let Self { guard, mut holes, policy, .. } = self;
        holes.sort_by_key(|hole| hole.code);
        Destination { what, decision: Arc::clone(decision), guard, holes, policy }
    }

    fn add(&mut self, code: Code, rule: &'static str, severity: Severity, clients: Arc<Clients>, mut fixes: Vec<Fix>) {
        if fixes.is_empty() {
            let fix = "keep them out by a NetworkPolicy, or by the destination itself; neither is looked at here";
            fixes.push(Fix::Other(fix.to_owned()));
        }
        let closed = code.ends_at_workload() && self.guard.is_closed();
        self.holes.push(Hole { code, rule, detail: String::new(), severity, clients, closed, fixes });
    }

    /// Says what is special about the last one.
    fn detail(&mut self, text: String) {
        if let Some(hole) = self.holes.last_mut() {
            hole.detail = text;
        }
    }

    /// The policy, if there is one to apply, behind what closes this hole alone.
    fn or_policy(&self, mut fixes: Vec<Fix>) -> Vec<Fix> {
        fixes.extend(self.policy.is_some().then_some(Fix::Policy));
        fixes
    }

    fn first_waypoint(&self) -> Option<&GatewayKey> {
        self.decision.targets().first().map(|target| &target.gateway).or_else(|| self.waypoints.first())
    }

    /// Clients whose ztunnel knows the service: those of its namespace only, where only that sees it (R117).
    fn seen_by(&self, key: &RowKey) -> Arc<Clients> {
        let row = self.mesh.table.get(key);
        let own_only = row.is_some_and(|row| row.input.visibility == Visibility::OwnNamespace);
        self.mesh.census.of(ClientKind::Captured, own_only.then_some(&key.namespace))
    }

    fn refused(&mut self, service: Option<&RowKey>) {
        let traffic = if service.is_some() { "service" } else { "workload" };
        let one = || self.waypoints.first().filter(|_| self.waypoints.len() == 1);
        let mut fixes = match self.decision.reason.as_deref() {
            Some("WaypointIsNotReady") => vec![Fix::Other(
                "see to it that the Gateway it names exists and reports an address, or name one that does".to_owned(),
            )],
            Some("AttachmentDenied") => {
                let waypoint = one().map_or_else(|| "that it names".to_owned(), ToString::to_string);
                vec![admit(self.namespace, &waypoint)]
            }
            Some("UnsupportedTrafficType") => {
                one().map_or_else(Vec::new, |waypoint| serve(self.mesh, waypoint, traffic))
            }
            Some("CrossNamespaceWaypointForbidden") => {
                vec![Fix::Other(format!("name a waypoint of namespace {}", self.namespace))]
            }
            _ => vec![Fix::Other("`wayswitch explain` says what it takes".to_owned())],
        };
        let (on, value) = match service {
            Some(service) => (service.object(), "true"),
            None => (ObjectKey::new(Kind::Namespace, "", self.namespace), "workload"),
        };
        fixes.push(Fix::Label { on, key: WAYPOINT_REQUIRED, value: value.into() });
        let clients = self.mesh.census.everybody();
        self.add(Code::Refused, "R92", Severity::High, clients, fixes);
        self.detail(self.decision.reason.as_deref().unwrap_or_default().to_owned());
    }

    fn may_bypass(&mut self, clients: Arc<Clients>) {
        if self.decision.targets().is_empty() || self.decision.on_unreachable == OnUnreachable::Fail {
            return;
        }
        let now = self.decision.is_unresolved();
        let severity = if now { Severity::High } else { Severity::Medium };
        let fix = "decide that connections fail while the waypoint cannot be reached (setting \"unreachable\" of the \
                   default component, --unresolved of the host)";
        self.add(Code::MayBypass, "R92", severity, clients, self.or_policy(vec![Fix::Other(fix.to_owned())]));
        if now {
            self.detail("no address of its waypoint is known, so this is so now".to_owned());
        }
    }

    fn headless(&mut self, key: &RowKey) {
        let Some(RowObject::Service(service)) = self.mesh.store.row(key) else { return };
        let workloads = self.mesh.workloads_of(key);
        if !service.headless || !workloads.is_empty() && self.past(workloads).is_empty() {
            return;
        }
        let fixes = self.waypoint_for_pods();
        self.add(Code::Headless, "R33", Severity::High, self.seen_by(key), self.or_policy(fixes));
    }

    /// Of these workloads those that are reached without the waypoint when they are dialled themselves.
    fn past<'w>(&self, workloads: &'w BTreeSet<RowKey>) -> Vec<&'w RowKey> {
        workloads.iter().filter(|workload| !self.mesh.is_behind(workload, &self.waypoints)).collect()
    }

    fn waypoint_for_pods(&self) -> Vec<Fix> {
        let waypoint = self.first_waypoint();
        waypoint.map_or_else(Vec::new, |waypoint| waypoint_for_pods(self.mesh, waypoint, self.namespace))
    }

    fn no_service_address(&mut self, key: &RowKey) {
        let (detail, fix) = match self.mesh.store.row(key) {
            Some(RowObject::Service(service)) if !service.headless && service.addresses.is_empty() => {
                ("it has no cluster IP".to_owned(), "wait until the Service has a cluster IP".to_owned())
            }
            Some(RowObject::ServiceEntry { entry, hosts, .. }) => {
                let without: Vec<&Name> = hosts.iter().filter(|host| entry.addresses_of(host).is_empty()).collect();
                if without.is_empty() {
                    return;
                }
                let fix = "write spec.addresses, or have addresses allocated: that takes a resolution other than NONE, \
                           for a wildcard DYNAMIC_DNS";
                (some(without), fix.to_owned())
            }
            _ => return,
        };
        let fixes = self.or_policy(vec![Fix::Other(fix)]);
        self.add(Code::NoAddress, "R37", Severity::High, self.seen_by(key), fixes);
        self.detail(detail);
    }

    fn no_workload_address(&mut self, rows: &BTreeSet<RowKey>) {
        let is_dialled = |row: &&RowKey| {
            let subject = self.mesh.table.get(row).map(|row| &row.subject);
            subject.is_some_and(|subject| subject.dialled_by_address && !subject.addresses.is_empty())
        };
        let without: Vec<&RowKey> = rows.iter().filter(|row| !is_dialled(row)).collect();
        if without.is_empty() {
            return;
        }
        let detail = some(without);
        let clients = self.mesh.census.of(ClientKind::Captured, None);
        let fix = "give the Service in front of them the waypoint: they are not looked up by their own addresses";
        self.add(Code::NoAddress, "R97", Severity::High, clients, self.or_policy(vec![Fix::Other(fix.to_owned())]));
        self.detail(detail);
    }

    /// Clients of a namespace with an entry of its own for the host mean that one (R44).
    fn shadowed(&mut self, key: &RowKey) {
        let Some(row) = self.mesh.table.get(key) else { return };
        let store = self.mesh.store;
        let mut shadows: BTreeSet<RowKey> = BTreeSet::new();
        for host in row.subject.hosts.iter() {
            let is_canonical = store.service_of_host(host, &"".into()).as_ref() == Some(key);
            for winner in store.hosts().winners(host).filter(|_| is_canonical) {
                let meant = store.service_of_host(host, &winner.namespace);
                shadows.extend(meant.filter(|meant| meant != key && meant.namespace == winner.namespace));
            }
        }
        shadows.retain(|shadow| !self.mesh.is_behind(shadow, &self.waypoints));
        for shadow in shadows {
            let clients = self.mesh.census.of(ClientKind::Captured, Some(&shadow.namespace));
            let waypoint = self.first_waypoint();
            let fixes = waypoint.map(|waypoint| name_waypoint(self.mesh, &shadow.object(), waypoint));
            self.add(Code::Shadowed, "R44", of_clients(&clients), clients, fixes.unwrap_or_default());
            self.detail(format!("in namespace {} {shadow} is meant", shadow.namespace));
        }
    }

    fn service_addressed(&mut self, rows: &BTreeSet<RowKey>) {
        let in_front: BTreeSet<&RowKey> = rows.iter().flat_map(|row| self.mesh.services_of(row)).collect();
        let is_direct = |service: &&&RowKey| {
            self.mesh.decision(service).is_some_and(|it| matches!(it.choice, Choice::Direct | Choice::Keep))
        };
        let direct: Vec<&RowKey> = in_front.iter().filter(is_direct).copied().collect();
        if direct.is_empty() {
            return;
        }
        let mut fixes = Vec::new();
        if let Some(waypoint) = self.first_waypoint() {
            fixes.extend(serve(self.mesh, waypoint, "service"));
            let named = |service: &&RowKey| name_waypoint(self.mesh, &service.object(), waypoint);
            fixes.extend(direct.iter().take(NAMED_MAX).flat_map(named));
        }
        let detail = some(direct);
        let clients = self.mesh.census.of(ClientKind::Captured, None);
        self.add(Code::ServiceAddressed, "R87", of_clients(&clients), clients, self.or_policy(fixes));
        self.detail(detail);
    }

    fn workload_addressed(&mut self, key: &RowKey) {
        let is_headless = matches!(self.mesh.store.row(key), Some(RowObject::Service(service)) if service.headless);
        let workloads = self.mesh.workloads_of(key);
        let past = self.past(workloads);
        // A headless one is reached like this by everybody: that is told already.
        if past.is_empty() || is_headless {
            return;
        }
        let detail = format!("{} of {} workloads", past.len(), workloads.len());
        // Endpoints that are no Pod take a waypoint from labels of their own, if at all (R53, R54, R57).
        let are_pods = past.iter().all(|workload| workload.kind == RowKind::Pod);
        let fixes = if are_pods { self.waypoint_for_pods() } else { Vec::new() };
        let clients = self.mesh.census.of(ClientKind::Captured, None);
        self.add(Code::WorkloadAddressed, "R59", Severity::Medium, clients, self.or_policy(fixes));
        self.detail(detail);
    }

    fn sidecars(&mut self) {
        let clients = self.mesh.census.of(ClientKind::Sidecar, None);
        if clients.is_empty() {
            return;
        }
        let fix = "move these clients from sidecars to ambient".to_owned();
        self.add(Code::Sidecar, "R75", of_clients(&clients), clients, self.or_policy(vec![Fix::Other(fix)]));
    }

    fn gateways(&mut self, key: &RowKey) {
        let clients = self.mesh.census.of(ClientKind::Gateway, None);
        let has_address = match self.mesh.store.row(key) {
            Some(RowObject::Service(service)) => !service.addresses.is_empty(),
            Some(RowObject::ServiceEntry { entry, hosts, .. }) => {
                hosts.iter().all(|host| !entry.addresses_of(host).is_empty())
            }
            _ => false,
        };
        let address = self.decision.targets().first().and_then(|target| target.address.as_ref());
        let (rule, fix) = if clients.is_empty() {
            return;
        } else if !self.decision.ingress {
            ("R70", Fix::Label { on: key.object(), key: INGRESS_USE_WAYPOINT, value: "true".into() })
        } else if !has_address {
            ("R72", Fix::Other("give the service an address: gateways follow a waypoint only with one".to_owned()))
        } else if !self.mesh.gateways_find(address) {
            let fix = "have the Gateway report a hostname, or the address of a Service: gateways find no other";
            ("R74", Fix::Other(fix.to_owned()))
        } else {
            return;
        };
        self.add(Code::Gateway, rule, of_clients(&clients), clients, self.or_policy(vec![fix]));
    }

    /// Gateways follow the waypoint of a service, never that of a workload.
    fn gateways_to_workloads(&mut self, rows: &BTreeSet<RowKey>) {
        let clients = self.mesh.census.of(ClientKind::Gateway, None);
        let mut services = rows.iter().flat_map(|row| self.mesh.services_of(row));
        let follows =
            |service: &RowKey| self.mesh.decision(service).is_some_and(|it| it.choice == Choice::Blocked || it.ingress);
        if clients.is_empty() || services.all(follows) {
            return;
        }
        let fix = format!("give the Services in front of them a waypoint, and set {INGRESS_USE_WAYPOINT}=true there");
        self.add(Code::Gateway, "R72", of_clients(&clients), clients, self.or_policy(vec![Fix::Other(fix)]));
    }

    fn outside(&mut self) {
        let clients = self.mesh.census.of(ClientKind::HostNetwork, None);
        if !clients.is_empty() {
            self.add(Code::HostNetwork, "R93", of_clients(&clients), clients, self.or_policy(Vec::new()));
        }
        let clients = self.mesh.census.of(ClientKind::NotCaptured, None);
        if !clients.is_empty() {
            let namespaces = clients.namespaces.keys().map(|name| ObjectKey::new(Kind::Namespace, "", name)).collect();
            let fixes = label_each(namespaces, DATAPLANE_MODE, AMBIENT);
            self.add(Code::NotCaptured, "R93", of_clients(&clients), clients, self.or_policy(fixes));
        }
    }

    fn unenforced(&mut self) {
        if self.guard.is_closed() {
            return;
        }
        let reasons = self.guard.open.iter().map(|(why, count)| format!("{count} of {}: {why}", self.guard.workloads));
        let mut detail = reasons.collect::<Vec<_>>().join("; ");
        if self.guard.workloads == 0 {
            detail = "no workload of it is known".to_owned();
        }
        self.add(Code::Unenforced, "R93", Severity::Low, Arc::default(), self.or_policy(Vec::new()));
        self.detail(detail);
    }

    fn canary(&mut self) {
        let Some((first, others)) = self.decision.targets().split_first() else { return };
        let used: Vec<String> = others
            .iter()
            .filter(|target| target.weight > 0 && target.gateway != first.gateway)
            .map(|target| format!("{}% through {}", target.weight, target.gateway))
            .collect();
        if used.is_empty() {
            return;
        }
        let elsewhere = |policy: &&AuthorizationPolicy| {
            is_attached(policy, &first.gateway) && !others.iter().all(|other| is_attached(policy, &other.gateway))
        };
        let policies = self.mesh.store.policies().filter(elsewhere);
        let missing: Vec<String> = policies.map(|it| format!("{}/{}", it.meta.namespace, it.meta.name)).collect();
        let severity = if missing.is_empty() { Severity::Low } else { Severity::Medium };
        let clients = self.mesh.census.of(ClientKind::Captured, None);
        let fix = "attach to the second waypoint what is attached to the first".to_owned();
        self.add(Code::Canary, "R64", severity, clients, vec![Fix::Other(fix)]);
        let without = if missing.is_empty() { "" } else { ", without " };
        self.detail(format!("{}{without}{}", used.join(", "), some(missing)));
    }
}

/// Whether a policy is the waypoint's to enforce by its name (R119).
fn is_attached(policy: &AuthorizationPolicy, waypoint: &GatewayKey) -> bool {
    let names = |target: &PolicyTarget| &*target.kind == "Gateway" && target.name == waypoint.name;
    policy.meta.namespace == waypoint.namespace && policy.targets.iter().any(names)
}

fn of_clients(clients: &Clients) -> Severity {
    if clients.is_empty() { Severity::Low } else { Severity::High }
}

/// The first few of a list.
fn some<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let named = all.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}
