//! Requests about single objects, as all of this module make them, and objects as the model has them.

use kube::api::{Api, ApiResource};
use kube::runtime::watcher;
use manifest::{Limits, ObjectReader};
use model::{Kind, Object};
use serde_json::Value;

use crate::connect::Cluster;
use crate::error::{About, Error};
use crate::kinds::{about, resource};
use crate::raw::Raw;

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) kind: Kind,
    /// Empty where the kind is cluster-scoped; or it is about those of all namespaces.
    pub(super) namespace: &'a str,
    /// Empty: about all of them.
    pub(super) name: &'a str,
}

impl At<'_> {
    pub(super) fn api(self, cluster: &Cluster) -> Api<Raw> {
        let (client, resource) = (cluster.client.clone(), resource(self.kind));
        match self.namespace {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        }
    }

    /// What went wrong with a request about it.
    pub(super) fn failed(self, verb: &'static str, error: kube::Error) -> Error {
        self.about(verb, &resource(self.kind)).failed(error)
    }

    /// What a watch of it met; none: nothing that matters.
    pub(super) fn following(self, error: watcher::Error) -> Option<Error> {
        self.about("watch", &resource(self.kind)).following(error)
    }

    /// It was sent, and cannot be read.
    fn unreadable(self, why: String) -> Error {
        Error::Unreadable { object: self.object(), why }
    }

    /// As messages name it.
    fn object(self) -> String {
        self.about("get", &resource(self.kind)).object()
    }

    fn about<'a>(&'a self, verb: &'static str, resource: &'a ApiResource) -> About<'a> {
        About { namespace: self.namespace, name: self.name, ..about(verb, resource) }
    }

    /// The object; none: it is not there.
    ///
    /// # Errors
    /// [`Error::NoSuchKind`] where its kind is not there.
    pub(super) async fn get(self, cluster: &Cluster) -> Result<Option<Got>, Error> {
        match self.api(cluster).get(self.name).await.map_err(|error| self.failed("get", error)) {
            Ok(raw) => Got::read(self, &raw).map(Some),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object, which must be there.
    pub(super) async fn get_there(self, cluster: &Cluster) -> Result<Got, Error> {
        self.get(cluster).await?.ok_or_else(|| Error::NotFound { object: self.object() })
    }
}

/// An object that was read.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) object: Object,
    pub(super) json: Value,
}

impl Got {
    pub(super) fn read(at: At<'_>, raw: &Raw) -> Result<Self, Error> {
        let json = serde_json::from_str(raw.json()).map_err(|error| at.unreadable(error.to_string()))?;
        let object = ObjectReader::new(Limits::default()).read(at.kind, raw.json());
        Ok(Self { object: object.map_err(|unread| at.unreadable(unread.to_string()))?, json })
    }

    pub(super) fn resource_version(&self) -> String {
        text(&self.json, "/metadata/resourceVersion").unwrap_or_default().to_owned()
    }
}

/// The text at a JSON pointer.
pub(super) fn text<'a>(json: &'a Value, pointer: &str) -> Option<&'a str> {
    json.pointer(pointer)?.as_str()
}

/// An object of the model, of its JSON.
///
/// # Errors
/// Why it cannot be read.
pub fn object_of(kind: Kind, json: &Value) -> Result<Object, String> {
    ObjectReader::new(Limits::default()).read(kind, &json.to_string()).map_err(|unread| unread.to_string())
}
