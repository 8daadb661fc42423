//! Where the API server keeps the kinds of the model.

use kube::api::{Api, ApiResource};
use model::Kind;

use crate::connect::Cluster;
use crate::error::About;
use crate::raw::Raw;

/// The resource of a kind, in the version that is asked for: the newest that every supported API server has.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let (version, plural) = match kind {
        Kind::Namespace => ("v1", "namespaces"),
        Kind::GatewayClass => ("v1", "gatewayclasses"),
        Kind::Gateway => ("v1", "gateways"),
        Kind::Service => ("v1", "services"),
        Kind::Pod => ("v1", "pods"),
        Kind::ServiceEntry => ("v1", "serviceentries"),
        Kind::WorkloadEntry => ("v1", "workloadentries"),
        Kind::EndpointSlice => ("v1", "endpointslices"),
        Kind::AuthorizationPolicy => ("v1", "authorizationpolicies"),
    };
    let group = manifest::api_group(kind);
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
        kind: kind.as_str().to_owned(),
        plural: plural.to_owned(),
    }
}

/// All objects of a kind, of all namespaces.
pub(crate) fn all(cluster: &Cluster, resource: &ApiResource) -> Api<Raw> {
    Api::all_with(cluster.client.clone(), resource)
}

/// A request about all of them.
pub(crate) fn about<'a>(verb: &'static str, resource: &'a ApiResource) -> About<'a> {
    About { verb, group: &resource.group, resource: &resource.plural, namespace: "", name: "" }
}
