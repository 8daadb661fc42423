//! What becomes of the connections of one kind of client to what it means, under decisions that are made. Not who means
//! what: that was found before.

use super::destination::Meant;
use super::{Client, ClientKind, Decisions, Leg, Share, Step, Verdict};
use crate::decision::{Choice, Decision, OnUnreachable, Target, WaypointAddress};
use crate::service::Port;
use crate::service_entry::Resolution;
use crate::store::{RowObject, Store};
use crate::table::RowKey;

/// A client on its way.
pub(super) struct Route<'a> {
    pub(super) store: &'a Store,
    pub(super) decisions: &'a Decisions<'a>,
    pub(super) client: &'a Client,
    pub(super) port: Option<u16>,
}

/// A verdict and its reasons.
struct Judged {
    verdict: Verdict,
    steps: Vec<Step>,
}

impl Judged {
    fn new(verdict: Verdict, rule: &'static str, text: impl Into<String>) -> Self {
        Self { verdict, steps: vec![Step::decisive(rule, text)] }
    }
}

impl Route<'_> {
    /// One leg; several where workloads fare differently.
    pub(super) fn legs(&self, meant: &Meant) -> Vec<Leg> {
        match meant {
            Meant::Nothing { .. } => vec![leg(Vec::new(), None, self.past())],
            Meant::Unaddressed(row) => {
                let mut judged = self.past();
                judged.steps.extend(self.unchecked(row, &judged.verdict));
                vec![leg(Vec::new(), Some(row.clone()), judged)]
            }
            Meant::Service(row) => {
                let mut judged = self.to_service(row);
                judged.steps.extend(self.unchecked(row, &judged.verdict));
                vec![leg(vec![row.clone()], Some(row.clone()), judged)]
            }
            Meant::Workloads { rows, .. } => self.to_workloads(rows),
        }
    }

    /// Those that fare alike are one leg.
    fn to_workloads(&self, rows: &[RowKey]) -> Vec<Leg> {
        let mut legs: Vec<Leg> = Vec::new();
        for row in rows {
            let mut judged = self.to_workload(row);
            judged.steps.extend(self.unchecked(row, &judged.verdict));
            match legs.iter_mut().find(|leg| leg.verdict == judged.verdict && leg.steps == judged.steps) {
                Some(leg) => leg.to.push(row.clone()),
                None => legs.push(leg(vec![row.clone()], Some(row.clone()), judged)),
            }
        }
        legs
    }

    /// What the mesh does not know goes where the client dialled.
    fn past(&self) -> Judged {
        match self.client.kind {
            ClientKind::NotEnrolled(_) => outside(),
            _ => Judged::new(
                Verdict::Passthrough,
                "R86",
                "the connection goes where the client dialled, past any waypoint",
            ),
        }
    }

    fn to_service(&self, row: &RowKey) -> Judged {
        let decision = (self.decisions)(row);
        match self.client.kind {
            ClientKind::NotEnrolled(_) => outside(),
            ClientKind::Sidecar => sidecar(),
            ClientKind::Waypoint => waypoint(),
            ClientKind::IngressGateway | ClientKind::EastWestGateway => match decision {
                Some(decision) => self.gateway_to_service(row, &decision),
                None => undecided(),
            },
            ClientKind::Enrolled => match decision {
                Some(decision) => self.enrolled_to_service(row, &decision),
                None => undecided(),
            },
        }
    }

    /// R87: by the service's decision, and by nothing of the endpoint's.
    fn enrolled_to_service(&self, row: &RowKey, decision: &Decision) -> Judged {
        match &decision.choice {
            Choice::Keep => kept(),
            Choice::Blocked => blocked(decision),
            Choice::Direct if self.lacks_port(row) => {
                Judged::new(Verdict::Fails, "R87", "the service has no such port, so it has no endpoint for it")
            }
            Choice::Direct => {
                let because = because(decision);
                let text =
                    format!("the service has no waypoint{because}; that of the endpoint is not used in its place");
                Judged::new(Verdict::Direct, "R87", text)
            }
            Choice::Waypoints(_) if self.lacks_port(row) => {
                let text = "the waypoint is told the port that was dialled, and the service has no such port";
                Judged::new(Verdict::Fails, "R89", text)
            }
            Choice::Waypoints(targets) => self.through(decision, targets, "R87", "the service has a waypoint"),
        }
    }

    fn to_workload(&self, row: &RowKey) -> Judged {
        if !self.is_found_by_address(row) {
            let text = "its address does not lead to it: no waypoint is looked for";
            return match self.client.kind {
                ClientKind::NotEnrolled(_) => outside(),
                _ => Judged::new(Verdict::Passthrough, "R97", text),
            };
        }
        match self.client.kind {
            ClientKind::NotEnrolled(_) => outside(),
            ClientKind::Sidecar => sidecar(),
            ClientKind::Waypoint => waypoint(),
            ClientKind::IngressGateway | ClientKind::EastWestGateway => {
                Judged::new(Verdict::Direct, "R72", "gateways look for waypoints of services only")
            }
            ClientKind::Enrolled => match (self.decisions)(row) {
                Some(decision) => self.enrolled_to_workload(&decision),
                None => undecided(),
            },
        }
    }

    fn enrolled_to_workload(&self, decision: &Decision) -> Judged {
        match &decision.choice {
            Choice::Keep => kept(),
            Choice::Blocked => blocked(decision),
            Choice::Direct => {
                let because = because(decision);
                Judged::new(Verdict::Direct, "R88", format!("the workload has no waypoint of its own{because}"))
            }
            Choice::Waypoints(targets) if targets.iter().any(|it| self.client.is_instance_of(&it.gateway)) => {
                Judged::new(Verdict::Direct, "R88", "the client is an instance of that very waypoint")
            }
            Choice::Waypoints(targets) => self.through(decision, targets, "R88", "the workload has a waypoint"),
        }
    }

    /// By one of the waypoints, as far as there is a way to it (R92).
    fn through(&self, decision: &Decision, targets: &[Target], rule: &'static str, text: &str) -> Judged {
        let shares: Vec<Share> = targets.iter().filter(|it| it.weight > 0).map(share).collect();
        if shares.iter().any(|share| share.reachable) {
            let mut steps = vec![Step::decisive(rule, text)];
            for lost in shares.iter().filter(|share| !share.reachable) {
                let text = format!("no address of {} is known: its {} % fail", lost.gateway, lost.weight);
                steps.push(Step::new("R92", text));
            }
            steps.extend(targets.iter().filter(|it| it.weight > 0).filter_map(|it| self.deserted(it)));
            return Judged { verdict: Verdict::Through { waypoints: shares }, steps };
        }
        let (verdict, unreachable) = match decision.on_unreachable {
            OnUnreachable::Fail => (Verdict::Fails, "no address of the waypoint is known, so connections fail"),
            OnUnreachable::Bypass => (
                Verdict::Direct,
                "no address of the waypoint is known, and the decision says bypass: past the waypoint",
            ),
        };
        Judged { verdict, steps: vec![Step::new(rule, text), Step::decisive("R92", unreachable)] }
    }

    /// A waypoint whose Service is known, and nobody behind it (R13).
    fn deserted(&self, target: &Target) -> Option<Step> {
        let Some(WaypointAddress::Hostname(host)) = &target.address else { return None };
        let service = self.store.service_of_host(host, &target.gateway.namespace)?;
        let waypoint = &target.gateway;
        let text = format!(
            "no workload behind {service}, the Service of waypoint {waypoint}, is known; if there is none, connections fail"
        );
        self.store.workloads_of(&service).is_empty().then(|| Step::new("R13", text))
    }

    /// R70-R74.
    fn gateway_to_service(&self, row: &RowKey, decision: &Decision) -> Judged {
        let direct = |rule, text: &str| Judged::new(Verdict::Direct, rule, text);
        let Choice::Waypoints(targets) = &decision.choice else {
            let because = because(decision);
            return direct("R70", &format!("the service has no waypoint{because}, so the gateway dials its endpoints"));
        };
        if self.client.kind == ClientKind::IngressGateway && !decision.ingress {
            let text = "neither the service nor its namespace has istio.io/ingress-use-waypoint=true, so the gateway dials \
                        its endpoints";
            return direct("R70", text);
        }
        if self.has_no_address(row) {
            return direct(
                "R72",
                "the service has no address, and gateways use waypoints only of services that have one",
            );
        }
        let used: Vec<Share> = targets.iter().filter(|it| it.weight > 0 && self.is_service(it)).map(share).collect();
        if used.is_empty() {
            let hostname = |target: &Target| matches!(target.address, Some(WaypointAddress::Hostname(_)));
            return match targets.as_ref() {
                [only] if !hostname(only) => {
                    direct("R74", "no service has the waypoint's address, so the gateway takes it for no waypoint")
                }
                _ => Judged::new(
                    Verdict::Fails,
                    "R73",
                    "the gateway knows no endpoint of the waypoint, so requests fail",
                ),
            };
        }
        // What is left shares all of the requests.
        let sum: u32 = used.iter().map(|share| u32::from(share.weight)).sum();
        let part = |share: Share| {
            let weight = u8::try_from(u32::from(share.weight) * 100 / sum.max(1)).unwrap_or(100);
            Share { weight, reachable: true, ..share }
        };
        let waypoints = used.into_iter().map(part).collect();
        Judged::new(Verdict::Through { waypoints }, "R73", "the gateway sends to the waypoint's instances")
    }

    /// Whether a waypoint's address leads to a service that is known (R73, R74).
    fn is_service(&self, target: &Target) -> bool {
        match &target.address {
            Some(WaypointAddress::Ip { ip, .. }) => self.store.rows_at(*ip).iter().any(|row| row.kind.is_service()),
            Some(WaypointAddress::Hostname(host)) => {
                self.store.service_of_host(host, &target.gateway.namespace).is_some()
            }
            None => false,
        }
    }

    /// Nobody at the destination looks whether a connection passed the waypoint (R93).
    fn unchecked(&self, row: &RowKey, verdict: &Verdict) -> Option<Step> {
        let goes_past = matches!(verdict, Verdict::Direct | Verdict::Passthrough | Verdict::NotInMesh);
        let decision = (self.decisions)(row).filter(|_| goes_past)?;
        let meant = match decision.choice {
            Choice::Waypoints(_) => "has a waypoint",
            Choice::Blocked => "is blocked for clients of the mesh",
            Choice::Keep | Choice::Direct => return None,
        };
        let text =
            format!("the destination {meant}, but nobody checks that there: only a policy stops this connection");
        Some(Step::new("R93", text))
    }

    /// True where a port was asked for and ports are written, but not this one.
    fn lacks_port(&self, row: &RowKey) -> bool {
        let Some(port) = self.port else { return false };
        let lacks = |ports: &[Port]| !ports.is_empty() && ports.iter().all(|it| it.number != u32::from(port));
        match self.store.row(row) {
            Some(RowObject::Service(service)) => lacks(&service.ports),
            // Without resolution, connections go where the client wanted (R38).
            Some(RowObject::ServiceEntry { entry, .. }) => entry.resolution != Resolution::None && lacks(&entry.ports),
            _ => false,
        }
    }

    fn has_no_address(&self, row: &RowKey) -> bool {
        match self.store.row(row) {
            // One that is not headless is given an address.
            Some(RowObject::Service(service)) => service.headless,
            Some(RowObject::ServiceEntry { entry, hosts, .. }) => {
                hosts.iter().all(|host| entry.addresses_of(host).is_empty())
            }
            _ => true,
        }
    }

    fn is_found_by_address(&self, row: &RowKey) -> bool {
        match self.store.row(row) {
            Some(RowObject::Pod(pod)) => !pod.host_network,
            Some(RowObject::WorkloadEntry(entry)) => entry.ip().is_some(),
            Some(RowObject::EntryEndpoint { endpoint, .. }) => endpoint.address.parse::<std::net::IpAddr>().is_ok(),
            _ => false,
        }
    }
}

fn leg(to: Vec<RowKey>, decided_by: Option<RowKey>, Judged { verdict, steps }: Judged) -> Leg {
    Leg { to, verdict, steps, decided_by }
}

fn share(target: &Target) -> Share {
    Share { gateway: target.gateway.clone(), weight: target.weight, reachable: !target.dial.is_empty() }
}

/// The reason of a decision, to be put behind a clause.
fn because(decision: &Decision) -> String {
    decision.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
}

fn outside() -> Judged {
    Judged::new(Verdict::NotInMesh, "R86", "nobody looks at what the client dials, so no waypoint is looked for")
}

fn sidecar() -> Judged {
    Judged::new(Verdict::Direct, "R75", "the sidecar goes straight to a workload")
}

fn waypoint() -> Judged {
    Judged::new(Verdict::Direct, "R94", "the waypoint goes straight to a workload")
}

fn blocked(decision: &Decision) -> Judged {
    Judged::new(Verdict::Blocked, "R92", format!("the decision is to let nothing pass{}", because(decision)))
}

fn kept() -> Judged {
    Judged::new(Verdict::Unknown, "R85", "the decision is what the control plane said, which is not known here")
}

fn undecided() -> Judged {
    Judged::new(Verdict::Unknown, "R85", "nobody has decided it")
}
