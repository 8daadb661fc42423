//! Pods.

use model::{Name, Pod};

use super::Context;
use super::meta::{Scope, meta};
use super::service::parse_addresses;
use crate::problem::Misfit;
use crate::view::View;

/// The name of a sidecar's container, and of a gateway's (R75).
pub(crate) const PROXY_CONTAINER: &str = "istio-proxy";

pub(super) fn pod(root: &View<'_, '_>, with: &Context<'_>) -> Result<Pod, Misfit> {
    let mut pod = Pod { meta: meta(root, Scope::Namespace, with)?, ..Pod::named("", "") };
    pod.service_account = with.name("default");
    if let Some(spec) = root.field("spec")? {
        if let Some(name) = spec.text_field("serviceAccountName")?.filter(|name| !name.is_empty()) {
            pod.service_account = with.name(name);
        }
        pod.host_network = spec.is_set("hostNetwork")?;
        for containers in ["containers", "initContainers"] {
            let is_proxy = |view: View<'_, '_>| Ok(view.text_field("name")? == Some(PROXY_CONTAINER));
            pod.has_proxy |= spec.list_field(containers, is_proxy)?.contains(&true);
        }
    }
    let mut written = Vec::new();
    if let Some(status) = root.field("status")? {
        pod.finished = matches!(status.text_field("phase")?, Some("Succeeded" | "Failed"));
        written = status.list_field("podIPs", |view| Ok(view.text_field("ip")?.unwrap_or_default().into()))?;
        if written.is_empty() {
            written.extend(status.text_field("podIP")?.filter(|ip| !ip.is_empty()).map(Name::from));
        }
    }
    (pod.addresses, pod.bad_address) = parse_addresses(&written);
    Ok(pod)
}
