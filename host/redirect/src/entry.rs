//! One rule in the words of its callers, and its form in the kernel.

use std::net::{IpAddr, SocketAddr};

use ebpf_common::{
    Action as Number, Address, Key, META_HAS_ANY_PORT, META_HAS_EXACT_PORT, PROFILE_DEFAULT, TCP, Value,
};

use crate::error::Error;

/// Largest error number a system call can fail with (`MAX_ERRNO` of the kernel).
const ERRNO_MAX: u32 = 4095;

/// Where an application connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The address. `::ffff:a.b.c.d` and `a.b.c.d` are one destination.
    pub ip: IpAddr,
    /// The port; 0 means every port that has no entry of its own.
    pub port: u16,
}

impl Destination {
    /// Every port of an address.
    #[must_use]
    pub const fn any_port(ip: IpAddr) -> Self {
        Self { ip, port: 0 }
    }

    pub(crate) fn key(self) -> Key {
        Key { address: Address::from(self.ip), port: self.port.to_be(), protocol: TCP, profile: PROFILE_DEFAULT }
    }

    /// The flag of a set that holds this kind of key.
    pub(crate) const fn flag(self) -> u32 {
        if self.port == 0 { META_HAS_ANY_PORT } else { META_HAS_EXACT_PORT }
    }
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes where it wanted to go.
    Pass,
    /// Reserved for a proxy on this node; until there is one the programs refuse such a connection.
    Proxy,
    /// It goes to this address instead. The socket's family decides whether it can: an IPv4 socket cannot reach IPv6, and is refused.
    Redirect(SocketAddr),
    /// `connect` fails with this error number (1 to 4095).
    Deny(u32),
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Connections to here ...
    pub destination: Destination,
    /// ... meet this fate,
    pub action: Action,
    /// because of the row with this number,
    pub rule_id: u32,
    /// in this state of the objects.
    pub revision: u64,
}

impl Entry {
    /// Key and sealed value.
    pub(crate) fn encode(&self, rules: u64) -> Result<(Key, Value), Error> {
        let (action, target, errno) = match self.action {
            Action::Pass => (Number::Pass, None, 0),
            Action::Proxy => (Number::Proxy, None, 0),
            Action::Redirect(target) if target.port() == 0 || target.ip().to_canonical().is_unspecified() => {
                return Err(Error::UnusableTarget { ip: self.destination.ip, target });
            }
            Action::Redirect(target) => (Number::Redirect, Some(target), 0),
            Action::Deny(errno) if errno == 0 || errno > ERRNO_MAX => {
                return Err(Error::UnusableErrno { ip: self.destination.ip, errno });
            }
            Action::Deny(errno) => (Number::Deny, None, errno),
        };
        let key = self.destination.key();
        let value = Value {
            address: target.map_or(Address::from_words([0; 4]), |target| Address::from(target.ip())),
            port: target.map_or(0, |target| target.port().to_be()),
            action: action as u8,
            reserved: 0,
            errno,
            rule_id: self.rule_id,
            padding: 0,
            rules,
            revision: self.revision,
            seal: 0,
        };
        Ok((key, value.sealed(&key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ip: &str, action: Action) -> Entry {
        Entry { destination: Destination::any_port(ip.parse().unwrap()), action, rule_id: 1, revision: 2 }
    }

    #[test]
    fn mapped_and_plain_ipv4_are_one_key() {
        let (plain, _) = entry("10.0.0.1", Action::Pass).encode(1).unwrap();
        let (mapped, _) = entry("::ffff:10.0.0.1", Action::Pass).encode(1).unwrap();
        assert_eq!(plain, mapped);
    }

    #[test]
    fn entries_that_cannot_work_are_refused_with_the_reason() {
        let rows = [
            (Action::Redirect("10.0.0.2:0".parse().unwrap()), "10.0.0.2:0, which is no address to connect to"),
            (Action::Redirect("0.0.0.0:15008".parse().unwrap()), "0.0.0.0:15008, which is no address to connect to"),
            (Action::Redirect("[::]:15008".parse().unwrap()), "[::]:15008, which is no address to connect to"),
            (Action::Redirect("[::ffff:0.0.0.0]:1".parse().unwrap()), "which is no address to connect to"),
            (Action::Deny(0), "denies with 0, which is not an error number"),
            (Action::Deny(4096), "denies with 4096, which is not an error number"),
        ];
        for (action, text) in rows {
            let error = entry("10.0.0.1", action).encode(1).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_is_encoded_is_what_the_programs_decide() {
        use ebpf_common::{Family, Reason, Verdict, decide};
        let target: SocketAddr = "10.0.0.2:15008".parse().unwrap();
        let verdict = |action| decide(&entry("10.0.0.1", action).encode(1).unwrap().1, Family::V4);
        assert_eq!(verdict(Action::Pass), Verdict::Pass { reason: Reason::Pass });
        assert_eq!(verdict(Action::Deny(113)), Verdict::Deny { errno: 113, reason: Reason::Deny });
        assert_eq!(verdict(Action::Proxy), Verdict::refuse(Reason::ProxyReserved));
        assert_eq!(
            verdict(Action::Redirect(target)),
            Verdict::Redirect { address: target.ip().into(), port: 15008_u16.to_be() }
        );
    }
}
