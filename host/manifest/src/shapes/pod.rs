//! Pods.

use model::workload::PodTemplate;
use model::{Labels, Name, Pod};

use super::Context;
use super::meta::{Scope, meta};
use super::service::parse_addresses;
use crate::problem::Misfit;
use crate::view::View;

/// The name of a sidecar's container, and of a gateway's (R75).
pub(crate) const PROXY_CONTAINER: &str = "istio-proxy";

/// The digits of the time that a CronJob puts behind the name of a Job.
const JOB_DIGITS: std::ops::RangeInclusive<usize> = 8..=10;

pub(super) fn pod(root: &View<'_, '_>, with: &Context<'_>) -> Result<Pod, Misfit> {
    let mut pod = Pod { meta: meta(root, Scope::Namespace, with)?, ..Pod::named("", "") };
    let mut template = PodTemplate { workload: workload(root, &pod.meta.labels, with)?, ..PodTemplate::default() };
    if let Some(meta) = root.field("metadata")? {
        pod.terminating = meta.field("deletionTimestamp")?.is_some();
    }
    if let Some(spec) = root.field("spec")? {
        if let Some(name) = spec.text_field("serviceAccountName")?.filter(|name| !name.is_empty()) {
            template.service_account = with.name(name);
        }
        pod.host_network = spec.is_set("hostNetwork")?;
        pod.node = spec.text_field("nodeName")?.filter(|name| !name.is_empty()).map(|name| with.name(name));
        for containers in ["containers", "initContainers"] {
            let is_proxy = |view: View<'_, '_>| Ok(view.text_field("name")? == Some(PROXY_CONTAINER));
            pod.has_proxy |= spec.list_field(containers, is_proxy)?.contains(&true);
        }
        let ports = spec.list_field("containers", |view| view.list_field("ports", |view| tcp_port(&view, with)))?;
        for (name, number) in ports.into_iter().flatten().flatten() {
            if !template.ports.iter().any(|(of, _)| *of == name) {
                template.ports.push((name, number));
            }
        }
    }
    if template != PodTemplate::default() {
        template.ports.shrink_to_fit();
        pod.template = with.pool.template(template);
    }
    let mut written = Vec::new();
    if let Some(status) = root.field("status")? {
        pod.finished = matches!(status.text_field("phase")?, Some("Succeeded" | "Failed"));
        pod.ready = is_ready(&status)?;
        written = status.list_field("podIPs", |view| Ok(view.text_field("ip")?.unwrap_or_default().into()))?;
        if written.is_empty() {
            written.extend(status.text_field("podIP")?.filter(|ip| !ip.is_empty()).map(Name::from));
        }
    }
    let (addresses, bad_address) = parse_addresses(&written);
    (pod.addresses, pod.bad_address) = (addresses, bad_address.map(Box::new));
    Ok(pod)
}

/// A port with a name; by another protocol than TCP it is none that ztunnel knows.
fn tcp_port(view: &View<'_, '_>, with: &Context<'_>) -> Result<Option<(Name, u32)>, Misfit> {
    let number = view.number_field("containerPort")?;
    let is_tcp = matches!(view.text_field("protocol")?, None | Some("" | "TCP"));
    Ok(view.text_field("name")?.filter(|name| is_tcp && !name.is_empty()).map(|name| (with.name(name), number)))
}

/// The condition `Ready`. A status without any condition was written by a person, not by a kubelet.
fn is_ready(status: &View<'_, '_>) -> Result<bool, Misfit> {
    let ready = status.list_field("conditions", |view| {
        Ok((view.text_field("type")? == Some("Ready")).then_some(view.text_field("status")? == Some("True")))
    })?;
    Ok(ready.is_empty() || ready.contains(&Some(true)))
}

/// What runs the Pod, by Istio's reading of its owner: only where the name was generated, and seen through what a
/// Deployment and a CronJob put in between.
fn workload(root: &View<'_, '_>, labels: &Labels, with: &Context<'_>) -> Result<Option<Name>, Misfit> {
    let Some(meta) = root.field("metadata")? else { return Ok(None) };
    if meta.text_field("generateName")?.is_none_or(str::is_empty) {
        return Ok(None);
    }
    let owners = meta.list_field("ownerReferences", |view| {
        let (kind, name) = (view.text_field("kind")?.unwrap_or_default(), view.text_field("name")?.unwrap_or_default());
        let name = of_deployment(kind, name, labels).or_else(|| of_cron_job(kind, name)).unwrap_or(name);
        Ok(view.is_set("controller")?.then(|| with.name(name)))
    })?;
    Ok(owners.into_iter().flatten().next().filter(|name| !name.is_empty()))
}

/// The Deployment or Rollout that a ReplicaSet belongs to: its name without the hash of its Pods.
fn of_deployment<'t>(kind: &str, name: &'t str, labels: &Labels) -> Option<&'t str> {
    let hashes = ["rollouts-pod-template-hash", "pod-template-hash"].into_iter().filter_map(|key| labels.get(key));
    let mut hashes = hashes.filter(|hash| kind == "ReplicaSet" && !hash.is_empty());
    hashes.find_map(|hash| name.strip_suffix(&**hash)?.strip_suffix('-'))
}

/// The CronJob that a Job belongs to: its name without the time.
fn of_cron_job<'t>(kind: &str, name: &'t str) -> Option<&'t str> {
    let (of, time) = name.rsplit_once('-').filter(|_| kind == "Job")?;
    let is_time = JOB_DIGITS.contains(&time.len()) && time.bytes().all(|digit| digit.is_ascii_digit());
    (is_time && !of.is_empty()).then_some(of)
}
