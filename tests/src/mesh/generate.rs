//! A mesh of a given size, as one finds them: most namespaces have one waypoint for all, a few objects differ from their
//! namespace, and many Pods of one Deployment are alike. The same seed gives the same mesh.

use std::net::{IpAddr, Ipv4Addr};

use model::{Gateway, Name, Object};

use super::draft::{Draft, gateway_class, hbone, namespace, pod, service, waypoint};
use super::{GATEWAY_NAME, MANAGED, MESH_CONTROLLER, USE_WAYPOINT, USE_WAYPOINT_NAMESPACE, WAYPOINT_FOR};

/// Namespace of the waypoint that several namespaces share.
const SHARED: &str = "mesh-shared";
/// Pods that stand behind each waypoint.
const WAYPOINT_PODS: usize = 2;

/// How large a mesh is. Waypoints and their Services and Pods come on top of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshSize {
    /// Namespaces with an application in them.
    pub namespaces: usize,
    /// Services, spread unevenly: a few namespaces have most of them.
    pub services: usize,
    /// Pods, spread over the Services.
    pub pods: usize,
}

impl MeshSize {
    /// What one node has to hold: about 220,000 rows, of which fewer than 10,000 are distinct.
    pub const FULL: Self = Self { namespaces: 1_000, services: 20_000, pods: 200_000 };
    /// A mesh of about 10,000 rows.
    pub const MEDIUM: Self = Self { namespaces: 50, services: 900, pods: 9_000 };

    /// The objects of a mesh of this size.
    pub fn objects(self, seed: u64) -> Vec<Object> {
        let mut mesh = Generator { random: Random(seed), objects: Vec::new(), next_ip: 0x0a00_0001 };
        mesh.cluster();
        let weights: Vec<usize> = (0..self.namespaces).map(|_| mesh.random.skewed(12)).collect();
        let services = shares(self.services, &weights);
        let pods = shares(self.pods, &weights);
        for (at, (services, pods)) in services.into_iter().zip(pods).enumerate() {
            mesh.namespace(&format!("team-{at:04}"), services, pods);
        }
        mesh.objects
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

struct Generator {
    random: Random,
    objects: Vec<Object>,
    next_ip: u32,
}

impl Generator {
    fn add(&mut self, object: impl Into<Object>) {
        self.objects.push(object.into());
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

    fn namespace(&mut self, ns: &str, services: usize, pods: usize) {
        let habit = match self.random.below(100) {
            0..70 => Habit::Own,
            70..80 => Habit::Shared,
            80..82 => Habit::Uninvited,
            82..85 => Habit::NotReady,
            _ => Habit::Nothing,
        };
        let draft = namespace(ns).label("kubernetes.io/metadata.name", ns);
        let draft = match habit {
            Habit::Own => draft.label(USE_WAYPOINT, "waypoint"),
            Habit::Shared => {
                draft.labels([(USE_WAYPOINT, "shared"), (USE_WAYPOINT_NAMESPACE, SHARED), ("mesh", "shared")])
            }
            Habit::Uninvited => draft.labels([(USE_WAYPOINT, "shared"), (USE_WAYPOINT_NAMESPACE, SHARED)]),
            Habit::NotReady => draft.label(USE_WAYPOINT, "soon"),
            Habit::Nothing => draft,
        };
        self.add(draft);
        if habit == Habit::Own {
            self.waypoint(ns, "waypoint", |draft| draft.label(WAYPOINT_FOR, "all"));
        }
        if habit == Habit::NotReady {
            self.add(waypoint(ns, "soon").without_addresses());
        }
        // Some have a second one that single objects name.
        let second = self.random.below(100) < 20;
        if second {
            self.waypoint(ns, "canary", |draft| draft.class("workload-waypoint"));
        }
        let weights: Vec<usize> = (0..services).map(|_| self.random.skewed(6)).collect();
        for (at, pods) in shares(pods, &weights).into_iter().enumerate() {
            self.application(ns, &format!("app-{at}"), pods, second);
        }
    }

    /// A Service and the Pods behind it, which are alike but for their names and addresses.
    fn application(&mut self, ns: &str, name: &str, pods: usize, second: bool) {
        let of_service = self.own_word(second);
        let of_pods = self.own_word(second);
        let ip = self.ip().to_string();
        let draft = service(ns, name).label("app", name).selecting("app", name);
        let draft = of_service.into_iter().fold(draft, |draft, word| draft.label(USE_WAYPOINT, word));
        let draft = match self.random.below(100) {
            0..2 => draft.external_name(),
            // Headless (R33).
            2..12 => draft,
            _ => draft.address(&ip),
        };
        self.add(draft);
        let hash = format!("{:x}", self.random.next() >> 32);
        let labels = [("app", name), ("pod-template-hash", &hash), ("version", "v1")].into_iter();
        let labels: Vec<(Name, Name)> =
            labels.chain(of_pods.map(|word| (USE_WAYPOINT, word))).map(|(k, v)| (k.into(), v.into())).collect();
        for at in 0..pods {
            let ip = self.ip();
            let draft = pod(ns, &format!("{name}-{hash}-{at}")).labels(labels.iter().cloned()).service_account(name);
            let draft = match self.random.below(1000) {
                0..5 => draft.finished(),
                5..15 => draft.on_host_network(),
                _ => draft,
            };
            self.add(draft.ip(ip));
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

/// SplitMix64: enough to spread a mesh, the same on every machine.
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

    fn count(objects: &[Object], kind: Kind) -> usize {
        objects.iter().filter(|object| object.kind() == kind).count()
    }

    #[test]
    fn a_mesh_has_the_size_it_was_asked_for_and_follows_from_its_seed() {
        let size = MeshSize { namespaces: 40, services: 300, pods: 3_000 };
        let objects = size.objects(7);
        assert_eq!(objects, size.objects(7));
        assert_ne!(objects, size.objects(8));
        let waypoints = objects.iter().filter(|o| o.meta().labels.get(MANAGED).is_some());
        let (services, pods): (Vec<_>, Vec<_>) = waypoints.partition(|o| o.kind() == Kind::Service);
        assert!(services.len() > 10, "{} waypoints", services.len());
        assert_eq!(pods.len(), WAYPOINT_PODS * services.len());
        assert_eq!(count(&objects, Kind::Namespace), 40 + 1);
        assert_eq!(count(&objects, Kind::Service), 300 + services.len());
        assert_eq!(count(&objects, Kind::Pod), 3_000 + pods.len());
        let keys: std::collections::HashSet<_> = objects.iter().map(Object::key).collect();
        assert_eq!(keys.len(), objects.len(), "each object once");
    }

    #[test]
    fn shares_add_up() {
        assert_eq!(shares(10, &[1, 1, 8]), [1, 1, 8]);
        assert_eq!(shares(7, &[1, 1, 1]).iter().sum::<usize>(), 7);
        assert!(shares(7, &[]).is_empty());
    }
}
