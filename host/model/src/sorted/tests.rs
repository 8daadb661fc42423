//! A sorted collection is a [`BTreeMap`] that can be cloned at any time.

use std::collections::BTreeMap;

use super::*;

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn check(map: &Sorted<(u64, u64)>, model: &BTreeMap<u64, u64>) {
    assert_eq!(map.len(), model.len());
    assert!(pairs(map.iter()).eq(model), "the same entries in their order");
    let chunks: Vec<_> = map.chunks.iter().collect();
    for (at, (key, chunk)) in chunks.iter().enumerate() {
        assert!((1..=CHUNK_MAX).contains(&chunk.0.len()), "{} entries", chunk.0.len());
        assert!(*key <= &chunk.0[0].0, "a chunk begins at its key or after it");
        assert_eq!(chunk.0.capacity(), chunk.0.len(), "no room to spare");
        let next = chunks.get(at + 1);
        assert!(next.is_none_or(|(next, _)| chunk.0[chunk.0.len() - 1].0 < **next), "and ends before the next");
    }
}

fn pairs<'a>(entries: impl Iterator<Item = &'a (u64, u64)>) -> impl Iterator<Item = (&'a u64, &'a u64)> {
    entries.map(|(key, value)| (key, value))
}

fn naive_diff(old: &BTreeMap<u64, u64>, new: &BTreeMap<u64, u64>) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let keys: std::collections::BTreeSet<u64> = old.keys().chain(new.keys()).copied().collect();
    let both = keys.into_iter().map(|key| (key, old.get(&key).copied(), new.get(&key).copied()));
    both.filter(|(_, old, new)| old != new).collect()
}

fn found_diff(old: &Sorted<(u64, u64)>, new: &Sorted<(u64, u64)>) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let key = |(old, new): &Difference<'_, (u64, u64)>| old.or(*new).unwrap().0;
    let value = |entry: Option<&(u64, u64)>| entry.map(|(_, value)| *value);
    let found = old.diff(new).into_iter().map(|found| (key(&found), value(found.0), value(found.1)));
    found.filter(|(_, old, new)| old != new).collect()
}

/// `keys`: how many there are; `removals`: how many of ten steps take one out.
fn follow(seed: u64, keys: u64, removals: u64) {
    let mut chance = Chance(seed);
    let (mut map, mut model) = (Sorted::default(), BTreeMap::new());
    let mut held = Vec::new();
    for step in 0..3_000 {
        let key = chance.below(keys);
        if chance.below(10) < removals {
            assert_eq!(map.remove(&key), model.remove(&key).map(|value| (key, value)));
        } else {
            assert_eq!(map.insert((key, step)), model.insert(key, step).map(|value| (key, value)));
        }
        assert_eq!(map.get(&key).map(|(_, value)| value), model.get(&key));
        let beside = [model.range(..=key).next_back(), model.range(key..).next()];
        let near = map.near(&key).map(|(key, value)| (key, value));
        assert!(beside.contains(&near) && (!model.contains_key(&key) || near == beside[0]), "{near:?} at {key}");
        assert!(pairs(map.range_from(&key)).eq(model.range(key..)));
        if step % 300 == 0 {
            check(&map, &model);
            held.push((map.clone(), model.clone()));
        }
    }
    for (held_map, held_model) in &held {
        check(held_map, held_model);
        assert_eq!(found_diff(held_map, &map), naive_diff(held_model, &model));
        assert_eq!(found_diff(&map, held_map), naive_diff(&model, held_model));
    }
}

#[test]
fn a_map_is_what_a_plain_one_would_be_and_a_clone_stays_what_it_was() {
    for seed in 0..5 {
        follow(seed, 100_000, 0);
        follow(seed, 500, 4);
        follow(seed, 200, 6);
        follow(seed, 20, 5);
    }
}

#[test]
fn keys_in_their_order_fill_the_chunks_whether_they_come_at_once_or_not() {
    let entries = (0..1_000).map(|key| (key, key));
    let at_once: Sorted<(u64, u64)> = entries.clone().collect();
    let mut one_by_one = Sorted::default();
    for entry in entries.clone() {
        one_by_one.insert(entry);
    }
    for map in [&at_once, &one_by_one] {
        check(map, &entries.clone().collect());
        assert_eq!(map.chunks.len(), 1_000_usize.div_ceil(CHUNK_MAX));
    }
}

#[test]
fn keys_may_come_in_any_order() {
    for seed in 0..50 {
        let mut chance = Chance(seed);
        let entries: Vec<(u64, u64)> =
            (0..200).map(|at| (if at < seed * 4 { at } else { chance.below(300) }, at)).collect();
        check(&entries.iter().copied().collect(), &entries.iter().copied().collect());
        let mut map = Sorted::default();
        for entry in entries.iter().rev() {
            map.insert(*entry);
        }
        check(&map, &entries.iter().rev().copied().collect());
    }
}

#[test]
fn an_empty_map_has_nothing_to_offer() {
    let mut map: Sorted<(u64, u64)> = Sorted::default();
    assert_eq!((map.remove(&1), map.get(&1), map.near(&1)), (None, None, None));
    assert!(map.is_empty() && map.iter().next().is_none() && map.range_from(&0).next().is_none());
    map.insert((1, 1));
    map.remove(&1);
    assert!(map.is_empty() && map.chunks.is_empty());
}
