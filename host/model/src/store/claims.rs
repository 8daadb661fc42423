//! Who claims a host, and what became of each claim (R42-R44): for people, who want to see the losers too.

use std::fmt;

use serde::Serialize;

use super::unpublished::{LostHost, Unpublished};
use super::{RowKey, RowKind, RowObject, Store};
use crate::name::Name;
use crate::service::service_of_host;

/// A Service or ServiceEntry that claims a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostClaim {
    /// Who.
    pub row: RowKey,
    /// What became of it.
    #[serde(flatten)]
    pub standing: ClaimStanding,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum ClaimStanding {
    /// Clients of its own namespace mean it, and of all that have none of their own.
    Canonical,
    /// Clients of its own namespace mean it, and no others.
    OwnNamespace {
        /// Nobody else sees it (R117).
        private: bool,
        /// What the others mean.
        canonical: Option<RowKey>,
    },
    /// Another of its namespace has the host.
    Lost {
        /// Who.
        to: RowKey,
    },
    /// It is not published, so it claims nothing.
    Unpublished {
        /// Why.
        why: Unpublished,
    },
}

/// One line, without the name of the claimant.
impl fmt::Display for ClaimStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canonical => f.write_str("meant by its own namespace, and by all that have none of their own (R42)"),
            Self::OwnNamespace { private: true, .. } => {
                f.write_str("meant by its own namespace; nobody else sees it (R117)")
            }
            Self::OwnNamespace { canonical: Some(other), .. } => {
                write!(f, "meant by its own namespace; elsewhere {other} comes first (R42)")
            }
            Self::OwnNamespace { canonical: None, .. } => f.write_str("meant by its own namespace"),
            Self::Lost { to } => write!(f, "meant by nobody: {to} of its namespace comes first (R42)"),
            Self::Unpublished { why } => {
                write!(f, "not published: {why}")?;
                why.rule().map_or(Ok(()), |rule| write!(f, " ({rule})"))
            }
        }
    }
}

impl Store {
    /// All that claim exactly this host, Services first, then by namespace and name. Looks at every ServiceEntry.
    pub fn claims_of_host(&self, host: &Name) -> Vec<HostClaim> {
        let service = service_of_host(host, &self.facts.cluster_domain)
            .filter(|(namespace, name)| self.service(&(*namespace).into(), &(*name).into()).is_some())
            .map(|(namespace, name)| RowKey::new(RowKind::Service, namespace, name));
        let entries = self.entries.iter().filter(|entry| entry.hosts.contains(host));
        let entries = entries.map(|entry| RowKey::new(RowKind::ServiceEntry, &entry.meta.namespace, &entry.meta.name));
        let canonical = self.service_of_host(host, &"".into());
        let claim = |row: RowKey| {
            let standing = self.standing_of(&row, host, canonical.as_ref());
            HostClaim { row, standing }
        };
        service.into_iter().chain(entries).map(claim).collect()
    }

    fn standing_of(&self, row: &RowKey, host: &Name, canonical: Option<&RowKey>) -> ClaimStanding {
        let mine = |lost: &&LostHost| lost.host == *host;
        match self.unpublished(row) {
            Some(Unpublished::HostsLost { to }) => {
                if let Some(lost) = to.iter().find(mine) {
                    return ClaimStanding::Lost { to: lost.to.clone() };
                }
            }
            Some(why) => return ClaimStanding::Unpublished { why },
            None => {}
        }
        if canonical == Some(row) {
            return ClaimStanding::Canonical;
        }
        match self.service_of_host(host, &row.namespace) {
            Some(to) if to != *row => ClaimStanding::Lost { to },
            _ => {
                let private = matches!(self.row(row), Some(RowObject::ServiceEntry { own_namespace_only: true, .. }));
                ClaimStanding::OwnNamespace { private, canonical: canonical.cloned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Object;
    use crate::service::Service;
    use crate::service_entry::ServiceEntry;
    use crate::store::{Event, Facts};

    fn entry(namespace: &str, name: &str, created: i64, hosts: &[&str]) -> Object {
        let hosts = hosts.iter().map(|host| (*host).into()).collect();
        Object::ServiceEntry(ServiceEntry { hosts, created: Some(created), ..ServiceEntry::named(namespace, name) })
    }

    fn standings(store: &Store, host: &str) -> Vec<String> {
        let claims = store.claims_of_host(&host.into());
        claims.iter().map(|claim| format!("{}: {}", claim.row, claim.standing)).collect()
    }

    #[test]
    fn each_claim_says_what_became_of_it() {
        let mut store = Store::new(Facts::default());
        let bad =
            ServiceEntry { bad_address: Some("x".into()), hosts: vec!["h".into()], ..ServiceEntry::named("c", "bad") };
        let objects = [
            entry("a", "old", 1, &["h", "cart.b.svc.cluster.local"]),
            entry("a", "young", 2, &["h", "i"]),
            entry("b", "other", 3, &["h"]),
            entry("b", "shadow", 1, &["cart.b.svc.cluster.local"]),
            Object::ServiceEntry(bad),
            Object::Service(Service::named("b", "cart")),
        ];
        store.apply_all(objects.into_iter().map(Event::Apply));
        assert_eq!(
            standings(&store, "h"),
            [
                "ServiceEntry a/old: meant by its own namespace, and by all that have none of their own (R42)",
                "ServiceEntry a/young: meant by nobody: ServiceEntry a/old of its namespace comes first (R42)",
                "ServiceEntry b/other: meant by its own namespace; elsewhere ServiceEntry a/old comes first (R42)",
                "ServiceEntry c/bad: not published: its address \"x\" is neither an IP nor a CIDR (R36)",
            ]
        );
        assert_eq!(
            standings(&store, "cart.b.svc.cluster.local"),
            [
                "Service b/cart: meant by its own namespace, and by all that have none of their own (R42)",
                "ServiceEntry a/old: meant by its own namespace; elsewhere Service b/cart comes first (R42)",
                "ServiceEntry b/shadow: meant by nobody: Service b/cart of its namespace comes first (R42)",
            ]
        );
        assert!(standings(&store, "nobody").is_empty());
    }
}
