//! A sorted collection whose clone costs nothing to speak of and shares what does not change: for what is as many as Pods.
//!
//! Entries lie in chunks, a tree holds the chunks. A plain persistent tree leaves half of its room empty when keys come in
//! their order, which is how they come here, and its nodes cannot be filled at once. Not for few entries: that is
//! [`imbl::OrdMap`], which this is made of.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

/// Entries of a chunk. A change copies one where a clone shares it; each has an overhead of about 150 bytes.
const CHUNK_MAX: usize = 24;
/// A chunk of fewer goes to the one before it.
const CHUNK_MIN: usize = CHUNK_MAX / 4;

/// What can be sorted: it knows its place itself, so that the key takes no room of its own.
pub trait Entry: Clone {
    /// What it is sorted by; each is there once.
    type Key: Ord + Clone;

    /// Its place.
    fn key(&self) -> Self::Key;

    /// Where it is, seen from a place; as comparing [`Self::key`], without making one.
    fn order(&self, key: &Self::Key) -> Ordering;

    /// Where it is, seen from another.
    fn compare(&self, other: &Self) -> Ordering {
        self.order(&other.key())
    }
}

impl<K: Ord + Clone, V: Clone> Entry for (K, V) {
    type Key = K;

    fn key(&self) -> K {
        self.0.clone()
    }

    fn order(&self, key: &K) -> Ordering {
        self.0.cmp(key)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// A sorted collection.
#[derive(Clone)]
pub struct Sorted<E: Entry> {
    /// Each by a key that is greater than all of the chunk before it and than none of its own. None is empty.
    chunks: OrdMap<E::Key, Chunk<E>>,
    len: usize,
}

struct Chunk<E>(Arc<Vec<E>>);

/// How two collections differ at a key: what the first has there, and the second. Whether two are equal was not looked at.
pub type Difference<'a, E> = (Option<&'a E>, Option<&'a E>);

impl<E: Entry + fmt::Debug> fmt::Debug for Sorted<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<E: Entry + PartialEq> PartialEq for Sorted<E> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<E: Entry + Eq> Eq for Sorted<E> {}

impl<E: Entry> Default for Sorted<E> {
    fn default() -> Self {
        Self { chunks: OrdMap::new(), len: 0 }
    }
}

impl<E> Clone for Chunk<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Only the very same chunk is equal: to tell which were touched, not what is in them.
impl<E> PartialEq for Chunk<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E: Entry> Chunk<E> {
    fn of(entries: Vec<E>) -> Self {
        Self(Arc::new(entries))
    }

    /// Where the key is, or belongs.
    fn find(&self, key: &E::Key) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.order(key))
    }

    /// Its entries, to change them, with room for so many more and no room to spare.
    fn entries(&mut self, more: usize) -> &mut Vec<E> {
        if Arc::get_mut(&mut self.0).is_none() {
            let mut entries = Vec::with_capacity(self.0.len() + more);
            entries.extend_from_slice(&self.0);
            self.0 = Arc::new(entries);
        }
        let entries = Arc::make_mut(&mut self.0);
        entries.reserve_exact(more);
        entries
    }
}

impl<E: Entry> Sorted<E> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at a key.
    pub fn get(&self, key: &E::Key) -> Option<&E> {
        let (_, chunk) = self.chunks.get_prev(key)?;
        chunk.0.get(chunk.find(key).ok()?)
    }

    /// The entry at this key, else one of the two beside where it would be.
    pub fn near(&self, key: &E::Key) -> Option<&E> {
        let (_, chunk) = self.chunks.get_prev(key).or_else(|| self.chunks.iter().next())?;
        let at = chunk.find(key).unwrap_or_else(|at| at.saturating_sub(1));
        chunk.0.get(at)
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.chunks.values().flat_map(|chunk| chunk.0.iter())
    }

    /// The entries from this key on.
    pub fn range_from<'a>(&'a self, first: &E::Key) -> impl Iterator<Item = &'a E> + use<'a, E> {
        let chunk = self.chunks.get_prev(first);
        let rest = chunk.and_then(|(_, chunk)| chunk.0.get(chunk.find(first).unwrap_or_else(|at| at)..));
        // Where no chunk begins at it or before it, all begin after it.
        let after = Bound::Excluded(chunk.map_or(first, |(key, _)| key));
        let later = self.chunks.range::<_, E::Key>((after, Bound::Unbounded)).map(|(_, chunk)| chunk);
        rest.unwrap_or_default().iter().chain(later.flat_map(|chunk| chunk.0.iter()))
    }

    /// Puts an entry in; returns the one that was in its place.
    pub fn insert(&mut self, entry: E) -> Option<E> {
        let key = entry.key();
        let Some((_, chunk)) = self.chunks.get_prev_mut(&key) else {
            self.insert_first(key, entry);
            return None;
        };
        let at = match chunk.find(&key) {
            Ok(at) => {
                let old = chunk.entries(0).get_mut(at)?;
                return Some(std::mem::replace(old, entry));
            }
            Err(at) => at,
        };
        let entries = chunk.entries(1);
        entries.insert(at, entry);
        // A full chunk is halved; behind the end of one another begins, so that what comes in order fills each.
        let next = match entries.len() {
            ..=CHUNK_MAX => Vec::new(),
            _ if at == CHUNK_MAX => entries.split_off(CHUNK_MAX),
            _ => entries.split_off(CHUNK_MAX / 2),
        };
        entries.shrink_to_fit();
        self.add(next);
        self.len += 1;
        None
    }

    /// An entry before all others.
    fn insert_first(&mut self, key: E::Key, entry: E) {
        self.len += 1;
        let first =
            self.chunks.get_min().filter(|(_, chunk)| chunk.0.len() < CHUNK_MAX).map(|(first, _)| first.clone());
        let mut chunk = first.and_then(|first| self.chunks.remove(&first)).unwrap_or_else(|| Chunk::of(Vec::new()));
        chunk.entries(1).insert(0, entry);
        self.chunks.insert(key, chunk);
    }

    fn add(&mut self, mut entries: Vec<E>) {
        entries.shrink_to_fit();
        if let Some(first) = entries.first().map(E::key) {
            self.chunks.insert(first, Chunk::of(entries));
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &E::Key) -> Option<E> {
        // Looked at before it is touched: a chunk that is shared would be copied for nothing.
        self.get(key)?;
        let (first, chunk) = self.chunks.get_prev_mut(key)?;
        let at = chunk.find(key).ok()?;
        let entries = chunk.entries(0);
        let entry = entries.remove(at);
        entries.shrink_to_fit();
        let small = entries.len() < CHUNK_MIN;
        let first = small.then(|| first.clone());
        self.len -= 1;
        if let Some(first) = first {
            self.join(&first);
        }
        Some(entry)
    }

    /// Gives the entries of a small chunk to the one before it, if they find room there.
    fn join(&mut self, first: &E::Key) {
        let Some(chunk) = self.chunks.get(first).cloned() else {
            return;
        };
        let room = CHUNK_MAX - chunk.0.len();
        let before = self.chunks.range::<_, E::Key>((Bound::Unbounded, Bound::Excluded(first))).next_back();
        let before = before.filter(|(_, before)| before.0.len() <= room).map(|(first, _)| first.clone());
        if before.is_some() || chunk.0.is_empty() {
            self.chunks.remove(first);
        }
        if let Some(before) = before.and_then(|before| self.chunks.get_mut(&before)) {
            before.entries(chunk.0.len()).extend_from_slice(&chunk.0);
        }
    }

    /// Where two collections differ, or may: entries of chunks that they do not share, in the order of their keys.
    pub fn diff<'a>(&'a self, next: &'a Self) -> Vec<Difference<'a, E>> {
        let (mut old, mut new): (Vec<&E>, Vec<&E>) = Default::default();
        for item in self.chunks.diff(&next.chunks) {
            let (before, after) = match item {
                DiffItem::Add(_, after) => (None, Some(after)),
                DiffItem::Remove(_, before) => (Some(before), None),
                DiffItem::Update { old: (_, before), new: (_, after) } => (Some(before), Some(after)),
            };
            old.extend(before.into_iter().flat_map(|chunk| chunk.0.iter()));
            new.extend(after.into_iter().flat_map(|chunk| chunk.0.iter()));
        }
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        let mut found = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return found,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.compare(b),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            found.push((before, after));
        }
    }
}

/// A collection while it is made: as cheap as copying where entries come in their order.
pub struct Building<E: Entry> {
    made: Sorted<E>,
    chunk: Vec<E>,
    /// Out of order.
    others: Vec<E>,
}

impl<E: Entry> Default for Building<E> {
    fn default() -> Self {
        Self { made: Sorted::default(), chunk: Vec::with_capacity(CHUNK_MAX), others: Vec::new() }
    }
}

impl<E: Entry> Building<E> {
    /// Adds an entry. Of two with one key the later counts.
    pub fn push(&mut self, entry: E) {
        if self.chunk.last().is_some_and(|last| last.compare(&entry).is_ge()) {
            self.others.push(entry);
            return;
        }
        if self.chunk.len() == CHUNK_MAX {
            self.fill(Vec::with_capacity(CHUNK_MAX));
        }
        self.chunk.push(entry);
    }

    fn fill(&mut self, next: Vec<E>) {
        self.made.len += self.chunk.len();
        self.made.add(std::mem::replace(&mut self.chunk, next));
    }

    /// The whole.
    pub fn made(mut self) -> Sorted<E> {
        self.fill(Vec::new());
        for entry in self.others {
            self.made.insert(entry);
        }
        self.made
    }
}

impl<E: Entry> FromIterator<E> for Sorted<E> {
    fn from_iter<I: IntoIterator<Item = E>>(entries: I) -> Self {
        let mut building = Building::default();
        entries.into_iter().for_each(|entry| building.push(entry));
        building.made()
    }
}

#[cfg(test)]
mod tests;
