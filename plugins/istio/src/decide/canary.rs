//! The second waypoint of a service (R60-R69). It is only looked at where a first one is bound, and whatever is wrong with it
//! leaves the first as it is.

use wayswitch_sdk::{Level, Pair, lookup_value};

use super::outcome::{Refusal, Refused, Second};
use super::reference::{Named, Wish};
use super::selection::{Said, Selection, Wrong};
use super::settings::CanaryVisibility;
use super::trace::Trace;
use super::{keys, steps, version};

/// What a namespace says about the second waypoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct CanaryFacts<'a> {
    pub(super) wish: Wish<'a>,
    pub(super) weight: Option<&'a str>,
}

impl<'a> CanaryFacts<'a> {
    pub(super) fn of(namespace: Said<'a>) -> Self {
        let weight = lookup_value(namespace.annotations, keys::CANARY_WEIGHT);
        Self { wish: Wish::of_canary(namespace.labels), weight }
    }
}

impl<'a> Selection<'a, '_> {
    /// What becomes of the second waypoint of a service that is bound to `primary`.
    pub(super) fn second(&self, labels: &'a [Pair], primary: &Named<'a>, trace: &mut Trace) -> Second<'a> {
        if !self.settings.istio.has(version::CANARY) {
            return Second::NotAsked;
        }
        // The namespace has a say only where the first waypoint comes from it as well (R60).
        let inherited = Some(self.namespace.canary).filter(|_| !primary.explicit());
        let Some(named) = self.canary_named(labels, inherited.map(|facts| facts.wish), trace) else {
            return Second::NotAsked;
        };
        let before = trace.len();
        let second = self.canary(named, inherited.and_then(|facts| facts.weight), primary, trace);
        // None of these steps settles where the subject is bound.
        trace.leave_open_from(before);
        second.unwrap_or_else(|(gateway, why)| Second::Refused(Refused { named, gateway, why }))
    }

    /// The object's label, be it empty, else the namespace's (R61).
    fn canary_named(&self, labels: &'a [Pair], inherited: Option<Wish<'a>>, trace: &mut Trace) -> Option<Named<'a>> {
        let (mut level, mut wish) = (Level::Subject, Wish::of_canary(labels));
        if wish.says_nothing() {
            (level, wish) = (Level::Namespace, inherited?);
        }
        if !wish.says_nothing() {
            trace.note(|| steps::canary_wish(level, wish, self));
        }
        let Wish::Named { name, namespace } = wish else {
            return None;
        };
        let namespace = namespace.unwrap_or(&self.row.namespace.name);
        Some(Named { level, label: keys::CANARY, name, namespace })
    }

    pub(super) fn own_weight(&self) -> Option<&'a str> {
        lookup_value(self.own?.annotations, keys::CANARY_WEIGHT)
    }

    /// In the order of R63; the first that is wrong ends it.
    fn canary(
        &self,
        named: Named<'a>,
        inherited_weight: Option<&'a str>,
        primary: &Named<'a>,
        trace: &mut Trace,
    ) -> Result<Second<'a>, Wrong> {
        if named.same_gateway(primary) {
            trace.note(|| steps::same_as_primary(&named));
            return Err((None, Refusal::SameAsPrimary));
        }
        // Each level's annotation counts whichever level the label is of (R62).
        let own = self.own_weight();
        let written = own.or(inherited_weight);
        let level = if own.is_none() && written.is_some() { Level::Namespace } else { Level::Subject };
        let percent = written.map_or(Some(0), percent);
        trace.note(|| steps::weight(level, written, percent));
        let percent = percent.ok_or((None, Refusal::InvalidWeight))?;
        let visible = self.settings.canary_visibility == CanaryVisibility::Checked;
        let target = self.serving_services(named, visible, trace)?;
        Ok(Second::Shares { gateway: target.gateway, percent })
    }
}

/// A whole number from 0 to 100, with or without a sign (R62).
pub(super) fn percent(text: &str) -> Option<u32> {
    let number = text.parse::<i64>().ok()?;
    u32::try_from(number).ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn r62_a_weight_is_a_whole_number_of_percent() {
        let rows = [
            ("0", Some(0)),
            ("42", Some(42)),
            ("100", Some(100)),
            ("+5", Some(5)),
            ("-0", Some(0)),
            ("007", Some(7)),
            ("0000000000000000000000000000000000000001", Some(1)),
            ("101", None),
            ("-1", None),
            ("", None),
            ("+", None),
            ("--1", None),
            (" 1", None),
            ("1 ", None),
            ("1_0", None),
            ("10%", None),
            ("5.0", None),
            ("1e1", None),
            ("0x1", None),
            ("٣", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in rows {
            assert_eq!(percent(text), expected, "{text:?}");
        }
    }
}
