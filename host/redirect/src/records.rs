//! What was decided for a connection, for whoever has one end of it: the peer that accepted it, or the socket itself.
//!
//! Needs the pins and the right to open them, not the agent: it may be dead, or another process.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::{Map, MapData, MapError, SkStorage};
use ebpf_common::{Action, Address, Family, PairKey, map};
use rustix::net::{AddressFamily, SocketType, socket};

use crate::error::Error;
use crate::maps::{BLANK_PAIR, BLANK_RECORD, Pairs};
use crate::sys;

/// What was decided for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the application wanted to connect to; IPv4 in its plain form, whatever the socket was.
    pub destination: SocketAddr,
    /// The family of the application's socket.
    pub family: Family,
    /// What was done.
    pub action: Action,
    /// The number of the row that decided.
    pub rule_id: u32,
    /// The rules that decided.
    pub rules: u64,
    /// The state of the objects they decided on.
    pub revision: u64,
    /// When, on `CLOCK_MONOTONIC`, exact to a tick of the kernel (1 to 10 ms).
    pub decided_at: Duration,
}

/// The records of one folder of pins.
pub struct Records {
    pairs: Pairs,
    sockets: SkStorage<MapData, ebpf_common::Record>,
    netns_cookie: u64,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("netns_cookie", &self.netns_cookie).finish_non_exhaustive()
    }
}

impl Records {
    /// Opens the pins of a running (or dead) agent. Connections are looked up in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the pins are not there or may not be opened, or the kernel is older than 5.14.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let pairs = open_pin(pin_dir, map::PAIR)?.try_into().map_err(Error::map("use", map::PAIR))?;
        let sockets = open_pin(pin_dir, map::ORIG)?.try_into().map_err(Error::map("use", map::ORIG))?;
        let probe = socket(AddressFamily::INET, SocketType::DGRAM, None)
            .map_err(|error| Error::call("make a socket", error.into()))?;
        let netns_cookie = netns_cookie(probe.as_fd())?;
        Ok(Self { pairs, sockets, netns_cookie })
    }

    /// Takes the record of an accepted connection: `peer` is its client, `local` the address it was accepted on. A record can
    /// be taken once. None means that the connection was not redirected here (or that the map was full): close it.
    ///
    /// # Errors
    /// When the kernel fails, or the record is of another version.
    pub fn take(&self, peer: SocketAddr, local: SocketAddr) -> Result<Option<Record>, Error> {
        self.take_in(self.netns_cookie, peer, local)
    }

    /// The same for a client in the network namespace with this cookie (see [`netns_cookie`]).
    ///
    /// # Errors
    /// As [`Records::take`].
    pub fn take_in(&self, netns_cookie: u64, peer: SocketAddr, local: SocketAddr) -> Result<Option<Record>, Error> {
        let key = PairKey {
            netns_cookie,
            source: Address::from(peer.ip()),
            destination: Address::from(local.ip()),
            source_port: peer.port().to_be(),
            destination_port: local.port().to_be(),
            ..BLANK_PAIR
        };
        let found = sys::take(&self.pairs, &key, BLANK_RECORD)
            .map_err(|error| Error::call("take a connection's record", error))?;
        found.as_ref().map(Record::try_from).transpose()
    }

    /// The record of a socket's last connect, denied ones included; none if no rule named its destination.
    ///
    /// # Errors
    /// As [`Records::take`].
    pub fn of_socket(&self, socket: &impl AsRawFd) -> Result<Option<Record>, Error> {
        match self.sockets.get(socket, 0) {
            Ok(record) => Record::try_from(&record).map(Some),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(Error::map("read", map::ORIG)(source)),
        }
    }
}

/// The number of the network namespace of a socket.
///
/// # Errors
/// When the kernel is older than 5.14.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> Result<u64, Error> {
    sys::netns_cookie(socket).map_err(|error| Error::call("read a socket's SO_NETNS_COOKIE (Linux 5.14)", error))
}

fn open_pin(pin_dir: &Path, name: &'static str) -> Result<Map, Error> {
    MapData::from_pin(pin_dir.join(name)).and_then(Map::from_map_data).map_err(Error::map("open pinned", name))
}

impl TryFrom<&ebpf_common::Record> for Record {
    type Error = Error;

    fn try_from(record: &ebpf_common::Record) -> Result<Self, Error> {
        let malformed = || Error::MalformedRecord { action: record.action, family: record.family };
        let family = match record.family {
            4 => Family::V4,
            6 => Family::V6,
            _ => return Err(malformed()),
        };
        Ok(Self {
            destination: SocketAddr::new(record.address.to_ip(), u16::from_be(record.port)),
            family,
            action: Action::from_number(record.action).ok_or_else(malformed)?,
            rule_id: record.rule_id,
            rules: record.rules,
            revision: record.revision,
            decided_at: Duration::from_nanos(record.ktime_ns),
        })
    }
}
