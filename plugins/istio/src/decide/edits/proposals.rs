//! What might change a decision: edits that are worth a trial. Whether one does is not known here.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Choice, Decision, Edit, Level, lookup_value};

use crate::decide::canary::percent;
use crate::decide::keys;
use crate::decide::outcome::{Outcome, Refusal, Refused, Second};
use crate::decide::reference::Wish;
use crate::decide::selection::Selection;
use crate::decide::settings;
use crate::decide::version;

/// What whoever makes an edit is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// That the waypoint is used.
    Waypoint,
    /// To do without.
    Release,
}

pub(super) struct Proposals<'s, 'a, 'b> {
    selection: &'s Selection<'a, 'b>,
    list: Vec<(Aim, Edit)>,
}

impl<'s, 'a, 'b> Proposals<'s, 'a, 'b> {
    /// The likeliest of each aim first.
    pub(super) fn of(outcome: &Outcome<'a>, selection: &'s Selection<'a, 'b>, now: &Decision) -> Vec<(Aim, Edit)> {
        let mut these = Self { selection, list: Vec::new() };
        match outcome {
            Outcome::NeverHasOne | Outcome::Unknown | Outcome::Instance { .. } => {}
            Outcome::Managed => these.setting(settings::EXCLUDE_GATEWAYS, "istio"),
            Outcome::NotAsked => these.another_name(Level::Namespace),
            Outcome::OptedOut { level } => {
                these.label(Aim::Waypoint, *level, keys::USE_WAYPOINT, None);
                these.another_name(*level);
            }
            Outcome::NotMeant { gateway } => {
                these.serving(*gateway);
                these.another_name(Level::Namespace);
            }
            Outcome::Refused(refused) => these.refused(refused),
            Outcome::Bound { second: Second::Refused(refused), .. } => these.second(refused),
            Outcome::Bound { .. } => these.opting_out(Level::Subject, keys::USE_WAYPOINT),
        }
        if now.choice == Choice::Blocked {
            these.opting_out(Level::Subject, keys::REQUIRED);
            these.setting(settings::REQUIRED, "ignored");
            these.setting(settings::UNBOUND, "direct");
        }
        these.list
    }

    fn refused(&mut self, refused: &Refused<'a>) {
        let level = refused.named.level;
        self.remedy(refused);
        self.own_namespace(refused, keys::USE_WAYPOINT_NAMESPACE);
        if level == Level::Subject && matches!(self.selection.namespace.wish, Wish::Named { .. }) {
            self.label(Aim::Waypoint, level, keys::USE_WAYPOINT, None);
        }
        self.another_name(level);
        self.opting_out(Level::Subject, keys::USE_WAYPOINT);
        if level == Level::Namespace {
            self.opting_out(level, keys::USE_WAYPOINT);
        }
    }

    fn second(&mut self, refused: &Refused<'a>) {
        let level = refused.named.level;
        self.remedy(refused);
        self.own_namespace(refused, keys::CANARY_NAMESPACE);
        self.setting(settings::CANARY_VISIBILITY, "istio");
        // Without the label, the object would have the namespace's; it may have none of either.
        let hides = level == Level::Subject && matches!(self.selection.namespace.canary.wish, Wish::Named { .. });
        if level == Level::Subject && !hides {
            self.label(Aim::Release, level, keys::CANARY, None);
            return;
        }
        self.opting_out(Level::Subject, keys::CANARY);
        if level == Level::Namespace {
            self.label(Aim::Release, level, keys::CANARY, None);
        }
    }

    /// What is wrong, put right where it is.
    fn remedy(&mut self, Refused { gateway, why, .. }: &Refused<'a>) {
        match (why, *gateway) {
            (Refusal::NotReady, Some(gateway)) => self.address(gateway),
            (Refusal::NotAdmitted, Some(gateway)) => self.admission(gateway),
            (Refusal::OtherTraffic, Some(gateway)) => self.serving(gateway),
            (Refusal::InvalidWeight, _) => self.weight(),
            // There is nothing to mend, or it is the name.
            (Refusal::ForeignNamespace | Refusal::SameAsPrimary, _) | (_, None) => {}
        }
    }

    /// The address that Istio would report, in a cluster with the usual domain. Before 1.24 it was an IP, which nobody can
    /// know: one for documentation stands for it.
    fn address(&mut self, gateway: u32) {
        let Some(object) = self.selection.batch.gateway(gateway) else { return };
        let value = match self.selection.settings.istio.has(version::HOSTNAMES) {
            true => [keys::HOSTNAME, "=", &object.name, ".", &object.namespace, ".svc.cluster.local"].concat(),
            false => [keys::IP_ADDRESS, "=192.0.2.1"].concat(),
        };
        self.propose(Aim::Waypoint, Level::Gateway, Some(gateway), keys::ADDRESSES.to_owned(), Some(value));
    }

    /// Only where a listener counts: without one, a label or field cannot help.
    fn admission(&mut self, gateway: u32) {
        let listener = self.selection.waypoint(gateway).and_then(|waypoint| waypoint.admission.listener);
        let Some(listener) = listener else { return };
        let path = format!("spec.listeners[{listener}].{}", keys::ADMITS_FROM);
        self.propose(Aim::Waypoint, Level::Listener, Some(gateway), path, Some("All".to_owned()));
    }

    /// What it serves today it goes on serving.
    fn serving(&mut self, gateway: u32) {
        let Some(waypoint) = self.selection.waypoint(gateway) else { return };
        let serves_something = waypoint.serves.services || waypoint.serves.workloads;
        let wanted = if self.selection.is_service() { keys::SERVICE } else { keys::WORKLOAD };
        let value = if serves_something { keys::ALL } else { wanted };
        let key = keys::WAYPOINT_FOR.to_owned();
        self.propose(Aim::Waypoint, Level::Gateway, Some(gateway), key, Some(value.to_owned()));
    }

    /// The number that the text begins with, if it is one; else no traffic, which harms nobody.
    fn weight(&mut self) {
        let own = self.selection.own_weight();
        let level = if own.is_some() { Level::Subject } else { Level::Namespace };
        let written = own.or(self.selection.namespace.canary.weight).unwrap_or_default();
        let digits = written.bytes().take_while(u8::is_ascii_digit).count();
        let digits = written.get(..digits).filter(|digits| percent(digits).is_some());
        self.label(Aim::Waypoint, level, keys::CANARY_WEIGHT, Some(digits.unwrap_or("0")));
    }

    /// The same name, but of the subject's namespace, where such a Gateway is among the candidates.
    fn own_namespace(&mut self, Refused { named, .. }: &Refused<'a>, key: &str) {
        let row = self.selection.row;
        if self.selection.batch.candidate(row.subject, &row.namespace.name, named.name).is_some() {
            self.label(Aim::Waypoint, named.level, key, None);
        }
    }

    /// The name of another waypoint that this subject could have, where one is among its candidates: at this level, and on
    /// the object.
    fn another_name(&mut self, level: Level) {
        self.name_at(level);
        if level == Level::Namespace {
            self.name_at(Level::Subject);
        }
    }

    fn name_at(&mut self, level: Level) {
        let selection = self.selection;
        let beside = selection.settings.istio.has(version::NAMESPACE_LABEL);
        let beside = beside.then(|| lookup_value(selection.labels_at(level), keys::USE_WAYPOINT_NAMESPACE)).flatten();
        // Where the name would be looked for, as the labels are.
        let place = beside.unwrap_or(&selection.row.namespace.name);
        let mut candidates = selection.batch.candidates(selection.row.subject);
        let usable = |gateway| selection.waypoint(gateway).is_some_and(|waypoint| selection.could_have(waypoint));
        let found = candidates.find(|(gateway, object)| same(&object.namespace, place) && usable(*gateway));
        if let Some((_, object)) = found {
            self.label(Aim::Waypoint, level, keys::USE_WAYPOINT, Some(&object.name));
        }
    }

    fn opting_out(&mut self, level: Level, key: &str) {
        self.label(Aim::Release, level, key, Some(keys::NONE));
    }

    /// `value`: none removes the key. Called in many places, and a copy of it in each would be compiled at every swap.
    #[inline(never)]
    fn label(&mut self, aim: Aim, level: Level, key: &str, value: Option<&str>) {
        self.propose(aim, level, None, key.to_owned(), value.map(str::to_owned));
    }

    fn setting(&mut self, key: &str, word: &str) {
        self.label(Aim::Release, Level::Settings, key, Some(word));
    }

    fn propose(&mut self, aim: Aim, at: Level, gateway: Option<u32>, key: String, value: Option<String>) {
        self.list.push((aim, Edit { at, gateway, key, value }));
    }
}
