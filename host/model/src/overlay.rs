//! Objects of two sources as one mesh: those of files, which an operator named, lie over those of the cluster.
//!
//! Only what the upper source has is remembered, and what it hides: with a handful of files over a large cluster that is
//! next to nothing. What is hidden is followed all the same, so that it is there, as it is now, when the upper one goes.

use std::collections::{HashMap, HashSet};

use crate::object::{Object, ObjectKey};
use crate::store::{Event, Store};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    over: HashSet<ObjectKey>,
    hidden: HashMap<ObjectKey, Object>,
}

impl Overlay {
    /// Where the store has only what the upper source told so far.
    pub fn of(store: &Store) -> Self {
        Self { over: store.object_keys().collect(), hidden: HashMap::new() }
    }

    /// What an event of the upper source means for a store that has both.
    pub fn over(&mut self, event: Event, store: &Store) -> Event {
        match &event {
            Event::Apply(object) => {
                let key = object.key();
                if self.over.insert(key.clone())
                    && let Some(under) = store.object(&key)
                {
                    self.hidden.insert(key, under);
                }
                event
            }
            Event::Delete(key) => {
                // One that it never had says nothing about the lower source.
                match self.over.remove(key) {
                    true => self.hidden.remove(key).map_or(event, Event::Apply),
                    false => store.object(key).map_or(event, Event::Apply),
                }
            }
        }
    }

    /// What an event of the lower source means; none while the upper one has the object.
    pub fn under(&mut self, event: Event) -> Option<Event> {
        let key = event.key();
        if !self.over.contains(&key) {
            return Some(event);
        }
        match event {
            Event::Apply(object) => self.hidden.insert(key, object),
            Event::Delete(_) => self.hidden.remove(&key),
        };
        None
    }

    /// How many objects of the lower source are hidden.
    pub fn hidden(&self) -> usize {
        self.hidden.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::object::{Kind, Meta};
    use crate::store::Facts;
    use crate::{Labels, Namespace};

    fn namespace(name: u8, version: u8) -> Object {
        let mut meta = Meta::named("", &format!("n{name}"));
        meta.labels = [("version".to_owned(), version.to_string())].into_iter().collect::<Labels>();
        Object::Namespace(Namespace { meta })
    }

    fn event() -> impl Strategy<Value = (bool, u8, Option<u8>)> {
        (any::<bool>(), 0..4u8, prop_oneof![2 => (0..3u8).prop_map(Some), 1 => Just(None)])
    }

    proptest! {
        #[test]
        fn after_any_history_the_upper_source_wins_and_nothing_of_the_lower_is_lost(history in prop::collection::vec(event(), 0..40)) {
            let (mut overlay, mut store) = (Overlay::default(), Store::new(Facts::default()));
            let mut sources = [BTreeMap::new(), BTreeMap::new()];
            for (is_over, name, version) in history {
                let object = version.map(|version| namespace(name, version));
                let key = ObjectKey::new(Kind::Namespace, "", &format!("n{name}"));
                let event = object.clone().map_or(Event::Delete(key.clone()), Event::Apply);
                let source = &mut sources[usize::from(is_over)];
                match object {
                    Some(object) => source.insert(key, object),
                    None => source.remove(&key),
                };
                let event = if is_over { Some(overlay.over(event, &store)) } else { overlay.under(event) };
                if let Some(event) = event {
                    store.apply(event);
                }
                let mut expected = sources[0].clone();
                expected.extend(sources[1].clone());
                let found: BTreeMap<_, _> = store.object_keys().filter_map(|key| Some((key.clone(), store.object(&key)?))).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
