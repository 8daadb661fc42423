//! Which ServiceEntries claim which hosts, and who of several for one host counts (R42-R44). Kubernetes Services are not
//! listed: their hosts say who they are.

use imbl::OrdMap;

use crate::name::Name;

/// A ServiceEntry's claim to one of its hosts. Ordered so that the first of a host in a namespace is the one that counts:
/// the oldest, of equally old ones the first by name (Q8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    host: Name,
    namespace: Name,
    /// Seconds since 1970; none is older than any.
    created: Option<i64>,
    entry: Name,
}

/// The claims of all published ServiceEntries. A clone costs nothing to speak of.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// True: only its own namespace sees the entry.
    claims: OrdMap<Claim, bool>,
}

/// The ServiceEntry that counts for a host in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Winner {
    /// The namespace.
    pub namespace: Name,
    /// The ServiceEntry's name.
    pub entry: Name,
    /// Its age, as it is compared.
    pub created: Option<i64>,
    /// Only its own namespace sees it.
    pub own_namespace_only: bool,
}

impl Hosts {
    /// A ServiceEntry claims a host. What it said before about this host is forgotten.
    pub fn claim(
        &mut self,
        host: &Name,
        namespace: &Name,
        entry: &Name,
        created: Option<i64>,
        own_namespace_only: bool,
    ) {
        self.claims.insert(claim(host, namespace, entry, created), own_namespace_only);
    }

    /// It claims the host no more.
    pub fn release(&mut self, host: &Name, namespace: &Name, entry: &Name, created: Option<i64>) {
        self.claims.remove(&claim(host, namespace, entry, created));
    }

    /// The ServiceEntries of one namespace that claim a host, the one that counts first.
    pub fn claimants<'a>(&'a self, host: &'a Name, namespace: &'a Name) -> impl Iterator<Item = &'a Name> {
        let first = claim(host, namespace, &"".into(), None);
        let claims = self.claims.range(first..).map(|(claim, _)| claim);
        claims.take_while(move |claim| claim.host == *host && claim.namespace == *namespace).map(|claim| &claim.entry)
    }

    /// The ServiceEntry that counts in one namespace, not looking at Services.
    pub fn winner(&self, host: &Name, namespace: &Name) -> Option<Winner> {
        self.winners(host).find(|winner| winner.namespace == *namespace)
    }

    /// The one that counts in each namespace, in the order of the namespaces, not looking at Services.
    pub fn winners<'a>(&'a self, host: &'a Name) -> impl Iterator<Item = Winner> + 'a {
        let first = claim(host, &"".into(), &"".into(), None);
        let claims = self.claims.range(first..).take_while(move |(claim, _)| claim.host == *host);
        let mut last: Option<&Name> = None;
        claims.filter_map(move |(claim, own)| {
            if last == Some(&claim.namespace) {
                return None;
            }
            last = Some(&claim.namespace);
            Some(Winner {
                namespace: claim.namespace.clone(),
                entry: claim.entry.clone(),
                created: claim.created,
                own_namespace_only: *own,
            })
        })
    }

    /// The winner that clients of other namespaces mean: the oldest that not only its own namespace sees; of equally old
    /// ones the first by name, then by namespace (Q8). Whether a Service has the host, which comes first, is not known here.
    pub fn canonical(&self, host: &Name) -> Option<Winner> {
        let visible = self.winners(host).filter(|winner| !winner.own_namespace_only);
        visible.min_by(|a, b| (&a.created, &a.entry, &a.namespace).cmp(&(&b.created, &b.entry, &b.namespace)))
    }

    /// All hosts that are claimed, each once, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        let mut last: Option<&Name> = None;
        self.claims.keys().filter_map(move |claim| {
            let is_new = last != Some(&claim.host);
            last = Some(&claim.host);
            is_new.then_some(&claim.host)
        })
    }

    /// True when nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
}

fn claim(host: &Name, namespace: &Name, entry: &Name, created: Option<i64>) -> Claim {
    Claim { host: host.clone(), namespace: namespace.clone(), created, entry: entry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(claims: &[(&str, &str, &str, Option<i64>, bool)]) -> Hosts {
        let mut hosts = Hosts::default();
        for (host, namespace, entry, created, own) in claims {
            hosts.claim(&(*host).into(), &(*namespace).into(), &(*entry).into(), *created, *own);
        }
        hosts
    }

    #[test]
    fn the_oldest_of_a_namespace_counts_then_the_first_by_name() {
        let host = Name::from("h");
        let hosts = hosts(&[
            ("h", "a", "young", Some(9), false),
            ("h", "a", "old-2", Some(5), false),
            ("h", "a", "old-1", Some(5), true),
            ("h", "b", "unknown-age", None, false),
            ("i", "a", "other-host", None, false),
        ]);
        let namespace = Name::from("a");
        let order: Vec<_> = hosts.claimants(&host, &namespace).map(|name| &**name).collect();
        assert_eq!(order, ["old-1", "old-2", "young"]);
        assert_eq!(&*hosts.winner(&host, &"a".into()).unwrap().entry, "old-1");
        assert_eq!(&*hosts.canonical(&host).unwrap().entry, "unknown-age");
        assert_eq!(hosts.iter().map(|host| &**host).collect::<Vec<_>>(), ["h", "i"]);
    }

    #[test]
    fn a_winner_only_its_namespace_sees_blocks_its_younger_ones_and_is_not_canonical() {
        let host = Name::from("h");
        let mut claims = hosts(&[("h", "a", "hidden", Some(1), true), ("h", "a", "open", Some(2), false)]);
        assert_eq!(claims.canonical(&host), None);
        claims.release(&host, &"a".into(), &"hidden".into(), Some(1));
        assert_eq!(&*claims.canonical(&host).unwrap().entry, "open");
        claims.release(&host, &"a".into(), &"open".into(), Some(2));
        assert!(claims.is_empty());
    }
}
