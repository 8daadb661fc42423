//! Which rows name which Gateways by labels of their own, both ways round. Not what their namespaces say for them: that is
//! [`super::naming`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::gateway::GatewayKey;
use crate::name::Name;
use crate::table::RowKey;

/// Gateways that a row names, whether or not they exist; shared by rows that name the same.
pub(super) type Named = Arc<[GatewayKey]>;

/// Edges from rows to Gateways. They lie by namespace: what is near each other stays so in the largest mesh.
#[derive(Debug, Default)]
pub(super) struct RowNaming {
    /// What each row names; no row that names none, and no namespace without such rows.
    rows: HashMap<Name, BTreeMap<RowKey, Named>>,
    /// The namespaces of the rows that name it, with how many these are.
    named_by: HashMap<GatewayKey, BTreeMap<Name, usize>>,
}

impl RowNaming {
    /// The row names these, and no other any more.
    pub(super) fn set(&mut self, row: &RowKey, names: &Named) {
        let namespace = &row.namespace;
        let before = self.rows.get(namespace).and_then(|rows| rows.get(row)).cloned().unwrap_or_default();
        if before == *names {
            return;
        }
        for gateway in &*before {
            self.release(gateway, namespace);
        }
        for gateway in &**names {
            let by = match self.named_by.get_mut(gateway) {
                Some(by) => by,
                None => self.named_by.entry(gateway.clone()).or_default(),
            };
            *by.entry(namespace.clone()).or_default() += 1;
        }
        if names.is_empty() {
            self.forget(row);
        } else {
            let rows = match self.rows.get_mut(namespace) {
                Some(rows) => rows,
                None => self.rows.entry(namespace.clone()).or_default(),
            };
            rows.insert(row.clone(), Arc::clone(names));
        }
    }

    fn release(&mut self, gateway: &GatewayKey, namespace: &Name) {
        let Some(by) = self.named_by.get_mut(gateway) else { return };
        if let Some(rows) = by.get_mut(namespace) {
            *rows -= 1;
            if *rows == 0 {
                by.remove(namespace);
            }
        }
        if by.is_empty() {
            self.named_by.remove(gateway);
        }
    }

    fn forget(&mut self, row: &RowKey) {
        if let Some(rows) = self.rows.get_mut(&row.namespace) {
            rows.remove(row);
            if rows.is_empty() {
                self.rows.remove(&row.namespace);
            }
        }
    }

    /// The rows that name the Gateway.
    pub(super) fn by<'a>(&'a self, gateway: &'a GatewayKey) -> impl Iterator<Item = &'a RowKey> {
        let namespaces = self.named_by.get(gateway).into_iter().flat_map(BTreeMap::keys);
        let rows = namespaces.filter_map(|namespace| self.rows.get(namespace)).flatten();
        rows.filter(|(_, names)| names.contains(gateway)).map(|(row, _)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::RowKind;

    #[test]
    fn edges_are_taken_back_when_names_change() {
        let mut naming = RowNaming::default();
        let (a, b) = (GatewayKey::new("ns", "a"), GatewayKey::new("ns", "b"));
        let row = |namespace, name| RowKey::new(RowKind::Pod, namespace, name);
        let (one, two, other) = (row("ns", "one"), row("ns", "two"), row("other", "one"));
        let by = |naming: &RowNaming, gateway| naming.by(gateway).cloned().collect::<Vec<_>>();
        naming.set(&one, &[a.clone(), b.clone()].into());
        naming.set(&two, &[a.clone()].into());
        naming.set(&other, &[a.clone()].into());
        assert_eq!(by(&naming, &a), [one.clone(), two.clone(), other.clone()]);
        naming.set(&one, &[b.clone()].into());
        assert_eq!((by(&naming, &a), by(&naming, &b)), (vec![two.clone(), other.clone()], vec![one.clone()]));
        for row in [&one, &two, &other] {
            naming.set(row, &Named::default());
        }
        assert!(naming.rows.is_empty() && naming.named_by.is_empty(), "nothing is left behind: {naming:?}");
    }
}
