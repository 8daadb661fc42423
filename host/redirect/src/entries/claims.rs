//! Which rows claim which addresses, who of them is first, and the numbers by which records name rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use model::table::{Row, RowChange, RowKey, Table};

/// Rows that came since the table was published, beyond which it is published anew: numbers of rows that are gone are kept
/// until then, because connections may still carry them.
const GONE_ROWS_MIN: usize = 4096;

/// The claims of one table.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The rules of the table.
    rules: u64,
    /// The number of the first row.
    base: u32,
    /// Rows by number, from `base` on.
    rows: Vec<RowKey>,
    /// How many of them still claim an address.
    claiming: usize,
    /// Also how a row's number is found: by an address that it claims.
    by_address: HashMap<IpAddr, Claimants>,
}

/// The numbers of the rows that claim an address; never none. Nearly all addresses have one, which takes no room elsewhere.
#[derive(Debug)]
enum Claimants {
    One(u32),
    Several(Vec<u32>),
}

impl Claimants {
    fn ids(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
        }
    }

    fn add(&mut self, id: u32) {
        if !self.ids().contains(&id) {
            *self = Self::Several(self.ids().iter().copied().chain([id]).collect());
        }
    }

    /// Those without this one; none where there is no other.
    fn without(&self, id: u32) -> Option<Self> {
        let mut others = self.ids().iter().copied().filter(|other| *other != id);
        let first = others.next()?;
        Some(match others.next() {
            None => Self::One(first),
            Some(second) => Self::Several([first, second].into_iter().chain(others).collect()),
        })
    }
}

impl Claims {
    /// The claims of a whole table, with numbers from `base` on.
    pub(super) fn of(table: &Table, base: u32) -> Self {
        let mut claims = Self { rules: table.rules, base, ..Self::default() };
        claims.by_address.reserve(table.len());
        for (key, row) in table.iter() {
            claims.add(key, row, None);
        }
        claims
    }

    /// A number no row of this table has.
    pub(super) fn next_id(&self) -> u32 {
        self.base.wrapping_add(self.rows.len() as u32)
    }

    /// The rules of the table.
    pub(super) fn rules(&self) -> u64 {
        self.rules
    }

    /// The row with this number.
    pub(super) fn row(&self, id: u32) -> Option<&RowKey> {
        self.rows.get(id.wrapping_sub(self.base) as usize)
    }

    /// All addresses that are claimed.
    pub(super) fn destinations(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// The row that counts for an address: services before workloads, then by name.
    pub(super) fn winner(&self, ip: IpAddr) -> Option<u32> {
        let ids = self.by_address.get(&ip)?.ids();
        if let [id] = ids {
            return Some(*id);
        }
        ids.iter().copied().min_by_key(|id| self.row(*id).map(|key| (!key.kind.is_service(), key)))
    }

    /// Carries a change out; returns the addresses whose entry may be another now.
    pub(super) fn apply(&mut self, change: &RowChange) -> Vec<IpAddr> {
        let mut touched = Vec::new();
        let id = change.before.as_ref().and_then(|before| self.number(&change.key, before));
        if let (Some(before), Some(id)) = (&change.before, id) {
            self.claiming -= 1;
            for ip in addresses(before) {
                if let Entry::Occupied(mut claimants) = self.by_address.entry(ip) {
                    match claimants.get().without(id) {
                        Some(others) => drop(claimants.insert(others)),
                        None => drop(claimants.remove()),
                    }
                }
                touched.push(ip);
            }
        }
        if let Some(after) = &change.after {
            self.add(&change.key, after, id);
            touched.extend(addresses(after));
        }
        touched
    }

    /// True when more numbers are kept for rows that are gone than is worth it.
    pub(super) fn is_bloated(&self) -> bool {
        self.rows.len() > 2 * self.claiming + GONE_ROWS_MIN
    }

    /// The number of a row that claims addresses.
    fn number(&self, key: &RowKey, row: &Row) -> Option<u32> {
        let claimants = self.by_address.get(&addresses(row).next()?)?;
        claimants.ids().iter().copied().find(|id| self.row(*id) == Some(key))
    }

    /// With the number that the row had, else with the next. One that claims nothing needs none.
    fn add(&mut self, key: &RowKey, row: &Row, id: Option<u32>) {
        if addresses(row).next().is_none() {
            return;
        }
        let next = self.next_id();
        let id = id.unwrap_or_else(|| {
            self.rows.push(key.clone());
            next
        });
        self.claiming += 1;
        for ip in addresses(row) {
            self.by_address.entry(ip).and_modify(|claimants| claimants.add(id)).or_insert(Claimants::One(id));
        }
    }
}

/// The addresses a row claims, in their canonical form; none if it is not dialled by address (R97).
fn addresses(row: &Row) -> impl Iterator<Item = IpAddr> {
    let dialled = row.subject.dialled_by_address;
    // The kernel dials the zero address as loopback, and nobody connects to many.
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    row.subject.addresses.iter().filter(move |_| dialled).map(IpAddr::to_canonical).filter(usable)
}
