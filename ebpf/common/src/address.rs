//! One form for both families: an IPv4 address is written as the IPv6 address `::ffff:a.b.c.d`.
//!
//! An AF_INET6 socket that connects to `::ffff:a.b.c.d` never runs the IPv4 hook, so both must meet in one key.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, IPv4 as v4-mapped: four words, each in network byte order.
///
/// Words and not octets, because that is how contexts hold it, and the compiler for BPF moves octets one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Address([u32; 4]);

/// What precedes the last word of a v4-mapped address.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// From the word a context gives for IPv4 (`user_ip4`).
    #[inline(always)]
    #[must_use]
    pub const fn from_v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// From the four words a context gives for IPv6 (`user_ip6`); a v4-mapped address is already in canonical form.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// Four words as `user_ip6` wants them.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// The word for `user_ip4`, if this is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(&self) -> Option<u32> {
        let [a, b, c, d] = self.0;
        if a == 0 && b == 0 && c == MAPPED { Some(d) } else { None }
    }

    /// The address in the form people and sockets use: v4-mapped becomes IPv4.
    #[must_use]
    pub fn to_ip(self) -> IpAddr {
        let [a, b, c, d] = self.0.map(u32::from_be);
        let high = u128::from(a) << 96 | u128::from(b) << 64;
        Ipv6Addr::from(high | u128::from(c) << 32 | u128::from(d)).to_canonical()
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(v4: Ipv4Addr) -> Self {
        v4.to_ipv6_mapped().into()
    }
}

impl From<Ipv6Addr> for Address {
    fn from(v6: Ipv6Addr) -> Self {
        let bits = v6.to_bits();
        Self([96, 64, 32, 0].map(|shift| ((bits >> shift) as u32).to_be()))
    }
}
