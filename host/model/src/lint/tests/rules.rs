//! Istio's rules, as far as findings depend on them: a resolver of plain code for tests. Not the default component, and
//! not complete: no inbound bindings, and nobody's settings.

use std::sync::Arc;

use crate::batch::{Answer, AnswerChoice, AnswerTarget, Batch, Question};
use crate::decider::{ResolveFailure, Resolver};
use crate::decision::OnUnreachable;
use crate::description::{Description, Fields, Reach, Read, Reference, Source};
use crate::input::{GatewayInput, NamespaceInput, SubjectKind, Visibility};
use crate::lint::labels::{self, own_value, value};
use crate::name::Name;

pub(super) struct Rules;

pub(super) fn description() -> Arc<Description> {
    let read = |at, key: &str| Read { at, key: key.into() };
    let reference = |name: &str, namespace: &str| Reference {
        name_label: name.into(),
        namespace_label: Some(namespace.into()),
        inherit: true,
    };
    let instance = Reference { name_label: labels::GATEWAY_NAME.into(), namespace_label: None, inherit: false };
    Arc::new(Description {
        name: "rules".into(),
        version: "0".into(),
        reads: [
            (Source::SubjectLabel, "istio.io/*"),
            (Source::SubjectLabel, labels::MANAGED),
            (Source::SubjectLabel, labels::GATEWAY_NAME),
            (Source::SubjectLabel, labels::REQUIRED),
            (Source::SubjectAnnotation, labels::CANARY_WEIGHT),
            (Source::NamespaceLabel, "istio.io/*"),
            (Source::NamespaceLabel, labels::REQUIRED),
            (Source::NamespaceAnnotation, labels::CANARY_WEIGHT),
            (Source::GatewayLabel, labels::WAYPOINT_FOR),
            (Source::ClassLabel, labels::WAYPOINT_FOR),
            (Source::GatewayAnnotation, labels::INBOUND_BINDING),
            (Source::ClassAnnotation, labels::INBOUND_BINDING),
        ]
        .map(|(at, key)| read(at, key))
        .into(),
        fields: Fields::default(),
        references: vec![
            instance,
            reference(labels::USE_WAYPOINT, "istio.io/use-waypoint-namespace"),
            reference(labels::CANARY, "istio.io/use-waypoint-canary-namespace"),
        ],
        reach: Reach::Referenced,
    })
}

impl Resolver for Rules {
    fn resolve(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, ResolveFailure> {
        Ok(batch.subjects.iter().map(|question| Row::of(batch, question).decide()).collect())
    }
}

fn answer(choice: AnswerChoice, reason: Option<&str>) -> Answer {
    let (reason, second_reason) = (reason.map(str::to_owned), None);
    Answer { choice, on_unreachable: OnUnreachable::Fail, reason, second_reason, ingress: false, tunnel: None }
}

struct Row<'a> {
    question: &'a Question<'a>,
    namespace: &'a NamespaceInput,
    candidates: Vec<(u32, &'a GatewayInput)>,
}

/// A candidate, or why it is none.
type Found<'a> = Result<(u32, &'a GatewayInput), &'static str>;

/// A canary with its weight, or why there is none.
type Weighted<'a> = Result<((u32, &'a GatewayInput), u32), &'static str>;

impl<'a> Row<'a> {
    fn of(batch: &'a Batch<'_>, question: &'a Question<'a>) -> Self {
        let candidates = question.candidates.iter().map(|at| (*at, batch.gateways[*at as usize])).collect();
        Self { question, namespace: batch.namespaces[question.namespace as usize], candidates }
    }

    fn own(&self, key: &str) -> Option<&'a Name> {
        own_value(&self.question.input.labels, key)
    }

    fn is_service(&self) -> bool {
        matches!(self.question.input.kind, SubjectKind::Service | SubjectKind::ServiceEntry)
    }

    fn decide(&self) -> Answer {
        let instance = self.own(labels::GATEWAY_NAME).filter(|_| !self.is_service());
        if instance.is_some_and(|name| self.ready(&self.namespace.name, name).is_ok())
            || self.own(labels::MANAGED).is_some_and(|by| **by == *labels::MESH_CONTROLLER && self.is_service())
        {
            return answer(AnswerChoice::Direct, None);
        }
        let explicit = self.own(labels::USE_WAYPOINT).is_some();
        let Some((namespace, name)) = self.named(labels::USE_WAYPOINT, explicit).filter(|(_, name)| **name != *"none")
        else {
            return self.unasked();
        };
        let bound = self.serving(&namespace, &name);
        let bound = match bound {
            Err("UnsupportedTrafficType") if !explicit && !self.is_service() => return self.unasked(),
            Ok((_, gateway)) if self.is_private() && gateway.key.namespace != self.namespace.name => {
                Err("CrossNamespaceWaypointForbidden")
            }
            bound => bound,
        };
        match bound {
            Err(reason) => {
                let blocked = self.is_required();
                answer(if blocked { AnswerChoice::Blocked } else { AnswerChoice::Direct }, Some(reason))
            }
            Ok(primary) => self.bound(primary, explicit),
        }
    }

    fn unasked(&self) -> Answer {
        match self.is_required() {
            true => answer(AnswerChoice::Blocked, Some("WaypointRequired")),
            false => answer(AnswerChoice::Direct, None),
        }
    }

    fn is_required(&self) -> bool {
        let said = self.own(labels::REQUIRED).or_else(|| value(&self.namespace.labels, labels::REQUIRED));
        said.is_some_and(|said| &**said != "none" && &**said != "false")
    }

    fn is_private(&self) -> bool {
        self.question.input.visibility == Visibility::OwnNamespace
    }

    fn named(&self, label: &str, own: bool) -> Option<(Name, Name)> {
        let own_labels = self.question.input.labels.as_ref().map_or(&[][..], |labels| labels);
        let pairs = if own { own_labels } else { &self.namespace.labels[..] };
        let namespace = value(pairs, &format!("{label}-namespace")).unwrap_or(&self.namespace.name);
        Some((namespace.clone(), value(pairs, label)?.clone()))
    }

    fn ready(&self, namespace: &str, name: &str) -> Found<'a> {
        let mut all = self.candidates.iter();
        let found = all.find(|(_, it)| *it.key.namespace == *namespace && *it.key.name == *name);
        found.filter(|(_, it)| !it.addresses.is_empty()).copied().ok_or("WaypointIsNotReady")
    }

    fn serving(&self, namespace: &str, name: &str) -> Found<'a> {
        let (index, gateway) = self.ready(namespace, name)?;
        let same = gateway.key.namespace == self.namespace.name;
        let tunnel = gateway.listeners.iter().find(|it| it.port == 15008 && &*it.protocol == "HBONE");
        let admitted = match tunnel.and_then(|it| Some((it.admits_from.as_deref()?, it.selector))) {
            Some(("All", _)) => true,
            Some(("Selector", id)) => id.is_some_and(|id| self.namespace.selected_by.contains(&id)),
            _ => same,
        };
        let of_class = gateway.class.as_ref().and_then(|class| value(&class.labels, labels::WAYPOINT_FOR));
        let serves = value(&gateway.labels, labels::WAYPOINT_FOR).or(of_class).map_or("service", |it| it);
        let fits = serves == "all" || serves == if self.is_service() { "service" } else { "workload" };
        match (admitted, fits) {
            (false, _) => Err("AttachmentDenied"),
            (true, false) => Err("UnsupportedTrafficType"),
            (true, true) => Ok((index, gateway)),
        }
    }

    fn bound(&self, (index, gateway): (u32, &GatewayInput), explicit: bool) -> Answer {
        let target = |gateway: u32, input: &GatewayInput, weight| {
            let addresses = || (0..).zip(&input.addresses);
            let host = addresses().find(|(_, it)| it.hostname().is_some());
            let address = host.or_else(|| addresses().find(|(_, it)| it.ip().is_some())).map(|(at, _)| at);
            AnswerTarget { gateway, address, weight }
        };
        let mut made = answer(AnswerChoice::Direct, Some("WaypointAccepted"));
        let mut targets = vec![target(index, gateway, 100)];
        match self.canary(explicit, &gateway.key) {
            None => {}
            Some(Ok(((canary, input), weight))) => {
                targets = vec![target(index, gateway, 100 - weight), target(canary, input, weight)];
            }
            Some(Err(reason)) => made.second_reason = Some(reason.to_owned()),
        }
        made.choice = AnswerChoice::Waypoints(targets);
        let said = self.own(labels::INGRESS).or_else(|| value(&self.namespace.labels, labels::INGRESS));
        made.ingress = self.is_service() && said.is_some_and(|said| &**said == "true");
        made
    }

    fn canary(&self, explicit: bool, primary: &crate::gateway::GatewayKey) -> Option<Weighted<'a>> {
        let own = self.own(labels::CANARY).is_some();
        if !self.is_service() || !own && explicit {
            return None;
        }
        let (namespace, name) = self.named(labels::CANARY, own).filter(|(_, name)| !name.is_empty())?;
        if primary.namespace == namespace && primary.name == name {
            return Some(Err("CanarySameAsPrimary"));
        }
        let weight = own_value(&self.question.input.annotations, labels::CANARY_WEIGHT);
        let inherited = || value(&self.namespace.annotations, labels::CANARY_WEIGHT).filter(|_| !explicit);
        let weight = weight.or_else(inherited).map_or(Some(0), |it| it.parse::<u32>().ok().filter(|it| *it <= 100));
        let Some(weight) = weight else {
            return Some(Err("CanaryInvalidWeight"));
        };
        Some(self.serving(&namespace, &name).map(|found| (found, weight)))
    }
}
