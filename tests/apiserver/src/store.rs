//! All objects, by kind and key, with one counter for all versions. Knows no rules of the API: those are in `writes`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::history::{Change, History};
use crate::object::Object;
use crate::resource::Resource;
use crate::selectors::Selector;

/// Namespace (empty for kinds without) and name, in the order of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// Which collection: an index, never used again for another kind.
pub(crate) type Id = usize;

pub(crate) struct Collection {
    pub(crate) resource: Arc<Resource>,
    /// Whether requests for it are answered. What is not installed keeps its place, not its objects.
    pub(crate) is_served: bool,
    pub(crate) objects: BTreeMap<Key, Arc<Object>>,
}

pub(crate) struct Store {
    version: u64,
    collections: Vec<Collection>,
    history: History,
}

/// The history does not reach back to the version asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compacted;

/// What a list asks for.
#[derive(Clone, Copy)]
pub(crate) struct Range<'a> {
    /// All namespaces if absent.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) selector: &'a Selector,
    /// As of which version.
    pub(crate) at: u64,
    /// Begins behind this one.
    pub(crate) after: Option<&'a Key>,
    pub(crate) limit: usize,
}

/// Part of a list.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Object>>,
    /// The last key, if there are more.
    pub(crate) next: Option<Key>,
    /// How many more there are.
    pub(crate) remaining: usize,
}

impl Store {
    pub(crate) fn new(history_max: usize) -> Self {
        // A version of 0 means "any" to clients.
        Self { version: 1, collections: Vec::new(), history: History::new(history_max, 1) }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// The oldest version whose followers are known.
    pub(crate) fn oldest(&self) -> u64 {
        self.history.oldest()
    }

    /// Changes after this version, of all kinds.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Compacted> {
        self.history.since(version)
    }

    /// Serves a kind from now on. What it was before under the same name is replaced, objects stay.
    pub(crate) fn install(&mut self, resource: Resource) -> Id {
        let found = self.collections.iter_mut().enumerate().find(|(_, collection)| {
            collection.resource.group == resource.group && collection.resource.plural == resource.plural
        });
        match found {
            Some((id, collection)) => {
                collection.resource = Arc::new(resource);
                collection.is_served = true;
                id
            }
            None => {
                self.collections.push(Collection {
                    resource: Arc::new(resource),
                    is_served: true,
                    objects: BTreeMap::new(),
                });
                self.collections.len() - 1
            }
        }
    }

    /// Removes a kind and its objects, each with its event. Whether it was there.
    pub(crate) fn uninstall(&mut self, group: &str, plural: &str) -> bool {
        let found = self.collections.iter().position(|collection| {
            collection.is_served && collection.resource.group == group && collection.resource.plural == plural
        });
        let Some(id) = found else { return false };
        let keys: Vec<Key> = self.objects(id).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(id, &key);
        }
        if let Some(collection) = self.collections.get_mut(id) {
            collection.is_served = false;
        }
        true
    }

    /// Kinds that are served.
    pub(crate) fn served(&self) -> impl Iterator<Item = (Id, &Arc<Resource>)> {
        self.collections
            .iter()
            .enumerate()
            .filter(|(_, collection)| collection.is_served)
            .map(|(id, collection)| (id, &collection.resource))
    }

    /// The collection of this kind, if it is served in this version (any, if absent).
    pub(crate) fn find(&self, group: &str, version: Option<&str>, plural: &str) -> Option<(Id, Arc<Resource>)> {
        self.served()
            .find(|(_, resource)| {
                resource.group == group
                    && resource.plural == plural
                    && version.is_none_or(|version| resource.versions.iter().any(|served| served == version))
            })
            .map(|(id, resource)| (id, resource.clone()))
    }

    /// The collection of a manifest's apiVersion and kind.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<(Id, Arc<Resource>)> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        self.served()
            .find(|(_, resource)| {
                resource.group == group
                    && resource.kind == kind
                    && resource.versions.iter().any(|served| served == version)
            })
            .map(|(id, resource)| (id, resource.clone()))
    }

    pub(crate) fn is_served(&self, id: Id) -> bool {
        self.collections.get(id).is_some_and(|collection| collection.is_served)
    }

    pub(crate) fn get(&self, id: Id, key: &Key) -> Option<&Arc<Object>> {
        self.collections.get(id)?.objects.get(key)
    }

    pub(crate) fn objects(&self, id: Id) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        self.collections.get(id).into_iter().flat_map(|collection| &collection.objects)
    }

    /// Writes an object as the next version.
    pub(crate) fn write(&mut self, id: Id, key: &Key, value: Value) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(value, self.version));
        if let Some(collection) = self.collections.get_mut(id) {
            let before = collection.objects.insert(key.clone(), object.clone());
            self.history.push(Change::new(self.version, id, key.clone(), before, object.clone(), false));
        }
        object
    }

    /// Removes an object as the next version; what it was, with that version.
    pub(crate) fn remove(&mut self, id: Id, key: &Key) -> Option<Arc<Object>> {
        let before = self.collections.get_mut(id)?.objects.remove(key)?;
        self.version += 1;
        let last = Arc::new(Object::new(before.value(), self.version));
        self.history.push(Change::new(self.version, id, key.clone(), Some(before), last.clone(), true));
        Some(last)
    }

    /// Part of a list as it was at a version: what has changed since is taken back.
    pub(crate) fn page(&self, id: Id, range: Range<'_>) -> Result<Page, Compacted> {
        let mut undone: BTreeMap<&Key, Option<&Arc<Object>>> = BTreeMap::new();
        if range.at < self.version {
            for change in self.history.since(range.at)?.filter(|change| change.id == id) {
                undone.entry(&change.key).or_insert(change.before.as_ref());
            }
        }
        let mut page = Page::default();
        let mut last: Option<&Key> = None;
        let mut place = |key, object: &Arc<Object>, page: &mut Page| {
            if page.items.len() < range.limit {
                page.items.push(object.clone());
                last = Some(key);
            } else {
                page.remaining += 1;
            }
        };
        let is_wanted = |key: &Key, object: &Object| {
            range.after.is_none_or(|after| key > after)
                && range.namespace.is_none_or(|namespace| *key.namespace == *namespace)
                && range.selector.matches(key, object)
        };
        let start = match (range.after, range.namespace) {
            (Some(after), _) => after.clone(),
            (None, namespace) => Key::new(namespace.unwrap_or_default(), ""),
        };
        let mut earlier = undone.range::<&Key, _>(&start..).peekable();
        let now = self.collections.get(id).map(|collection| collection.objects.range(start.clone()..));
        for (key, object) in now.into_iter().flatten() {
            if range.namespace.is_some_and(|namespace| *key.namespace > *namespace) {
                break;
            }
            while let Some((gone, before)) = earlier.next_if(|(gone, _)| **gone < key) {
                if let Some(before) = before.filter(|before| is_wanted(gone, before)) {
                    place(*gone, before, &mut page);
                }
            }
            let object = match earlier.next_if(|(changed, _)| **changed == key) {
                Some((_, before)) => *before,
                None => Some(object),
            };
            if let Some(object) = object.filter(|object| is_wanted(key, object)) {
                place(key, object, &mut page);
            }
        }
        for (gone, before) in earlier {
            if let Some(before) = before.filter(|before| is_wanted(gone, before)) {
                place(*gone, before, &mut page);
            }
        }
        page.next = last.filter(|_| page.remaining > 0).cloned();
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
