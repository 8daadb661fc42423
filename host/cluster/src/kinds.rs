//! Where the API server keeps the kinds of the model.

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, PartialObjectMeta};
use kube::runtime::watcher;
use model::Kind;

use crate::connect::Cluster;
use crate::error::About;
use crate::raw::Raw;

/// Objects of one page of a list: some megabytes of text.
pub(crate) const PAGE: u32 = 500;

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
        Kind::Node => ("v1", "nodes"),
        Kind::PeerAuthentication => ("v1", "peerauthentications"),
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

/// Follows all of them. Of Nodes only the metadata is asked for: the rest of one is some 20 kB, and sent anew every few minutes.
pub(crate) fn watch(
    cluster: &Cluster,
    kind: Kind,
    resource: &ApiResource,
    config: watcher::Config,
) -> BoxStream<'static, watcher::Result<watcher::Event<Raw>>> {
    if kind == Kind::Node {
        let api: Api<PartialObjectMeta<Raw>> = Api::all_with(cluster.client.clone(), resource);
        return watcher(api, config).map_ok(of_metadata).boxed();
    }
    watcher(all(cluster, resource), config).boxed()
}

fn of_metadata(event: watcher::Event<PartialObjectMeta<Raw>>) -> watcher::Event<Raw> {
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(Raw::of_metadata(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(Raw::of_metadata(object)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(Raw::of_metadata(object)),
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

/// A request about all of them.
pub(crate) fn about<'a>(verb: &'static str, resource: &'a ApiResource) -> About<'a> {
    About { verb, group: &resource.group, resource: &resource.plural, namespace: "", name: "" }
}
