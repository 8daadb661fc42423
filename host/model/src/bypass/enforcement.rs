//! Whether the destination itself refuses connections that did not come through its waypoint. ztunnel does not check that
//! (R93), but an AuthorizationPolicy can: through a waypoint, the identity that a workload sees is the waypoint's (R124).
//!
//! Only that question is asked of policies. What is wrong with them otherwise is [`crate::lint`]'s business.
//! PeerAuthentications are not looked at: a strict one keeps out who has no identity, and nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::gateway::GatewayKey;
use crate::name::{Labels, Name};
use crate::object::{Kind, ObjectKey};
use crate::policy::{AuthorizationPolicy, Field, Rule};
use crate::store::{RowObject, Store};
use crate::table::RowKey;
use crate::waypoint_view::Instances;

use super::clients::{ClientKind, is_ambient_namespace, taken_by};

/// Fields that ztunnel cannot check; an ALLOW rule with one of them is dropped whole (R111).
const L7_FIELDS: [&str; 10] = [
    "hosts",
    "notHosts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
    "requestPrincipals",
    "notRequestPrincipals",
];
/// Attributes of `when` that it can check (R110).
const L4_ATTRIBUTES: [&str; 5] =
    ["source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"];

/// Whether workloads take connections from waypoints only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Workloads looked at. Where none is known, what a Service's selector would select counts as one.
    pub workloads: usize,
    /// Those of them that take connections from waypoints only.
    pub closed: usize,
    /// The policies that see to it.
    pub by: BTreeSet<ObjectKey>,
    /// Why the others are open, and how many of them.
    pub open: BTreeMap<WhyOpen, usize>,
}

impl Guard {
    /// Whether nobody gets past the waypoint, whatever way is taken.
    pub fn is_closed(&self) -> bool {
        self.workloads > 0 && self.closed == self.workloads
    }
}

/// Why a workload takes connections that did not come through a waypoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum WhyOpen {
    /// There is nobody to enforce a policy.
    #[error("neither ztunnel nor a sidecar takes its connections, so no policy is enforced")]
    NotCaptured,
    /// It is no Pod: what is in front of it is not known.
    #[error("it is no Pod, so nothing in this cluster enforces a policy for it")]
    NoPod,
    /// No policy applies that says who is let in.
    #[error("no AuthorizationPolicy lets in waypoints only")]
    NoPolicy,
    /// One applies that lets others in as well; a further ALLOW policy would not help.
    #[error("{policy} lets in others than waypoints")]
    AlsoAllows {
        /// The policy.
        policy: ObjectKey,
    },
}

/// The policies that ztunnel is given, by their namespace, and what waypoints run as.
pub(super) struct Policies<'a> {
    store: &'a Store,
    by_namespace: HashMap<&'a Name, Vec<&'a AuthorizationPolicy>>,
    instances: Instances,
}

/// Identities as policies write them: `<trust domain>/ns/<namespace>/sa/<account>`.
pub(super) type Principals = BTreeSet<String>;

impl<'a> Policies<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        let mut by_namespace: HashMap<&Name, Vec<&AuthorizationPolicy>> = HashMap::new();
        // Attached ones are the waypoint's to enforce (R105), tried ones nobody's (R106), others than these are not given
        // to ztunnel at all (R108).
        let is_tried = |policy: &AuthorizationPolicy| {
            let value = policy.meta.annotations.get("istio.io/dry-run").map(|value| &**value);
            matches!(value, Some("1" | "t" | "T" | "TRUE" | "true" | "True"))
        };
        let given = |policy: &&AuthorizationPolicy| {
            policy.targets.is_empty() && !is_tried(policy) && matches!(&*policy.action, "ALLOW" | "DENY")
        };
        for policy in store.policies().filter(given) {
            by_namespace.entry(&policy.meta.namespace).or_default().push(policy);
        }
        Self { store, by_namespace, instances: Instances::new(store) }
    }

    /// The identities of a waypoint (R12), and whether they are known: without any instance, the account that Istio would
    /// make for it is taken, which has the Gateway's name.
    pub(super) fn principals(&self, gateway: &GatewayKey) -> (Principals, bool) {
        let mut accounts = self.instances.accounts(gateway);
        let known = !accounts.is_empty();
        if !known {
            accounts.insert(gateway.name.clone());
        }
        let domain = &self.store.facts().mesh.trust_domain;
        let principal = |account: Name| format!("{domain}/ns/{}/sa/{account}", gateway.namespace);
        (accounts.into_iter().map(principal).collect(), known)
    }

    /// Adds what is known of one workload: whether it takes connections from these identities only.
    pub(super) fn judge(&self, workload: &RowKey, waypoints: &Principals, guard: &mut Guard) {
        let verdict = match self.store.row(workload) {
            Some(RowObject::Pod(pod)) => match taken_by(self.store, pod) {
                ClientKind::Captured | ClientKind::Sidecar => {
                    self.of_labels(&pod.meta.namespace, &pod.meta.labels, waypoints)
                }
                _ => Err(WhyOpen::NotCaptured),
            },
            _ => Err(WhyOpen::NoPod),
        };
        guard.add(verdict);
    }

    /// The same of Pods that are not there yet: a Service says which labels they will have.
    pub(super) fn judge_selected(
        &self,
        namespace: &Name,
        selector: &Labels,
        waypoints: &Principals,
        guard: &mut Guard,
    ) {
        guard.add(if is_ambient_namespace(self.store, namespace) {
            self.of_labels(namespace, selector, waypoints)
        } else {
            Err(WhyOpen::NotCaptured)
        });
    }

    /// The policies that keep all others out, or why none does. Every ALLOW policy that applies lets in what it lets in, so
    /// all of them must be for waypoints alone; of DENY policies one is enough.
    fn of_labels(
        &self,
        namespace: &Name,
        labels: &Labels,
        waypoints: &Principals,
    ) -> Result<BTreeSet<ObjectKey>, WhyOpen> {
        let applying = self.applying(namespace, labels);
        let (denying, allowing): (Vec<_>, Vec<_>) = applying.into_iter().partition(|policy| &*policy.action == "DENY");
        let others_denied = |policy: &&AuthorizationPolicy| denies_others(policy, waypoints);
        if let Some(policy) = denying.into_iter().find(others_denied) {
            return Ok([key(policy)].into());
        }
        if allowing.is_empty() {
            return Err(WhyOpen::NoPolicy);
        }
        let lets_in_others = |policy: &&&AuthorizationPolicy| !allows_only(policy, waypoints);
        match allowing.iter().find(lets_in_others) {
            Some(policy) => Err(WhyOpen::AlsoAllows { policy: key(policy) }),
            None => Ok(allowing.into_iter().map(key).collect()),
        }
    }

    /// Those of the workload's namespace and of the root namespace that have no selector or one that matches (R107, R116).
    /// An empty selector is for nobody (Q19).
    fn applying(&self, namespace: &Name, labels: &Labels) -> Vec<&'a AuthorizationPolicy> {
        let root = &self.store.facts().mesh.root_namespace;
        let places: BTreeSet<&Name> = [namespace, root].into();
        let policies = places.into_iter().filter_map(|place| self.by_namespace.get(place)).flatten().copied();
        let matches = |policy: &&AuthorizationPolicy| {
            policy.selector.as_ref().is_none_or(|selector| !selector.is_empty() && selector.is_subset_of(labels))
        };
        policies.filter(matches).collect()
    }
}

impl Guard {
    fn add(&mut self, verdict: Result<BTreeSet<ObjectKey>, WhyOpen>) {
        self.workloads += 1;
        match verdict {
            Ok(by) => {
                self.closed += 1;
                self.by.extend(by);
            }
            Err(why) => *self.open.entry(why).or_default() += 1,
        }
    }
}

fn key(policy: &AuthorizationPolicy) -> ObjectKey {
    ObjectKey {
        kind: Kind::AuthorizationPolicy,
        namespace: policy.meta.namespace.clone(),
        name: policy.meta.name.clone(),
    }
}

/// Whether an ALLOW policy lets in nobody but these. Without rules it lets in nobody at all (R109).
fn allows_only(policy: &AuthorizationPolicy, waypoints: &Principals) -> bool {
    policy.rules.iter().all(|rule| is_l7(rule) || is_from_only(rule, &policy.meta.namespace, waypoints))
}

/// ztunnel drops such a rule of an ALLOW policy (R111).
fn is_l7(rule: &Rule) -> bool {
    let mut fields = rule.from.iter().chain(&rule.to).flatten();
    let is_l7 = |field: &Field| L7_FIELDS.contains(&&*field.name) && !field.values.is_empty();
    fields.any(is_l7) || rule.when.iter().any(|condition| !L4_ATTRIBUTES.contains(&&*condition.key))
}

/// Clauses narrow each other, so one that is for these alone is enough; of the alternatives in it all must be.
fn is_from_only(rule: &Rule, namespace: &Name, waypoints: &Principals) -> bool {
    let is_ours = |value: &Name| waypoints.contains(&**value);
    let source_is_ours = |source: &Vec<Field>| {
        source.iter().any(|field| match &*field.name {
            _ if field.values.is_empty() => false,
            "principals" => field.values.iter().all(is_ours),
            "serviceAccounts" => field.values.iter().all(|account| is_account_of(account, namespace, waypoints)),
            _ => false,
        })
    };
    let from = !rule.from.is_empty() && rule.from.iter().all(source_is_ours);
    let when = rule.when.iter().any(|condition| {
        &*condition.key == "source.principal" && !condition.values.is_empty() && condition.values.iter().all(is_ours)
    });
    from || when
}

/// `ns/name`, or a name in the policy's namespace (R114); of whatever trust domain.
fn is_account_of(account: &str, namespace: &Name, waypoints: &Principals) -> bool {
    let (namespace, name) = account.split_once('/').unwrap_or((namespace, account));
    let ending = format!("/ns/{namespace}/sa/{name}");
    waypoints.iter().any(|principal| principal.ends_with(&ending))
}

/// Whether a DENY policy turns away everybody but these: a rule that is for whoever is none of them, and for nothing else.
fn denies_others(policy: &AuthorizationPolicy, waypoints: &Principals) -> bool {
    let is_ours = |value: &Name| waypoints.contains(&**value);
    let is_for_others = |source: &Vec<Field>| {
        let mut used = source.iter().filter(|field| !field.values.is_empty()).peekable();
        used.peek().is_some() && used.all(|field| &*field.name == "notPrincipals" && field.values.iter().all(is_ours))
    };
    let denies = |rule: &Rule| rule.to.is_empty() && rule.when.is_empty() && rule.from.iter().any(is_for_others);
    policy.rules.iter().any(denies)
}
