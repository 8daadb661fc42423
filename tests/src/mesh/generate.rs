//! A mesh of a given size, as one finds them: most namespaces have one waypoint for all, a few objects differ from their
//! namespace, and many Pods of one Deployment are alike. The same seed gives the same mesh. It is a stream: what is held is
//! a plan of the namespaces, and the objects of one application.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use model::policy::PolicyTarget;
use model::service_entry::Resolution;
use model::{AuthorizationPolicy, Gateway, Object};

use super::draft::{
    Draft, at, endpoint_slice, gateway_class, hbone, namespace, pod, service, service_entry, waypoint, workload_entry,
};
use super::{GATEWAY_NAME, MANAGED, MESH_CONTROLLER, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

/// Namespace of the waypoint that several namespaces share.
const SHARED: &str = "mesh-shared";
/// A host that ServiceEntries of many namespaces claim.
const SHARED_HOST: &str = "identity.vendor.example";
/// Pods that stand behind each waypoint.
const WAYPOINT_PODS: usize = 2;
/// Pods of one EndpointSlice.
const SLICE_PODS: usize = 100;

/// How large a mesh is. Whatever belongs to a waypoint is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshSize {
    /// Namespaces with an application in them; there is one more.
    pub namespaces: usize,
    /// Services, spread unevenly: a few namespaces have most of them. Each has EndpointSlices of its Pods.
    pub services: usize,
    /// Pods, spread over the Services.
    pub pods: usize,
    /// Gateways that are waypoints, ready or not. At least as many as namespaces ask for one of their own: 3 of 4.
    pub waypoints: usize,
    /// ServiceEntries.
    pub entries: usize,
    /// WorkloadEntries.
    pub workload_entries: usize,
}

impl MeshSize {
    /// What one node has to hold: about 220,000 rows, of which fewer than 10,000 are distinct.
    pub const FULL: Self = Self {
        namespaces: 1_000,
        services: 20_000,
        pods: 200_000,
        waypoints: 1_000,
        entries: 400,
        workload_entries: 200,
    };
    /// A mesh of about 10,000 rows.
    pub const MEDIUM: Self =
        Self { namespaces: 50, services: 900, pods: 9_000, waypoints: 50, entries: 20, workload_entries: 10 };
    /// The hundredth part of [`Self::FULL`].
    pub const SMALL: Self =
        Self { namespaces: 10, services: 200, pods: 2_000, waypoints: 10, entries: 4, workload_entries: 2 };

    /// The objects of a mesh of this size, none of which shares a string with another.
    pub fn objects(self, seed: u64) -> Objects {
        let mut random = Random(seed);
        let habits: Vec<Habit> = (0..self.namespaces).map(|_| Habit::drawn(&mut random)).collect();
        let own = habits.iter().filter(|habit| matches!(habit, Habit::Own | Habit::NotReady)).count();
        let second = self.waypoints.saturating_sub(own + 1);
        // All that are ready have a Service and Pods.
        let ready = 1 + second + habits.iter().filter(|habit| **habit == Habit::Own).count();
        let weights: Vec<usize> = (0..self.namespaces).map(|_| random.skewed(8)).collect();
        let of_each = |total: usize| shares(total, &weights).into_iter();
        let services = of_each(self.services.saturating_sub(ready));
        let pods = of_each(self.pods.saturating_sub(WAYPOINT_PODS * ready));
        let (mut entries, mut workload_entries) = (of_each(self.entries), of_each(self.workload_entries));
        let mut plans = Vec::new();
        for (at, ((services, pods), habit)) in services.zip(pods).zip(habits).enumerate() {
            plans.push(Plan {
                name: format!("team-{at:04}"),
                habit,
                second: second * at / self.namespaces != second * (at + 1) / self.namespaces,
                services,
                pods,
                entries: entries.next().unwrap_or(0),
                workload_entries: workload_entries.next().unwrap_or(0),
            });
        }
        let (applications, ready) = (Vec::new().into_iter(), VecDeque::new());
        let mut objects = Objects { random, next_ip: 0x0a00_0001, plans: plans.into_iter(), applications, ready };
        objects.cluster();
        objects
    }
}

/// Divides `total` in proportion to `weights`; the shares add up to `total`.
fn shares(total: usize, weights: &[usize]) -> Vec<usize> {
    let sum = weights.iter().sum::<usize>().max(1);
    let (mut before, mut given) = (0, 0);
    let mut share = |weight: &usize| {
        before += weight;
        let until = total * before / sum;
        let share = until - given;
        given = until;
        share
    };
    weights.iter().map(&mut share).collect()
}

/// What a namespace says about waypoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Its own waypoint for everything.
    Own,
    /// The waypoint of [`SHARED`].
    Shared,
    /// The same, but nobody admitted it there.
    Uninvited,
    /// A waypoint that is not there yet.
    NotReady,
    /// Not in the mesh's hands.
    Nothing,
}

impl Habit {
    fn drawn(random: &mut Random) -> Self {
        match random.below(100) {
            0..70 => Self::Own,
            70..80 => Self::Shared,
            80..82 => Self::Uninvited,
            82..85 => Self::NotReady,
            _ => Self::Nothing,
        }
    }
}

/// A namespace before it has objects.
#[derive(Clone, Debug)]
struct Plan {
    name: String,
    habit: Habit,
    /// It has a second waypoint, which single objects name.
    second: bool,
    services: usize,
    pods: usize,
    entries: usize,
    workload_entries: usize,
}

/// A Service and the Pods behind it, before they are objects.
#[derive(Clone, Debug)]
struct Application {
    ns: String,
    name: String,
    pods: usize,
    second: bool,
}

/// The objects of a mesh, namespace by namespace.
#[derive(Clone, Debug)]
pub struct Objects {
    random: Random,
    next_ip: u32,
    plans: std::vec::IntoIter<Plan>,
    /// Of the namespace that was begun last.
    applications: std::vec::IntoIter<Application>,
    ready: VecDeque<Object>,
}

impl Iterator for Objects {
    type Item = Object;

    fn next(&mut self) -> Option<Object> {
        while self.ready.is_empty() {
            if let Some(application) = self.applications.next() {
                self.application(&application);
            } else {
                let plan = self.plans.next()?;
                self.namespace(&plan);
            }
        }
        self.ready.pop_front()
    }
}

impl Objects {
    fn add(&mut self, object: impl Into<Object>) {
        self.ready.push_back(object.into());
    }

    fn ip(&mut self) -> IpAddr {
        self.next_ip += 1;
        Ipv4Addr::from(self.next_ip).into()
    }

    fn cluster(&mut self) {
        self.add(gateway_class("istio-waypoint"));
        self.add(gateway_class("workload-waypoint").label(WAYPOINT_FOR, "workload"));
        self.add(namespace(SHARED));
        let listener = hbone().from_namespaces_with([("mesh", "shared")]);
        self.waypoint(SHARED, "shared", |draft| draft.listeners([listener]).label(WAYPOINT_FOR, "all"));
    }

    /// A waypoint with the Service and the Pods that its controller generates.
    fn waypoint(&mut self, ns: &str, name: &str, edit: impl FnOnce(Draft<Gateway>) -> Draft<Gateway>) {
        self.add(edit(waypoint(ns, name)));
        let generated = [(GATEWAY_NAME, name), (MANAGED, MESH_CONTROLLER)];
        let ip = self.ip().to_string();
        self.add(service(ns, name).labels(generated).selecting(GATEWAY_NAME, name).address(&ip));
        for at in 0..WAYPOINT_PODS {
            let ip = self.ip();
            self.add(pod(ns, &format!("{name}-{at}")).labels(generated).service_account(name).ip(ip));
        }
    }

    fn namespace(&mut self, plan: &Plan) {
        let ns = &*plan.name;
        let draft = namespace(ns).label("kubernetes.io/metadata.name", ns);
        let draft = match plan.habit {
            Habit::Own => draft.label(USE_WAYPOINT, "waypoint"),
            Habit::Shared => {
                draft.labels([(USE_WAYPOINT, "shared"), (USE_WAYPOINT_NAMESPACE, SHARED), ("mesh", "shared")])
            }
            Habit::Uninvited => draft.labels([(USE_WAYPOINT, "shared"), (USE_WAYPOINT_NAMESPACE, SHARED)]),
            Habit::NotReady => draft.label(USE_WAYPOINT, "soon"),
            Habit::Nothing => draft,
        };
        self.add(draft);
        match plan.habit {
            Habit::Own => {
                self.waypoint(ns, "waypoint", |draft| draft.label(WAYPOINT_FOR, "all"));
                self.add(Object::AuthorizationPolicy(policy_of_waypoint(ns)));
            }
            Habit::NotReady => self.add(waypoint(ns, "soon").without_addresses()),
            Habit::Shared | Habit::Uninvited | Habit::Nothing => {}
        }
        if plan.second {
            self.waypoint(ns, "canary", |draft| draft.class("workload-waypoint"));
        }
        (0..plan.entries).for_each(|at| self.entry(ns, at));
        for at in 0..plan.workload_entries {
            let ip = self.ip().to_string();
            self.add(workload_entry(ns, &format!("vm-{at}")).label("app", "legacy").address(&ip).service_account("vm"));
        }
        let weights: Vec<usize> = (0..plan.services).map(|_| self.random.skewed(6)).collect();
        let pods = shares(plan.pods, &weights).into_iter();
        let application =
            |(at, pods)| Application { ns: ns.into(), name: format!("app-{at}"), pods, second: plan.second };
        self.applications = pods.enumerate().map(application).collect::<Vec<_>>().into_iter();
    }

    /// Something outside: mostly a DNS name; else machines with addresses, or the WorkloadEntries of the namespace.
    fn entry(&mut self, ns: &str, at: usize) {
        let created = i64::try_from(1_700_000_000 + self.random.below(50_000_000)).unwrap_or_default();
        let draft = service_entry(ns, &format!("outside-{at}")).created(created);
        let host = format!("api-{at}.{ns}.example");
        let draft = match self.random.below(20) {
            0 => draft.host(SHARED_HOST),
            // Two entries of one namespace for one host.
            1 => draft.host(&host).host(&format!("api-0.{ns}.example")),
            _ => draft.host(&host),
        };
        let own_word = self.own_word(false);
        let draft = own_word.into_iter().fold(draft, |draft, word| draft.label(USE_WAYPOINT, word));
        let draft = match self.random.below(10) {
            0..5 => draft.resolution(Resolution::Dns).allocated(None, &self.ip().to_string()),
            5..9 => {
                let draft = draft.resolution(Resolution::Static).address(&self.ip().to_string());
                let count = 1 + self.random.below(5);
                (0..count).fold(draft, |draft, _| draft.endpoint(at_ip(self.ip())))
            }
            _ => draft.resolution(Resolution::Static).selecting("app", "legacy").address(&self.ip().to_string()),
        };
        self.add(draft);
    }

    /// A Service and the Pods behind it, which are alike but for their names and addresses.
    fn application(&mut self, of: &Application) {
        let (ns, name) = (&*of.ns, &*of.name);
        let of_service = self.own_word(of.second);
        let of_pods = self.own_word(of.second);
        let ip = self.ip().to_string();
        let draft = service(ns, name).label("app", name).label("app.kubernetes.io/managed-by", "Helm");
        let draft = of_service.into_iter().fold(draft, |draft, word| draft.label(USE_WAYPOINT, word));
        let kind = self.random.below(100);
        let draft = match kind {
            0..2 => draft.external_name(),
            // Headless (R33).
            2..12 => draft.headless().selecting("app", name),
            // Its endpoints are somebody's own business (R140).
            12..14 => draft.address(&ip),
            _ => draft.selecting("app", name).address(&ip),
        };
        self.add(draft);
        let hash = format!("{:x}", self.random.next() >> 32);
        let names: Vec<String> = (0..of.pods).map(|at| format!("{name}-{hash}-{at}")).collect();
        let is_set = self.random.below(10) == 0;
        for name in &names {
            let ip = self.ip();
            let app = &*of.name;
            let draft = pod(ns, name).service_account(app).ip(ip);
            let draft = draft.labels([("app", app), ("pod-template-hash", &hash), ("version", "v1")]);
            let draft = draft.labels([("app.kubernetes.io/name", app), ("app.kubernetes.io/managed-by", "Helm")]);
            let draft = of_pods.into_iter().fold(draft, |draft, word| draft.label(USE_WAYPOINT, word));
            // Pods of a StatefulSet are not quite alike.
            let draft = if is_set { draft.label("statefulset.kubernetes.io/pod-name", name) } else { draft };
            let draft = match self.random.below(1000) {
                0..5 => draft.finished(),
                5..15 => draft.on_host_network(),
                _ => draft,
            };
            self.add(draft);
        }
        for (at, pods) in names.chunks(SLICE_PODS).enumerate().filter(|_| kind >= 2) {
            let draft = endpoint_slice(ns, &format!("{name}-{at}")).of_service(name).pods(pods.iter().map(|it| &**it));
            let outside = kind == 12 && at == 0;
            let draft = if outside { draft.address(&self.ip().to_string()) } else { draft };
            self.add(draft);
        }
    }

    /// The waypoint that a single object names itself; most name none.
    fn own_word(&mut self, second: bool) -> Option<&'static str> {
        match self.random.below(100) {
            0..4 => Some("none"),
            4..10 if second => Some("canary"),
            10..12 => Some("missing"),
            _ => None,
        }
    }
}

fn at_ip(ip: IpAddr) -> super::draft::EndpointDraft {
    at(&ip.to_string()).label("tier", "outside")
}

fn policy_of_waypoint(ns: &str) -> AuthorizationPolicy {
    let target = PolicyTarget {
        group: "gateway.networking.k8s.io".into(),
        kind: "Gateway".into(),
        namespace: None,
        name: "waypoint".into(),
    };
    AuthorizationPolicy { targets: vec![target], ..AuthorizationPolicy::named(ns, "waypoint") }
}

/// SplitMix64: enough to spread a mesh, the same on every machine.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number under `bound`, which is small.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// 1, seldom 2, 4, 8 up to 2 to the power of `steps`: each half as often as the one before.
    fn skewed(&mut self, steps: u32) -> usize {
        1 << self.next().trailing_zeros().min(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::object::Kind;

    #[test]
    fn a_mesh_has_the_size_it_was_asked_for_and_follows_from_its_seed() {
        let objects: Vec<Object> = MeshSize::SMALL.objects(7).collect();
        assert!(objects.iter().cloned().eq(MeshSize::SMALL.objects(7)));
        assert!(!objects.iter().cloned().eq(MeshSize::SMALL.objects(8)));
        let keys: std::collections::HashSet<_> = objects.iter().map(Object::key).collect();
        assert_eq!(keys.len(), objects.len(), "each object once");
        let generated = objects.iter().filter(|o| o.meta().labels.get(MANAGED).is_some());
        let (services, pods): (Vec<_>, Vec<_>) = generated.partition(|o| o.kind() == Kind::Service);
        assert!(services.len() > 5, "{} waypoints are ready", services.len());
        assert_eq!(pods.len(), WAYPOINT_PODS * services.len());
    }

    #[test]
    fn everything_is_counted_whatever_it_belongs_to() {
        for (size, seed) in [(MeshSize::SMALL, 1), (MeshSize::MEDIUM, 2), (MeshSize::FULL, 1)] {
            let mut counts = std::collections::HashMap::new();
            size.objects(seed).for_each(|object| *counts.entry(object.kind()).or_insert(0) += 1);
            let found =
                [Kind::Namespace, Kind::Service, Kind::Pod, Kind::Gateway, Kind::ServiceEntry, Kind::WorkloadEntry]
                    .map(|kind| counts.get(&kind).copied().unwrap_or(0));
            let MeshSize { namespaces, services, pods, waypoints, entries, workload_entries } = size;
            assert_eq!(found, [namespaces + 1, services, pods, waypoints, entries, workload_entries]);
        }
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, &[1, 1, 8]), [1, 1, 8]);
        assert_eq!(shares(7, &[1, 1, 1]).iter().sum::<usize>(), 7);
        assert!(shares(7, &[]).is_empty());
    }
}
