//! PeerAuthentications as ztunnel takes them (R118): it knows policies only, so that STRICT is a policy which denies
//! whoever has no identity. One of them serves all that are STRICT throughout; who has a port of another mode has its own.

use std::collections::BTreeSet;

use model::peer_authentication::MtlsMode;
use model::{Labels, Name, PeerAuthentication, Store};

use crate::proto::authorization::string_match::MatchType;
use crate::proto::authorization::{Action, Authorization, Clause, Match, Rule, Scope, StringMatch};

/// The name of the policy that all share, in the root namespace. No object of Kubernetes can have it.
const STRICT: &str = "istio_converted_static_strict";
/// What the name of a policy that is made of one PeerAuthentication begins with.
const CONVERTED: &str = "converted_peer_authentication_";

/// The PeerAuthentications that count for the workloads of one namespace.
pub(super) struct Peers<'a> {
    root: &'a Name,
    /// What counts where no selector matches.
    inherited: MtlsMode,
    /// Those with selectors, the oldest first.
    selecting: Vec<&'a PeerAuthentication>,
}

/// What comes of a PeerAuthentication for the workloads that it is about.
#[derive(Debug, PartialEq, Eq)]
enum Enforced {
    /// Nothing: connections without an identity are taken.
    Nothing,
    /// They are taken at no port.
    Strict,
    /// They are taken at these ports only.
    StrictBut(Vec<u32>),
    /// They are taken at all ports but these.
    Ports(Vec<u32>),
}

impl<'a> Peers<'a> {
    /// Those for a namespace.
    pub(super) fn of(store: &'a Store, namespace: &Name) -> Self {
        let root = &store.facts().mesh.root_namespace;
        let own: Vec<&PeerAuthentication> = store.peer_authentications_in(namespace).collect();
        let oldest = |all: &[&'a PeerAuthentication]| {
            let above = all.iter().filter(|it| it.selected().is_none());
            above.min_by(|a, b| a.by_age(b)).map(|it| it.mode)
        };
        let mut selecting: Vec<_> = own.iter().copied().filter(|it| it.selected().is_some()).collect();
        selecting.sort_by(|a, b| a.by_age(b));
        if namespace == root {
            // Selectors count in other namespaces only.
            return Self { root, inherited: oldest(&own).unwrap_or_default(), selecting: Vec::new() };
        }
        let of_mesh: Vec<_> = store.peer_authentications_in(root).filter(|it| it.selector.is_none()).collect();
        let levels = [oldest(&own), oldest(&of_mesh)];
        let inherited = levels.into_iter().flatten().find(|mode| *mode != MtlsMode::Unset);
        Self { root, inherited: inherited.unwrap_or_default(), selecting }
    }

    /// The name of the policy that a workload with these labels lists, if any.
    pub(super) fn policy(&self, labels: &Labels) -> Option<String> {
        let is_about = |it: &&&PeerAuthentication| it.selected().is_some_and(|selector| selector.is_subset_of(labels));
        let strict = || format!("{}/{STRICT}", self.root);
        let Some(of_workload) = self.selecting.iter().find(is_about) else {
            return (self.inherited == MtlsMode::Strict).then(strict);
        };
        match self.enforced(of_workload) {
            Enforced::Nothing => None,
            Enforced::Strict => Some(strict()),
            Enforced::StrictBut(_) | Enforced::Ports(_) => {
                Some(format!("{}/{CONVERTED}{}", of_workload.meta.namespace, of_workload.meta.name))
            }
        }
    }

    /// The policies that are made of PeerAuthentications of this namespace.
    fn converted(&self) -> impl Iterator<Item = Authorization> {
        self.selecting.iter().filter_map(|it| self.converted_of(it))
    }

    fn converted_of(&self, of: &PeerAuthentication) -> Option<Authorization> {
        let rules = match self.enforced(of) {
            Enforced::Nothing | Enforced::Strict => return None,
            // All of it must hold: nobody, and none of the ports.
            Enforced::StrictBut(ports) => {
                let other = |port| Match { not_destination_ports: vec![port], ..Match::default() };
                let matches = std::iter::once(nobody()).chain(ports.into_iter().map(other));
                vec![Rule { clauses: matches.map(|it| Clause { matches: vec![it] }).collect() }]
            }
            // One of it is enough.
            Enforced::Ports(ports) => {
                let at = |port| Match { destination_ports: vec![port], ..nobody() };
                ports.into_iter().map(|port| Rule { clauses: vec![Clause { matches: vec![at(port)] }] }).collect()
            }
        };
        Some(denying(&of.meta.namespace, format!("{CONVERTED}{}", of.meta.name), rules))
    }

    fn enforced(&self, of: &PeerAuthentication) -> Enforced {
        let is_inherited = of.mode == MtlsMode::Unset;
        let mode = if is_inherited { self.inherited } else { of.mode };
        let ports = |wanted: &[MtlsMode]| -> Vec<u32> {
            of.ports.iter().filter(|(_, mode)| wanted.contains(mode)).map(|(port, _)| *port).collect()
        };
        if mode == MtlsMode::Strict {
            // Where STRICT is inherited, DISABLE alone does not open a port: so it is in Istio, and it is the safer way.
            let opening: &[MtlsMode] =
                if is_inherited { &[MtlsMode::Permissive] } else { &[MtlsMode::Permissive, MtlsMode::Disable] };
            if ports(opening).is_empty() {
                return Enforced::Strict;
            }
            return Enforced::StrictBut(ports(&[MtlsMode::Permissive, MtlsMode::Disable]));
        }
        let strict = ports(&[MtlsMode::Strict]);
        if strict.is_empty() { Enforced::Nothing } else { Enforced::Ports(strict) }
    }
}

/// Everything that is made of PeerAuthentications.
pub(super) fn authorizations(store: &Store) -> Vec<Authorization> {
    let namespaces: BTreeSet<&Name> = store.peer_authentications().map(|it| &it.meta.namespace).collect();
    let mut made: Vec<Authorization> = namespaces
        .into_iter()
        .flat_map(|namespace| Peers::of(store, namespace).converted().collect::<Vec<_>>())
        .collect();
    made.extend(shared(store));
    made
}

/// What is made under this name, if anything is.
pub(super) fn authorization(store: &Store, namespace: &Name, name: &str) -> Option<Authorization> {
    if name == STRICT && *namespace == store.facts().mesh.root_namespace {
        return shared(store);
    }
    let of = name.strip_prefix(CONVERTED)?;
    let peers = Peers::of(store, namespace);
    let of = peers.selecting.iter().find(|it| *it.meta.name == *of)?;
    peers.converted_of(of)
}

/// The names under which something may be made of PeerAuthentications of this namespace.
pub(super) fn names(store: &Store, namespace: &Name) -> impl Iterator<Item = (Name, Name)> {
    let own = store.peer_authentications_in(namespace);
    let own = own.map(|it| (it.meta.namespace.clone(), converted_name(&it.meta.name)));
    own.chain([strict_name(store)])
}

/// The name of the policy of one of them.
pub(super) fn converted_name(name: &str) -> Name {
    format!("{CONVERTED}{name}").into()
}

/// Where the policy is that all share.
pub(super) fn strict_name(store: &Store) -> (Name, Name) {
    (store.facts().mesh.root_namespace.clone(), STRICT.into())
}

/// The policy that all share, there as soon as there is any PeerAuthentication.
fn shared(store: &Store) -> Option<Authorization> {
    store.peer_authentications().next()?;
    let rule = Rule { clauses: vec![Clause { matches: vec![nobody()] }] };
    Some(denying(&store.facts().mesh.root_namespace, STRICT.to_owned(), vec![rule]))
}

/// Whoever has no identity.
fn nobody() -> Match {
    Match { not_principals: vec![StringMatch { match_type: Some(MatchType::Presence(())) }], ..Match::default() }
}

fn denying(namespace: &str, name: String, rules: Vec<Rule>) -> Authorization {
    Authorization {
        name,
        namespace: namespace.to_owned(),
        scope: Scope::WorkloadSelector.into(),
        action: Action::Deny.into(),
        rules,
        ..Authorization::default()
    }
}

#[cfg(test)]
mod tests;
