//! Which kinds of objects there are, and what is special about each: a table. No objects, no requests.

use std::fmt;

/// A kind of object as the API serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core group.
    pub group: String,
    /// Served versions, the preferred one first. They differ in nothing but their name.
    pub versions: Vec<String>,
    /// As in paths, for example `pods`.
    pub plural: String,
    /// As in manifests, for example `Pod`.
    pub kind: String,
    /// What kubectl accepts instead of the plural.
    pub short_names: Vec<String>,
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether `status` is written through its own subresource only.
    pub has_status: bool,
    /// Whether `metadata.generation` counts changes of anything but metadata and status.
    pub has_generation: bool,
    /// Defined by a CustomResourceDefinition: may be absent, knows no strategic merge patch, wants a
    /// resourceVersion in a PUT, and carries its kind in lists.
    pub is_custom: bool,
    /// Nothing is kept of it: it is answered at once, as a review of access is.
    pub is_review: bool,
}

impl Resource {
    /// A custom resource in namespaces, with status and generation, as most are.
    #[must_use]
    pub fn custom(group: &str, versions: &[&str], plural: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            versions: versions.iter().map(|version| (*version).to_owned()).collect(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            short_names: Vec::new(),
            is_namespaced: true,
            has_status: true,
            has_generation: true,
            is_custom: true,
            is_review: false,
        }
    }

    /// A kind that every cluster has, in namespaces, without status.
    #[must_use]
    pub fn built_in(group: &str, version: &str, plural: &str, kind: &str) -> Self {
        Self {
            has_status: false,
            has_generation: false,
            is_custom: false,
            ..Self::custom(group, &[version], plural, kind)
        }
    }

    /// The same without namespaces.
    #[must_use]
    pub fn cluster_wide(self) -> Self {
        Self { is_namespaced: false, ..self }
    }

    /// The same with a status subresource.
    #[must_use]
    pub fn with_status(self) -> Self {
        Self { has_status: true, ..self }
    }

    /// The same with `metadata.generation`.
    #[must_use]
    pub fn with_generation(self) -> Self {
        Self { has_generation: true, ..self }
    }

    /// The same with short names for kubectl.
    #[must_use]
    pub fn short(self, names: &[&str]) -> Self {
        Self { short_names: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    fn review(self) -> Self {
        Self { is_review: true, ..self }
    }

    /// The version that is stored and shown first.
    #[must_use]
    pub fn preferred(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }

    /// `apiVersion` of its objects in this version.
    #[must_use]
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// What is wanted of a request for it.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        if self.is_review {
            &["create"]
        } else {
            &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
    }
}

/// As error messages name it: `gateways.gateway.networking.k8s.io`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// What every cluster has.
pub(crate) fn built_in() -> Vec<Resource> {
    let core = |plural, kind| Resource::built_in("", "v1", plural, kind);
    vec![
        core("namespaces", "Namespace").cluster_wide().with_status().short(&["ns"]),
        core("nodes", "Node").cluster_wide().with_status().short(&["no"]),
        core("services", "Service").with_status().short(&["svc"]),
        core("pods", "Pod").with_status().short(&["po"]),
        core("configmaps", "ConfigMap").short(&["cm"]),
        core("secrets", "Secret"),
        core("serviceaccounts", "ServiceAccount").short(&["sa"]),
        core("events", "Event").short(&["ev"]),
        Resource::built_in("events.k8s.io", "v1", "events", "Event").short(&["ev"]),
        Resource::built_in("apps", "v1", "deployments", "Deployment")
            .with_status()
            .with_generation()
            .short(&["deploy"]),
        Resource::built_in("apps", "v1", "daemonsets", "DaemonSet").with_status().with_generation().short(&["ds"]),
        Resource::built_in("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice").with_generation(),
        Resource::built_in("coordination.k8s.io", "v1", "leases", "Lease"),
        Resource::built_in("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
            .cluster_wide()
            .with_status()
            .with_generation()
            .short(&["crd", "crds"]),
        Resource::built_in("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
            .cluster_wide()
            .review(),
        Resource::built_in("authentication.k8s.io", "v1", "tokenreviews", "TokenReview").cluster_wide().review(),
    ]
}

/// The kinds of the Gateway API that a waypoint needs.
#[must_use]
pub fn gateway_api() -> Vec<Resource> {
    let group = "gateway.networking.k8s.io";
    let versions = &["v1", "v1beta1"];
    vec![
        Resource::custom(group, versions, "gateways", "Gateway").short(&["gtw"]),
        Resource::custom(group, versions, "gatewayclasses", "GatewayClass").cluster_wide().short(&["gc"]),
        Resource::custom(group, versions, "httproutes", "HTTPRoute"),
    ]
}

/// The kinds of Istio that decide about waypoints.
#[must_use]
pub fn istio() -> Vec<Resource> {
    vec![
        Resource::custom("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "serviceentries", "ServiceEntry")
            .short(&["se"]),
        Resource::custom("networking.istio.io", &["v1", "v1beta1", "v1alpha3"], "workloadentries", "WorkloadEntry")
            .short(&["we"]),
        Resource::custom("security.istio.io", &["v1", "v1beta1"], "authorizationpolicies", "AuthorizationPolicy")
            .short(&["ap"]),
        Resource::custom("security.istio.io", &["v1", "v1beta1"], "peerauthentications", "PeerAuthentication")
            .short(&["pa"]),
    ]
}
