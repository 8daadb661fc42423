//! Addresses and what stands in their place: two of them share as many leading bits as before, so that ranges hold what
//! they held, and the order stays. Bits by which no two of them differ are replaced: nothing is left of them.

use std::collections::HashSet;
use std::net::IpAddr;

/// What bits become that tell nothing apart: 10.0.0.0 and fd00::.
const V4: u128 = 10 << 24;
const V6: u128 = 0xfd << 120;

/// The addresses of a mesh, each family sorted.
#[derive(Debug)]
pub(super) struct Addresses {
    v4: Vec<u128>,
    v6: Vec<u128>,
}

impl Addresses {
    pub(super) fn new(originals: HashSet<IpAddr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for ip in originals {
            match ip {
                IpAddr::V4(ip) => v4.push(u128::from(u32::from(ip))),
                IpAddr::V6(ip) => v6.push(u128::from(ip)),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4, v6 }
    }

    /// The address in the place of this one.
    pub(super) fn get(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(ip) => v4(mapped(&self.v4, 32, V4, u32::from(ip).into())),
            IpAddr::V6(ip) => v6(mapped(&self.v6, 128, V6, ip.into())),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let all = self.v4.iter().map(|bits| v4(*bits)).chain(self.v6.iter().map(|bits| v6(*bits)));
        all.map(|ip| (ip, self.get(ip)))
    }
}

fn v4(bits: u128) -> IpAddr {
    // Only 32 bits are ever set.
    IpAddr::from(u32::try_from(bits).unwrap_or_default().to_be_bytes())
}

fn v6(bits: u128) -> IpAddr {
    IpAddr::from(bits.to_be_bytes())
}

/// Walks down the bits: where addresses that agree so far go both ways the bit stays, elsewhere it is `plain`'s.
fn mapped(sorted: &[u128], bits: u32, plain: u128, ip: u128) -> u128 {
    let mut agreeing = sorted;
    let mut mapped = 0;
    for at in (0..bits).rev() {
        let is_set = |number: u128| (number >> at) & 1 == 1;
        let (zeros, ones) = agreeing.split_at(agreeing.partition_point(|other| !is_set(*other)));
        let tells_apart = !zeros.is_empty() && !ones.is_empty();
        let bit = is_set(if tells_apart { ip } else { plain });
        mapped |= u128::from(bit) << at;
        agreeing = if is_set(ip) { ones } else { zeros };
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> Addresses {
        Addresses::new(texts.iter().map(|text| ip(text)).collect())
    }

    #[test]
    fn only_the_bits_that_tell_addresses_apart_are_left() {
        let addresses = addresses(&["192.168.7.9", "192.168.7.8", "192.168.9.1", "2001:db8::7"]);
        assert_eq!(addresses.get(ip("192.168.7.8")), ip("10.0.0.0"));
        assert_eq!(addresses.get(ip("192.168.7.9")), ip("10.0.0.1"));
        assert_eq!(addresses.get(ip("192.168.9.1")), ip("10.0.8.0"));
        assert_eq!(addresses.get(ip("2001:db8::7")), ip("fd00::"));
        assert_eq!(addresses.iter().count(), 4);
    }

    #[test]
    fn order_and_shared_prefixes_are_as_before() {
        let mut random = 7_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(random >> 32).unwrap()
        };
        // Dense and far apart.
        let all: Vec<u32> = (0..200).map(|at| if at % 2 == 0 { next() } else { 0x0a00_0000 | next() & 0xff }).collect();
        let addresses = Addresses::new(all.iter().map(|bits| IpAddr::from(bits.to_be_bytes())).collect());
        let map = |bits: u32| match addresses.get(IpAddr::from(bits.to_be_bytes())) {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(_) => panic!("another family"),
        };
        for a in &all {
            for b in &all {
                assert_eq!((a ^ b).leading_zeros(), (map(*a) ^ map(*b)).leading_zeros());
                assert_eq!(a.cmp(b), map(*a).cmp(&map(*b)));
            }
        }
    }
}
