//! Everything that can be found, one entry each: the code that scripts rely on, how bad it is, which rule it comes from,
//! and what to do. Finding it is in the modules beside this one; `docs/lint.md` has the same entries for people.

use super::Severity;

/// A kind of finding. The id is never given to another one.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// What it is called, in kebab case.
    pub id: &'static str,
    /// How bad it is, unless the caller says otherwise.
    pub severity: Severity,
    /// The rule or quirk of `docs/selection.md` that it comes from.
    pub rule: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// What to do about it, in general; a finding names the objects.
    pub fix: &'static str,
}

/// The code with this id.
pub fn code(id: &str) -> Option<&'static Code> {
    ALL.iter().find(|code| code.id == id).copied()
}

/// One constant per code, and the list of all, so that none can be left out of it.
macro_rules! codes {
    ($($name:ident: $id:literal, $severity:ident, $rule:literal, $what:literal, $fix:literal;)*) => {
        $(pub(super) static $name: Code =
            Code { id: $id, severity: Severity::$severity, rule: $rule, what: $what, fix: $fix };)*

        /// All codes, by topic.
        pub static ALL: &[&Code] = &[$(&$name),*];
    };
}

codes! {
    // References.
    MISSING: "waypoint-missing", Error, "R19",
        "A label names a waypoint, and there is no such Gateway",
        "Create the Gateway or correct the label";
    NOT_READY: "waypoint-not-ready", Error, "R2",
        "A label names a Gateway that reports no address, so it is no waypoint yet",
        "Find out why the Gateway's status.addresses is empty";
    DENIED: "attachment-denied", Error, "R20",
        "The waypoint does not admit the namespace that refers to it",
        "Let allowedRoutes of its listener admit the namespace";
    TRAFFIC_TYPE_SERVICE: "traffic-type-service", Error, "R29",
        "A service refers to a waypoint that does not serve services",
        "Set istio.io/waypoint-for to service or all, or name another waypoint";
    TRAFFIC_TYPE_WORKLOAD: "traffic-type-workload", Error, "R47",
        "A workload names a waypoint that does not serve workloads",
        "Set istio.io/waypoint-for to workload or all, or put the label on the service";
    FOREIGN: "foreign-waypoint", Error, "R30",
        "A ServiceEntry that only its own namespace sees refers to a waypoint of another",
        "Use a waypoint of the entry's namespace, or make the entry public";
    OPT_OUT: "opt-out-misspelled", Warning, "R15",
        "The value is probably meant to opt out, but only `none` does: it is read as a name",
        "Write none";
    NAMESPACE_LABEL_ALONE: "namespace-label-alone", Warning, "R15",
        "The label for the waypoint's namespace stands without the label for its name, and does nothing",
        "Add the label istio.io/use-waypoint beside it, or remove it";
    REFUSED: "refused", Warning, "R80",
        "The component refuses a waypoint for a reason that no label explains",
        "Ask wayswitch explain about the object";
    NAMESPACE_UNKNOWN: "namespace-unknown", Warning, "R22",
        "There are objects of a namespace whose Namespace object is not there: nothing is inherited",
        "Add the Namespace object to the manifests";
    OTHER_REVISION: "other-revision", Info, "R144",
        "An object of another revision of Istio refers to a waypoint; here it does not exist",
        "Lint with --istio-revision of that revision, or remove istio.io/rev";
    ROUTES: "routes-read-otherwise", Info, "Q12",
        "Gateway API routes read the labels in another way than the selection does",
        "Write the labels so that both readings agree";
    // Required waypoints.
    REQUIRED: "required-blocks", Error, "required",
        "A waypoint is required and nothing asks for one, so connections are refused",
        "Name a waypoint, or exempt the object with wayswitch.io/waypoint-required: none";
    REQUIRED_VALUE: "required-value", Warning, "required",
        "The value of wayswitch.io/waypoint-required is not known and counts as `all`",
        "Write service, workload, all or none";
    // Waypoints.
    WAYPOINT_FOR: "waypoint-for-unknown", Error, "R4",
        "The value of istio.io/waypoint-for is not known, so the waypoint serves nothing",
        "Write service, workload, all or none, in lower case";
    NO_ADDRESS: "bound-without-address", Error, "Q1",
        "Something is bound to a waypoint of which no address is usable",
        "Let the Gateway report an address of type Hostname, or IPAddress with an IP";
    HOST_UNKNOWN: "waypoint-host-unknown", Error, "R91",
        "The waypoint is known by a hostname, and no service of its namespace has that host and an address",
        "Add the waypoint's Service, in the Gateway's namespace and with a cluster IP";
    ADMITS_NONE: "admits-none", Warning, "Q4",
        "A listener of a waypoint admits `from: None` or an unknown word, which is read as `Same`",
        "Write Same, Selector or All";
    ADMITS_SELECTOR: "admits-selector", Error, "Q3",
        "A listener of a waypoint admits by a selector that is missing or invalid: it matches nothing",
        "Write a valid selector: In and NotIn need values, Exists and DoesNotExist must have none";
    BINDING: "inbound-binding", Warning, "R9",
        "The inbound binding cannot be read, so there is none",
        "Write NONE or PROXY, with / and a port behind it where needed";
    BINDING_PORT: "inbound-binding-port", Warning, "Q2",
        "The port of the inbound binding is none, and counts as 0 here and as something else in Istio",
        "Write a port from 1 to 65535";
    BINDING_LISTENER: "inbound-binding-listener", Warning, "R10",
        "No listener fits the inbound binding: whom the waypoint admits is read from the HBONE listener",
        "Add a listener on the binding's port, or of protocol istio.io/PROXY";
    LISTENER: "listener-not-hbone", Warning, "R104",
        "A listener of a waypoint of Istio's class is not HBONE on 15008: Istio does not accept it",
        "Set protocol HBONE and port 15008, or remove the listener";
    BOUND_TO_ITSELF: "waypoint-bound-to-itself", Error, "Q6",
        "The Service of a waypoint is bound to that waypoint",
        "Label the Service istio.io/use-waypoint: none";
    BOUND_TO_ANOTHER: "waypoint-bound-to-another", Warning, "R31",
        "The Service of a waypoint is bound to another waypoint",
        "Label the Service istio.io/use-waypoint: none";
    HOST_COLLISION: "host-collision", Error, "Q14",
        "A waypoint serves one host for two namespaces, and can be configured for one of them only",
        "Give one of them another waypoint, or keep only one of them";
    // Services.
    HEADLESS: "headless-with-waypoint", Warning, "R33",
        "A headless Service has a waypoint that its clients never use: they dial pods",
        "Give it a cluster IP, or use a waypoint for workloads";
    ENTRY_WITHOUT_ADDRESS: "entry-without-address", Warning, "R37",
        "A host of a ServiceEntry has a waypoint and no address to be recognised by",
        "Add spec.addresses, or let Istio allocate one: a resolution other than NONE";
    EXTERNAL_NAME: "external-name-with-waypoint", Warning, "R32",
        "An ExternalName Service names a waypoint, and is not part of the mesh",
        "Describe the destination with a ServiceEntry, or remove the label";
    WILDCARD: "wildcard-without-waypoint", Warning, "R78",
        "A ServiceEntry that only a waypoint can resolve (a wildcard host, DYNAMIC_DNS) has none",
        "Name a waypoint for it";
    CLUSTER_IP: "cluster-ip-invalid", Error, "Q7",
        "A cluster IP does not parse: the Service is left out, and may crash Istio",
        "Correct spec.clusterIPs";
    ENTRY_ADDRESS: "entry-address-invalid", Error, "R36",
        "An address of a ServiceEntry is neither IP nor CIDR: the whole entry is left out",
        "Correct spec.addresses";
    HOST_LOST: "hostname-lost", Warning, "R42",
        "A ServiceEntry loses a host to a Service or an older entry of its namespace",
        "Remove the host from one of them";
    INGRESS_VALUE: "ingress-value", Warning, "R70",
        "The value of istio.io/ingress-use-waypoint is no truth value and counts as no",
        "Write true or false";
    INGRESS_UNUSED: "ingress-unused", Warning, "R70",
        "Gateways are to go through a waypoint, and there is none",
        "Name a waypoint, or remove istio.io/ingress-use-waypoint";
    INGRESS_UNRESOLVED: "ingress-unresolved", Warning, "R74",
        "Gateways are to go through a waypoint whose IP is no service's: they go direct",
        "Let the Gateway report a hostname, or the cluster IP of its Service";
    // The second waypoint.
    CANARY_NOT_READY: "canary-not-ready", Warning, "R63",
        "The canary is missing or reports no address: the first waypoint has all connections",
        "Create the Gateway, or correct istio.io/use-waypoint-canary";
    CANARY_DENIED: "canary-denied", Warning, "R63",
        "The canary does not admit the namespace: the first waypoint has all connections",
        "Let allowedRoutes of its listener admit the namespace";
    CANARY_TRAFFIC_TYPE: "canary-traffic-type", Warning, "R63",
        "The canary does not serve services: the first waypoint has all connections",
        "Set istio.io/waypoint-for of the canary to service or all";
    CANARY_SAME: "canary-same-as-primary", Warning, "R63",
        "The canary is the first waypoint itself",
        "Name another Gateway, or remove istio.io/use-waypoint-canary";
    CANARY_WEIGHT: "canary-weight", Warning, "R62",
        "The weight of the canary is no whole number from 0 to 100: it has no connections",
        "Correct the annotation istio.io/use-waypoint-canary-weight";
    CANARY_WITHOUT_WEIGHT: "canary-without-weight", Info, "R62",
        "A canary has no weight, which is 0: it has no connections",
        "Add the annotation istio.io/use-waypoint-canary-weight";
    CANARY_ALONE: "canary-alone", Warning, "R61",
        "The weight or the namespace of a canary stands without the label that names it",
        "Add the label istio.io/use-waypoint-canary, or remove what belongs to it";
    CANARY_WITHOUT_PRIMARY: "canary-without-primary", Warning, "R63",
        "A canary is named where there is no first waypoint, and is not looked at",
        "Name the first waypoint on the same object";
    CANARY_ON_WORKLOAD: "canary-on-workload", Warning, "R66",
        "A workload names a canary: only services have one",
        "Put the label on the service";
    CANARY_FOREIGN: "canary-foreign", Warning, "Q10",
        "A ServiceEntry that only its namespace sees has a canary of another namespace",
        "Use a canary of the entry's namespace";
    CANARY_TUNNEL: "canary-tunnel", Warning, "Q13",
        "The instances of a canary are behind a ztunnel and have no tunnel: ztunnel refuses its connections",
        "Set ambient.istio.io/waypoint-inbound-binding on the canary's Gateway";
    CANARY_ALLOW: "canary-implicit-allow", Info, "Q11",
        "The policy by which Istio can allow waypoints by itself leaves out the canary",
        "Where PILOT_AUTO_ALLOW_WAYPOINT_POLICY is relied on, allow the canary's service account as well";
    // Conditions.
    CONDITION: "condition-disagrees", Warning, "R80",
        "A condition of the object says otherwise than is decided: the control plane programs something else",
        "Find out which of the two is right with wayswitch explain, and let both go by the same rules and versions";
    // Policies.
    RULE_WIDENED: "policy-rule-widened", Error, "Q16",
        "All ports or addresses of a field are bad: they are dropped, and the field restricts nothing",
        "Correct the values";
    VALUE_DROPPED: "policy-value-dropped", Warning, "R115",
        "Some ports or addresses of a field are bad, and are dropped",
        "Correct the values";
    SELECTOR_EMPTY: "policy-selector-empty", Error, "Q19",
        "A policy with an empty selector applies to nobody",
        "Remove spec.selector to mean the namespace, or select labels";
    ACTION: "policy-action", Warning, "R108",
        "ztunnel is not sent policies with this action",
        "Attach the policy to a waypoint with targetRefs, or use ALLOW or DENY";
    ALLOW_DROPPED: "policy-allow-dropped", Error, "R111",
        "An ALLOW rule asks for HTTP attributes: ztunnel drops the rule, and refuses what it allows",
        "Attach the policy to a waypoint with targetRefs";
    DENY_WITHOUT_EFFECT: "policy-deny-without-effect", Error, "R112",
        "A DENY policy asks for HTTP attributes, and nothing that ztunnel can enforce remains",
        "Attach the policy to a waypoint with targetRefs";
    DENY_WIDENED: "policy-deny-widened", Warning, "R112",
        "A DENY policy asks for HTTP attributes: ztunnel enforces the rest, which denies more",
        "Attach the policy to a waypoint with targetRefs";
    TARGET_MISSING: "policy-target-missing", Error, "R120",
        "A policy is for something that does not exist, or for a Gateway without address",
        "Correct spec.targetRefs";
    TARGET_UNBOUND: "policy-target-unbound", Error, "R120",
        "A policy is for a service that has no waypoint: nobody enforces it",
        "Give the service a waypoint";
    TARGET_FOREIGN: "policy-target-foreign", Error, "R119",
        "A policy is for something in another namespace: nobody enforces it",
        "Move the policy to the namespace of its target";
    TARGET_KIND: "policy-target-kind", Error, "R123",
        "A policy is for a kind of object that no waypoint enforces policies for",
        "Target a Service, ServiceEntry, Gateway or GatewayClass";
    CLASS_NAMESPACE: "policy-class-namespace", Error, "R120",
        "A policy for a GatewayClass is not in the root namespace: nobody enforces it",
        "Move the policy to the root namespace";
    CLASS_NOT_ENFORCED: "policy-class-not-enforced", Error, "Q18",
        "A policy for a GatewayClass other than istio-waypoint: it may be accepted, but nobody enforces it",
        "Target the class istio-waypoint, or the Gateways one by one";
    DENIES_WAYPOINT: "policy-denies-waypoint", Error, "R124",
        "Policies that allow by identity do not name the waypoint, whose traffic they refuse",
        "Allow the waypoint's service account, or attach the policy to the waypoint with targetRefs";
}
