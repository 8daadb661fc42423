//! Words and what stands in their place. Knows nothing of what they are names of.

use std::collections::{BTreeMap, HashSet};

use crate::name::Name;

/// Words that mean the same in every mesh and keep their names: of Kubernetes, Istio and this program, and what hosts end
/// in. Sorted. Others have to find room between them, see [`lead`].
pub(super) const KEPT: [&str; 24] = [
    "all",
    "ambient",
    "cluster",
    "default",
    "disabled",
    "enabled",
    "false",
    "istio",
    "istio-agentgateway-waypoint",
    "istio-east-west",
    "istio-remote",
    "istio-system",
    "istio-waypoint",
    "kube-public",
    "kube-system",
    "local",
    "none",
    "ns",
    "sa",
    "service",
    "svc",
    "true",
    "waypoint",
    "workload",
];

/// What a word becomes that nobody saw. It never was a name of anything.
const UNSEEN: &str = "unseen";

/// Words with their pseudonyms: both in the same order, all pseudonyms with neither dot nor slash, none of them a number.
#[derive(Debug)]
pub(super) struct Words {
    pseudonyms: BTreeMap<Name, Name>,
}

impl Words {
    pub(super) fn new(originals: HashSet<Name>) -> Self {
        let mut originals: Vec<Name> = originals.into_iter().collect();
        originals.sort_unstable();
        let width = originals.len().to_string().len();
        let mut pseudonyms = BTreeMap::new();
        // Runs of words between two kept ones; the kept ones themselves stay.
        let mut low = "";
        let mut rest = originals.as_slice();
        while !rest.is_empty() {
            let until = rest.iter().position(|word| is_kept(word)).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(until);
            let high = behind.first().map(|word| &**word);
            let lead = lead(low, high, width);
            for (number, word) in (1..).zip(run) {
                pseudonyms.insert(word.clone(), pseudonym(&lead, number, width).into());
            }
            let Some((kept, behind)) = behind.split_first() else { break };
            (low, rest) = (&**kept, behind);
        }
        Self { pseudonyms }
    }

    pub(super) fn get(&self, word: &str) -> Name {
        match self.pseudonyms.get(word) {
            Some(pseudonym) => pseudonym.clone(),
            None if is_kept(word) => word.into(),
            None => UNSEEN.into(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.pseudonyms.iter()
    }
}

pub(super) fn is_kept(word: &str) -> bool {
    KEPT.binary_search(&word).is_ok()
}

fn pseudonym(lead: &str, number: usize, width: usize) -> String {
    format!("{lead}-{number:0width$}")
}

/// What pseudonyms between two kept words start with: a letter if there is one between them, else the lower of the two.
fn lead(low: &str, high: Option<&str>, width: usize) -> String {
    let last = 10_usize.saturating_pow(u32::try_from(width).unwrap_or(u32::MAX)) - 1;
    let fits = |letter: &String| {
        *pseudonym(letter, 1, width) > *low && high.is_none_or(|high| *pseudonym(letter, last, width) < *high)
    };
    ('a'..='z').map(String::from).find(fits).unwrap_or_else(|| low.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(originals: &[&str]) -> Words {
        Words::new(originals.iter().map(|word| Name::from(*word)).collect())
    }

    #[test]
    fn kept_words_are_sorted_and_leave_room_between_any_two_of_them() {
        assert!(KEPT.is_sorted());
        for width in [1, 7] {
            for (at, low) in std::iter::once(&"").chain(&KEPT).enumerate() {
                for high in KEPT.get(at..).unwrap_or_default() {
                    let lead = lead(low, Some(high), width);
                    let last = pseudonym(&lead, 10_usize.pow(u32::try_from(width).unwrap()) - 1, width);
                    assert!(*pseudonym(&lead, 1, width) > **low && *last < **high, "{low} {lead} {high}");
                }
                assert!(*pseudonym(&lead(low, None, width), 1, width) > **low, "{low}");
            }
        }
    }

    #[test]
    fn pseudonyms_sort_as_their_words_do() {
        let originals =
            ["Zoo", "1", "a.b", "all", "allow", "default", "default-1", "istio", "istio-1", "shop", "zebra"];
        let words = words(&originals);
        let mut sorted = originals.to_vec();
        sorted.sort_unstable();
        let mapped: Vec<Name> = sorted.iter().map(|word| words.get(word)).collect();
        assert!(mapped.is_sorted(), "{mapped:?}");
        let distinct: HashSet<&Name> = mapped.iter().collect();
        assert_eq!(distinct.len(), originals.len());
        let renamed = originals.iter().filter(|word| *words.get(word) != ***word).count();
        assert_eq!(renamed, originals.len() - 3, "all, default and istio are kept: {mapped:?}");
        assert!(mapped.iter().all(|it| !it.contains(['.', '/']) && it.parse::<u64>().is_err()), "{mapped:?}");
    }

    #[test]
    fn a_word_that_nobody_saw_is_not_repeated() {
        assert_eq!(&*words(&["shop"]).get("secret"), UNSEEN);
        assert_eq!(&*words(&["shop"]).get("none"), "none");
    }
}
