//! Traffic that must not go past a waypoint: the label of ours by which an owner says so for an object or a namespace. Not
//! the setting for what cannot be bound; that is in `settings`.

use wayswitch_sdk::text::same;
use wayswitch_sdk::{Level, Pair, lookup_value};

use super::keys;
use super::selection::Selection;

/// What one label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Required {
    services: bool,
    workloads: bool,
}

impl Required {
    /// None where the label is absent. What it does not know it takes for `all`: a slip of the pen must not open a door.
    pub(super) fn of(labels: &[Pair]) -> Option<Self> {
        let value = lookup_value(labels, keys::REQUIRED)?;
        let nothing = same(value, keys::NONE) || same(value, "false");
        let (service, workload) = (same(value, keys::SERVICE), same(value, keys::WORKLOAD));
        Some(Self { services: !nothing && !workload, workloads: !nothing && !service })
    }
}

impl Selection<'_, '_> {
    /// The level whose label requires a waypoint for this kind of traffic. The object's label hides its namespace's.
    pub(super) fn required(&self) -> Option<Level> {
        if self.settings.required == super::settings::Required::Ignored {
            return None;
        }
        let own = self.own.and_then(|own| Required::of(own.labels));
        let (level, said) = match own {
            Some(own) => (Level::Subject, own),
            None => (Level::Namespace, self.namespace.required?),
        };
        let meant = if self.is_service() { said.services } else { said.workloads };
        meant.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::{Required, keys};
    use wayswitch_sdk::Pair;

    #[test]
    fn anything_it_does_not_know_means_all_traffic() {
        let rows = [
            ("service", (true, false)),
            ("workload", (false, true)),
            ("all", (true, true)),
            ("true", (true, true)),
            ("none", (false, false)),
            ("false", (false, false)),
            ("", (true, true)),
            ("None", (true, true)),
            ("services", (true, true)),
        ];
        for (value, (services, workloads)) in rows {
            let labels = [Pair { key: keys::REQUIRED.to_owned(), value: value.to_owned() }];
            assert_eq!(Required::of(&labels), Some(Required { services, workloads }), "{value:?}");
        }
        assert_eq!(Required::of(&[]), None);
    }
}
