//! A mesh under other names that decides exactly the same, so that a capture can be handed to somebody who must not know
//! what things are called.
//!
//! First [`Names`] sees everything there is, then [`Pseudonyms`] renames it. One original has one pseudonym wherever it
//! stands, so that who names, selects or matches whom stays as it is. Pseudonyms sort as their originals do: ties are
//! broken by name (Q8). Addresses share the prefixes that their originals shared, and no other bit of them is left. What
//! the [`Vocabulary`] knows keeps its name, and annotations that nobody reads are dropped.
//!
//! Not a cipher: how many things there are, who refers to whom, ages and ports are told, and the place of a name in the
//! alphabet. Who guesses a name cannot check the guess, but by what surrounds it.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::decision::Decision;
use crate::name::Name;
use crate::object::Object;
use crate::store::Facts;
use crate::table::{RowKey, Subject};

mod vocabulary;

mod words;

mod addresses;

mod text;

mod objects;

mod policies;

mod decisions;

pub use vocabulary::Vocabulary;

use addresses::Addresses;
use text::Rename;
use words::Words;

/// What is called by a name: everything that is to be renamed is shown to it first.
#[derive(Debug)]
pub struct Names {
    vocabulary: Vocabulary,
    words: HashSet<Name>,
    addresses: HashSet<IpAddr>,
}

impl Names {
    /// Nothing seen yet.
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self { vocabulary, words: HashSet::new(), addresses: HashSet::new() }
    }

    /// Sees an object.
    pub fn object(&mut self, object: &Object) {
        objects::object(self, object);
    }

    /// Sees what is known without objects.
    pub fn facts(&mut self, facts: &Facts) {
        objects::facts(self, facts);
    }

    /// Sees a row. It may be about objects that are gone.
    pub fn row(&mut self, key: &RowKey, subject: &Subject, decision: &Decision) {
        decisions::key(self, key);
        decisions::subject(self, subject);
        decisions::decision(self, decision);
    }

    /// Sees any other text that may hold a name.
    pub fn text(&mut self, text: &str) {
        text::text(self, text);
    }

    /// A pseudonym for each.
    pub fn pseudonyms(self) -> Pseudonyms {
        let Self { vocabulary, words, addresses } = self;
        Pseudonyms { words: Words::new(words), addresses: Addresses::new(addresses), vocabulary }
    }
}

/// Notes what it is asked to rename; what comes of it is of no use.
impl Rename for Names {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn word(&mut self, text: &str) -> Name {
        if !self.words.contains(text) {
            self.words.insert(text.into());
        }
        Name::default()
    }

    fn address(&mut self, ip: IpAddr) -> IpAddr {
        self.addresses.insert(ip);
        ip
    }
}

/// The other names.
#[derive(Debug)]
pub struct Pseudonyms {
    vocabulary: Vocabulary,
    words: Words,
    addresses: Addresses,
}

impl Pseudonyms {
    /// The object under its other name.
    pub fn object(&self, object: &Object) -> Object {
        objects::object(&mut &*self, object)
    }

    /// What is known without objects, under other names.
    pub fn facts(&self, facts: &Facts) -> Facts {
        objects::facts(&mut &*self, facts)
    }

    /// The row's other name.
    pub fn key(&self, key: &RowKey) -> RowKey {
        decisions::key(&mut &*self, key)
    }

    /// The hosts and addresses of a row, renamed.
    pub fn subject(&self, subject: &Subject) -> Subject {
        decisions::subject(&mut &*self, subject)
    }

    /// The decision with its waypoints renamed. Reasons are a component's own words and stay.
    pub fn decision(&self, decision: &Decision) -> Decision {
        decisions::decision(&mut &*self, decision)
    }

    /// Any other text, renamed.
    pub fn text(&self, text: &str) -> Name {
        text::text(&mut &*self, text)
    }

    /// Every word that was renamed with its pseudonym, in the order of the words: what translates a report back.
    pub fn words(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.words.iter()
    }

    /// Every address with the one in its place, in their order.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        self.addresses.iter()
    }
}

impl Rename for &Pseudonyms {
    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn word(&mut self, text: &str) -> Name {
        self.words.get(text)
    }

    fn address(&mut self, ip: IpAddr) -> IpAddr {
        self.addresses.get(ip)
    }
}

#[cfg(test)]
mod tests;
