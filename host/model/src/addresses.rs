//! A list of IP addresses that takes no room of its own while it has at most one, as nearly all have.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

/// IP addresses in their order. Cheap to clone.
#[derive(Clone)]
pub struct Addresses(Few);

#[derive(Clone)]
enum Few {
    One(IpAddr),
    /// None, or more than one.
    List(Arc<[IpAddr]>),
}

impl Default for Addresses {
    fn default() -> Self {
        Self(Few::List(Arc::default()))
    }
}

impl Deref for Addresses {
    type Target = [IpAddr];

    fn deref(&self) -> &[IpAddr] {
        match &self.0 {
            Few::One(one) => std::slice::from_ref(one),
            Few::List(list) => list,
        }
    }
}

impl<const N: usize> From<[IpAddr; N]> for Addresses {
    fn from(list: [IpAddr; N]) -> Self {
        Self::from(&list[..])
    }
}

impl From<Vec<IpAddr>> for Addresses {
    fn from(list: Vec<IpAddr>) -> Self {
        Self::from(&*list)
    }
}

impl From<&[IpAddr]> for Addresses {
    fn from(list: &[IpAddr]) -> Self {
        match list {
            [one] => Self(Few::One(*one)),
            list => Self(Few::List(list.into())),
        }
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(list: I) -> Self {
        Self::from(list.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a Addresses {
    type Item = &'a IpAddr;
    type IntoIter = std::slice::Iter<'a, IpAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Addresses {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Addresses {}

impl Hash for Addresses {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_it_was_made_of_and_no_larger_than_it_must_be() {
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        for list in [vec![], vec![ip(1)], vec![ip(2), ip(1)]] {
            let addresses = Addresses::from(list.clone());
            assert_eq!(*addresses, *list);
            assert_eq!(addresses, list.iter().copied().collect());
            assert_eq!(format!("{addresses:?}"), format!("{list:?}"));
        }
        assert_ne!(Addresses::from([ip(1)]), Addresses::from([ip(2)]));
        assert_eq!(size_of::<Addresses>(), 24);
    }
}
