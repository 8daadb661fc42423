//! From decided rows to entries in the kernel, and the sink contract for them.
//!
//! Several rows may have one address: then services come before workloads, and rows in the order of their names (R86).
//! Workloads that are not dialled by address have no entries (R97).

mod claims;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::decision::{Choice, Decision, OnUnreachable, Target};
use model::gateway::HBONE_PORT;
use model::sink::{Sink, SinkError, Step};
use model::table::{Row, RowKey, Table};

use crate::entry::{Action, Destination, Entry};
use crate::error::Error;
use crate::publish::Prepared;
use crate::records::Record;
use crate::update::Change;
use crate::{Active, Redirect};
use claims::Claims;

const NAME: &str = "redirect";

/// A peer takes its record when it accepts; Linux gives a handshake about this long (`tcp_syn_retries` 6: 127 s).
const RECORD_AGE_MAX: Duration = Duration::from_secs(130);

/// Linux error numbers of the refusals that a decision asks for.
const ECONNREFUSED: u32 = 111;
const EHOSTUNREACH: u32 = 113;

/// The kernel as a place that decisions are put into.
#[derive(Debug)]
pub struct RedirectSink {
    redirect: Redirect,
    /// Of the table in the kernel.
    claims: Claims,
    /// Of the table before it, whose connections still carry its numbers.
    before: Claims,
    prepared: Option<(Prepared, Claims, u64)>,
    /// The rules of the table in the kernel; none until the first commit of this process, and after a failed update.
    current: Option<u64>,
}

impl RedirectSink {
    /// A sink over an opened kernel side.
    #[must_use]
    pub fn new(redirect: Redirect) -> Self {
        Self { redirect, claims: Claims::default(), before: Claims::default(), prepared: None, current: None }
    }

    /// The kernel side, for counters and the sweep.
    pub fn redirect(&mut self) -> &mut Redirect {
        &mut self.redirect
    }

    /// What the kernel decides by now.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn active(&self) -> Result<Active, Error> {
        self.redirect.active()
    }

    /// The row that decided a connection; none for records older than the table before the current one.
    #[must_use]
    pub fn row(&self, record: &Record) -> Option<&RowKey> {
        let tables = [&self.claims, &self.before].into_iter();
        tables.filter(|claims| claims.rules() == record.rules).find_map(|claims| claims.row(record.rule_id))
    }

    /// Gives the kernel side back, for instance to detach it.
    #[must_use]
    pub fn into_redirect(self) -> Redirect {
        self.redirect
    }
}

impl Sink for RedirectSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&mut self, next: model::sink::Decided<'_>) -> Result<(), SinkError> {
        let next = next.table;
        self.abort();
        // Numbers are not used twice within two tables, so that a record names its row whichever of the two decided.
        let claims = Claims::of(next, self.claims.next_id());
        let entries: Vec<Entry> = claims.destinations().filter_map(|ip| entry(&claims, next, ip)).collect();
        let prepared = self.redirect.prepare(next.rules, entries).map_err(|error| failure(&error))?;
        self.prepared = Some((prepared, claims, next.rules));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        let Some((prepared, claims, rules)) = self.prepared.take() else {
            return Err(SinkError { sink: NAME, what: "nothing is prepared: prepare a table first".into() });
        };
        self.redirect.commit(prepared).map_err(|error| failure(&error))?;
        self.before = std::mem::replace(&mut self.claims, claims);
        self.current = Some(rules);
        Ok(())
    }

    fn abort(&mut self) {
        if let Some((prepared, _, _)) = self.prepared.take() {
            self.redirect.abort(prepared);
        }
    }

    fn update(&mut self, now: model::sink::Decided<'_>, step: &Step) -> Result<(), SinkError> {
        let table = now.table;
        if self.current != Some(table.rules) {
            let what = format!("the kernel does not hold rules {}: publish the whole table", table.rules);
            return Err(SinkError { sink: NAME, what });
        }
        // Until everything below is done, what is claimed and what is in the kernel may differ.
        self.current = None;
        let mut touched = BTreeSet::new();
        for change in &step.moved {
            touched.extend(self.claims.apply(change));
        }
        if self.claims.is_bloated() {
            return Err(SinkError { sink: NAME, what: "too many rows came and went: publish the whole table".into() });
        }
        let changes: Vec<Change> = touched
            .into_iter()
            .map(|ip| entry(&self.claims, table, ip).map_or(Change::Remove(Destination::any_port(ip)), Change::Put))
            .collect();
        self.redirect.update(&changes).map_err(|error| failure(&error))?;
        self.current = Some(table.rules);
        Ok(())
    }

    /// Sweeps the records that no peer took.
    fn counters(&mut self) -> Vec<(String, u64)> {
        match self.redirect.stats() {
            Ok(stats) => stats.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            Err(error) => {
                tracing::warn!(%error, "counters cannot be read");
                Vec::new()
            }
        }
    }

    fn tend(&mut self) {
        if let Err(error) = self.redirect.settle() {
            tracing::warn!(
                error = failure(&error).what,
                "the standby rules could not be settled; the next swap does it"
            );
        }
        match self.redirect.sweep(RECORD_AGE_MAX) {
            Ok(0) => {}
            Ok(swept) => tracing::debug!(swept, "records that no peer took were removed"),
            Err(error) => tracing::warn!(error = failure(&error).what, "records that no peer took cannot be removed"),
        }
    }
}

/// The entry of an address: that of the first row that claims it.
fn entry(claims: &Claims, table: &Table, ip: IpAddr) -> Option<Entry> {
    let rule_id = claims.winner(ip)?;
    let row: &Row = table.get(claims.row(rule_id)?)?;
    let action = action(&row.decision, ip);
    Some(Entry { destination: Destination::any_port(ip), action, rule_id, revision: row.revision })
}

/// What a decision means for connections to this address.
fn action(decision: &Decision, ip: IpAddr) -> Action {
    match &decision.choice {
        Choice::Keep | Choice::Direct => Action::Pass,
        Choice::Blocked => Action::Deny(ECONNREFUSED),
        Choice::Waypoints(targets) => {
            match targets.iter().filter(|target| target.weight > 0).find_map(|target| dial(target, ip)) {
                Some(address) => Action::Redirect(address),
                None => match decision.on_unreachable {
                    OnUnreachable::Fail => Action::Deny(EHOSTUNREACH),
                    OnUnreachable::Bypass => Action::Pass,
                },
            }
        }
    }
}

/// Where to dial a waypoint for a destination: at an address of the destination's own family if it has one. An IPv6 socket
/// also reaches IPv4; the other way round the program refuses.
fn dial(target: &Target, destination: IpAddr) -> Option<SocketAddr> {
    let usable = || target.dial.iter().copied().filter(|ip| !ip.to_canonical().is_unspecified());
    let same_family = |ip: &IpAddr| ip.to_canonical().is_ipv4() == destination.to_canonical().is_ipv4();
    usable().find(same_family).or_else(|| usable().next()).map(|ip| SocketAddr::new(ip, HBONE_PORT))
}

/// An error with its causes in one line.
fn failure(error: &Error) -> SinkError {
    let mut what = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        what.push_str(": ");
        what.push_str(&cause.to_string());
        source = cause.source();
    }
    SinkError { sink: NAME, what }
}

#[cfg(test)]
mod tests;
