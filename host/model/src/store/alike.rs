//! Objects that are alike hold the same strings once: a mesh of 200,000 Pods has few labels. Nothing is kept for it; what is
//! likely to be alike, the Pods of one Deployment for instance, is beside each other in the order of names.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::endpoint_slice::EndpointSlice;
use crate::name::{Name, share};
use crate::object::Meta;
use crate::peer_authentication::PeerAuthentication;
use crate::policy::AuthorizationPolicy;
use crate::service::Service;
use crate::service_entry::ServiceEntry;
use crate::sorted::Entry;
use crate::workload::Pod;
use crate::workload_entry::WorkloadEntry;

/// An object that may have strings of another.
pub(super) trait Alike {
    /// Its metadata.
    fn meta(&self) -> &Meta;
    /// The same, to change it.
    fn meta_mut(&mut self) -> &mut Meta;

    /// Takes what else it has in common with others of its kind.
    fn share_more(&mut self, _: &Self) {}

    /// Takes the other's strings in the place of its own where they are equal.
    fn share_with(&mut self, other: &Self) {
        self.meta_mut().share_with(other.meta());
        self.share_more(other);
    }
}

macro_rules! alike {
    ($($kind:ident $(, $own:ident, $other:ident => $more:block)?;)*) => {$(
        impl Alike for $kind {
            fn meta(&self) -> &Meta {
                &self.meta
            }

            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.meta
            }

            $(fn share_more(&mut self, $other: &Self) {
                let $own = self;
                $more
            })?
        }
    )*};
}

alike! {
    Service;
    Pod, own, other => {
        if own.template == other.template {
            own.template.clone_from(&other.template);
        }
    };
    ServiceEntry;
    WorkloadEntry, own, other => {
        share(&mut own.service_account, &other.service_account);
    };
    EndpointSlice;
    AuthorizationPolicy;
    PeerAuthentication;
}

/// How a store keeps an object: sorted by namespace and name.
pub(super) trait Kept: Entry<Key = (Name, Name)> {
    /// What it is.
    type Object: Alike + PartialEq;

    /// The object.
    fn object(&self) -> &Self::Object;
    /// What keeps this object.
    fn keeping(object: Self::Object) -> Self;
}

impl<T: Alike + PartialEq> Kept for Arc<T> {
    type Object = T;

    fn object(&self) -> &T {
        self
    }

    fn keeping(object: T) -> Self {
        Self::new(object)
    }
}

impl Kept for Pod {
    type Object = Self;

    fn object(&self) -> &Self {
        self
    }

    fn keeping(object: Self) -> Self {
        object
    }
}

impl<T: Alike> Entry for Arc<T> {
    type Key = (Name, Name);

    fn key(&self) -> (Name, Name) {
        self.meta().key()
    }

    fn order(&self, key: &(Name, Name)) -> Ordering {
        self.meta().order(key)
    }
}

impl Entry for Pod {
    type Key = (Name, Name);

    fn key(&self) -> (Name, Name) {
        self.meta.key()
    }

    fn order(&self, key: &(Name, Name)) -> Ordering {
        self.meta.order(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Object;
    use crate::store::{Event, Facts, Store};

    #[test]
    fn pods_that_are_alike_hold_their_strings_once() {
        let pod = |name: &str, labels: &[(&str, &str)]| {
            let mut pod = Pod::named("shop", name);
            pod.meta.labels = labels.iter().copied().collect();
            Event::Apply(Object::Pod(pod))
        };
        let mut store = Store::new(Facts::default());
        store.apply(pod("cart-1", &[("app", "cart"), ("hash", "a")]));
        store.apply(pod("cart-2", &[("app", "cart"), ("hash", "a")]));
        store.apply(pod("cart-3", &[("app", "cart"), ("hash", "b")]));
        let pod = |name: &str| store.pod(&"shop".into(), &name.into()).unwrap().clone();
        let (one, two, three) = (pod("cart-1"), pod("cart-2"), pod("cart-3"));
        let same = |a: &Name, b: &Name| std::ptr::eq(&**a, &**b);
        for other in [&two, &three] {
            assert!(same(&one.meta.namespace, &other.meta.namespace));
            assert!(same(one.service_account(), other.service_account()));
            assert!(same(one.meta.labels.get("app").unwrap(), other.meta.labels.get("app").unwrap()));
            assert!(!same(&one.meta.name, &other.meta.name));
        }
        assert!(one.meta.labels.is(&two.meta.labels) && !one.meta.labels.is(&three.meta.labels));
        assert_eq!(three.meta.labels.get("hash").map(|hash| &**hash), Some("b"));
    }
}
