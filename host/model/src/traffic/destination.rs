//! What a client means by a name or an address: a service, workloads, or nothing that the mesh knows (R33, R37, R44, R86).
//! Names are resolved as the resolver of a Pod and the DNS proxy of ztunnel do it together.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Step;
use crate::name::Name;
use crate::service::service_of_host;
use crate::store::{RowObject, Store, Unpublished};
use crate::table::{RowKey, RowKind};

/// Names with as many dots are looked up as they are before the search list is tried: `ndots` of a Pod.
const NDOTS: usize = 5;
/// The longest name of DNS.
const HOST_BYTES_MAX: usize = 253;

/// What a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The name or address.
    pub dialled: Dialled,
    /// The port; none: not looked at.
    pub port: Option<u16>,
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// A name: short, of another namespace, fully qualified, or with a dot at its end.
    Host(Name),
    /// An address.
    Ip(IpAddr),
}

impl FromStr for Destination {
    type Err = String;

    /// `HOST`, `HOST:PORT`, `IP`, `IP:PORT` or `[IPV6]:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST[:PORT], IP[:PORT] or [IPV6][:PORT]");
        if let Ok(ip) = text.parse() {
            return Ok(Self { dialled: Dialled::Ip(ip), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let ip = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = ip.parse::<IpAddr>() {
            // Without brackets it cannot be told where an IPv6 address ends.
            return (ip.is_ipv4() || host.starts_with('['))
                .then_some(Self { dialled: Dialled::Ip(ip), port })
                .ok_or_else(wrong);
        }
        let is_host = |host: &str| {
            let labels = host.strip_suffix('.').unwrap_or(host).split('.');
            let fits = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            host.len() <= HOST_BYTES_MAX && labels.into_iter().all(|label| !label.is_empty() && fits(label))
        };
        if !is_host(host) {
            return Err(wrong());
        }
        Ok(Self { dialled: Dialled::Host(host.to_ascii_lowercase().into()), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.dialled, self.port) {
            (Dialled::Ip(ip @ IpAddr::V6(_)), Some(port)) => write!(f, "[{ip}]:{port}"),
            (Dialled::Ip(ip), port) => {
                write!(f, "{ip}").and_then(|()| port.map_or(Ok(()), |port| write!(f, ":{port}")))
            }
            (Dialled::Host(host), port) => {
                write!(f, "{host}").and_then(|()| port.map_or(Ok(()), |port| write!(f, ":{port}")))
            }
        }
    }
}

/// What was dialled is, to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A service, by an address of its own.
    Service(RowKey),
    /// Workloads, by their addresses.
    Workloads {
        rows: Vec<RowKey>,
        /// Because a Service has no address of its own.
        headless: bool,
    },
    /// A service that has no address to be recognised by (R37).
    Unaddressed(RowKey),
    /// Nothing.
    Nothing { is_name: bool },
}

/// What was found, and how.
pub(super) struct Found {
    pub(super) meant: Meant,
    pub(super) steps: Vec<Step>,
    /// Of a name: what has it.
    named: Option<RowKey>,
}

impl Found {
    fn new(meant: Meant, step: Step) -> Self {
        Self { meant, steps: vec![step], named: None }
    }
}

/// What a client means by a host, whatever becomes of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The host as it is claimed: fully qualified, or the wildcard.
    pub host: Name,
    /// What has it; none: nothing that is published.
    pub row: Option<RowKey>,
    /// How it was found.
    pub steps: Vec<Step>,
}

/// What a client in `namespace` means by a host (R42-R44); an empty namespace stands for one that has nothing of its own.
pub fn named(store: &Store, namespace: &Name, host: &Name) -> Named {
    let (host, Found { steps, named, .. }) = at_host(store, namespace, host);
    Named { host, row: named, steps }
}

/// What a client in `namespace` means.
pub(super) fn resolve(store: &Store, namespace: &Name, to: &Destination) -> Found {
    match &to.dialled {
        Dialled::Ip(ip) => at_address(store, namespace, *ip),
        Dialled::Host(host) => at_host(store, namespace, host).1,
    }
}

/// Workloads come before services: the ztunnel of the client looks for them first.
fn at_address(store: &Store, namespace: &Name, ip: IpAddr) -> Found {
    let (services, workloads): (Vec<RowKey>, Vec<RowKey>) =
        store.rows_at(ip).into_iter().partition(|row| row.kind.is_service());
    if !workloads.is_empty() {
        let names = listed(&workloads);
        let mut found = Found::new(
            Meant::Workloads { rows: workloads, headless: false },
            Step::new("R86", format!("{ip} is the address of {names}: workload traffic")),
        );
        if let Some(service) = services.first() {
            let text = format!("it is an address of {service} too, but workloads are looked for first");
            found.steps.push(Step::new("R86", text));
        }
        return found;
    }
    let own = services.iter().find(|row| row.namespace == *namespace);
    if let Some(service) = own.or(services.first()) {
        let text = format!("{ip} is an address of {service}: service traffic");
        let mut found = Found::new(Meant::Service(service.clone()), Step::new("R86", text));
        if let Some(other) = services.iter().find(|other| *other != service) {
            let text =
                format!("it is an address of {other} too; the client's own namespace, then a Service comes first");
            found.steps.push(Step::new("R44", text));
        }
        return found;
    }
    let unseen = store.rows().find_map(|(key, object)| unseen_at(&object, ip).map(|why| (key, why)));
    let step = match unseen {
        Some((key, why)) => Step::new("R97", format!("{ip} is the address of {key}, {why}: it does not lead there")),
        None => Step::new("R86", format!("no service and no workload of the mesh has the address {ip}")),
    };
    Found::new(Meant::Nothing { is_name: false }, step)
}

/// Why a workload that has the address is not looked up by it (R97).
fn unseen_at(object: &RowObject<'_>, ip: IpAddr) -> Option<&'static str> {
    match object {
        RowObject::Pod(pod) => (pod.host_network && pod.addresses.contains(&ip)).then_some("on the host's network"),
        RowObject::SliceEndpoint { address, .. } => {
            (address.parse() == Ok(ip)).then_some("an endpoint of an EndpointSlice")
        }
        _ => None,
    }
}

/// The host as it is claimed, and what was found; of names that nobody claims the one that the client wrote.
fn at_host(store: &Store, namespace: &Name, host: &Name) -> (Name, Found) {
    let mut unaddressed: Option<(Name, Found)> = None;
    for name in names_tried(host, namespace, &store.facts().cluster_domain) {
        for candidate in std::iter::once(name.clone()).chain(wildcards(&name)) {
            match claimed(store, namespace, &candidate, &name) {
                // The DNS proxy passes over what it has no address for.
                Some(found) if matches!(found.meant, Meant::Unaddressed(_)) => {
                    unaddressed.get_or_insert((candidate, found));
                }
                Some(found) => return (candidate, found),
                None => {}
            }
        }
    }
    unaddressed.unwrap_or_else(|| {
        let whose = if namespace.is_empty() { "any client".to_owned() } else { format!("a client in {namespace}") };
        let text = format!("no service that {whose} sees has the host {host}");
        let found = Found::new(Meant::Nothing { is_name: true }, Step::new("R44", text));
        (host.strip_suffix('.').unwrap_or(host).into(), found)
    })
}

/// The names that stand for one that a program asks for, in the order in which they are tried.
fn names_tried(host: &str, namespace: &str, domain: &str) -> Vec<Name> {
    if let Some(absolute) = host.strip_suffix('.') {
        return vec![absolute.into()];
    }
    let searched = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    let searched = searched.into_iter().map(|suffix| Name::from(format!("{host}.{suffix}")));
    let absolute = std::iter::once(Name::from(host));
    if host.matches('.').count() >= NDOTS {
        absolute.chain(searched).collect()
    } else {
        searched.chain(absolute).collect()
    }
}

/// `*.b.c` and `*.c` for `a.b.c`.
fn wildcards(name: &str) -> impl Iterator<Item = Name> + '_ {
    name.match_indices('.').map(|(at, _)| format!("*{}", name.get(at..).unwrap_or_default()).into())
}

/// Who has this host, from the client's namespace.
fn claimed(store: &Store, namespace: &Name, candidate: &Name, name: &Name) -> Option<Found> {
    if let Some(found) = unpublished_service(store, candidate).or_else(|| member(store, namespace, candidate)) {
        return Some(found);
    }
    let row = store.service_of_host(candidate, namespace)?;
    let via = if candidate == name { String::new() } else { format!(" by {candidate}") };
    let whose = match row.namespace == *namespace {
        true => "of the client's own namespace",
        false => "the one that clients of other namespaces mean",
    };
    let step = Step::new("R44", format!("{name} means {row}{via}, {whose}"));
    let (meant, reached) = match store.row(&row)? {
        RowObject::Service(service) if service.headless => headless(store, &row),
        RowObject::ServiceEntry { entry, .. } if entry.addresses_of(candidate).is_empty() => {
            let text =
                "it has no address: whatever its name resolves to elsewhere, the mesh does not recognise it by that";
            (Meant::Unaddressed(row.clone()), Step::new("R37", text))
        }
        RowObject::Service(service) if service.addresses.is_empty() => {
            let text = "no cluster IP is written; the API server gives it one, which the client dials: service traffic";
            (Meant::Service(row.clone()), Step::new("R86", text))
        }
        _ => {
            let text = "the client dials an address of the service: service traffic";
            (Meant::Service(row.clone()), Step::new("R86", text))
        }
    };
    Some(Found { meant, steps: vec![step, reached], named: Some(row) })
}

/// A Service that is there and not part of the mesh: DNS knows it all the same.
fn unpublished_service(store: &Store, host: &str) -> Option<Found> {
    let (namespace, name) = service_of_host(host, &store.facts().cluster_domain)?;
    let key = RowKey::new(RowKind::Service, namespace, name);
    let why = store.unpublished(&key).filter(|why| *why != Unpublished::NoObject)?;
    let step = Step::new(why.rule().unwrap_or("R86"), format!("{host} is {key}, which is not part of the mesh: {why}"));
    Some(Found::new(Meant::Nothing { is_name: true }, step))
}

/// The Pod that a name below a headless Service's stands for.
fn member(store: &Store, namespace: &Name, host: &str) -> Option<Found> {
    let (pod, service) = host.split_once('.')?;
    let row = store.service_of_host(&service.into(), namespace)?;
    let Some(RowObject::Service(object)) = store.row(&row) else { return None };
    let pod = RowKey::new(RowKind::Pod, &row.namespace, pod);
    let is_member = object.headless && store.workloads_of(&row).contains(&pod);
    let text = format!("{host} is {pod}, behind the headless {row}: workload traffic");
    is_member.then(|| Found {
        meant: Meant::Workloads { rows: vec![pod.clone()], headless: true },
        steps: vec![Step::new("R33", text)],
        named: Some(pod),
    })
}

fn headless(store: &Store, row: &RowKey) -> (Meant, Step) {
    let rows: Vec<RowKey> = store.workloads_of(row).into_iter().collect();
    let text = match rows.len() {
        0 => "it is headless, and no workload behind it is known: the name resolves to nothing".to_owned(),
        count => format!("it is headless, so the client dials one of its {count} workloads: workload traffic"),
    };
    let meant =
        if rows.is_empty() { Meant::Nothing { is_name: true } } else { Meant::Workloads { rows, headless: true } };
    (meant, Step::new("R33", text))
}

/// The first few of them.
fn listed(rows: &[RowKey]) -> String {
    const SHOWN_MAX: usize = 3;
    let shown: Vec<String> = rows.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    let more = rows.len().saturating_sub(SHOWN_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
