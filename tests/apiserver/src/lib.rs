//! A Kubernetes API server for tests: it speaks the real protocol over HTTP/1.1 on a loopback port, in the test's own
//! process, so that kube-rs and kubectl work against it unmodified. It is not a cluster: nothing reconciles here.
//!
//! What it covers: discovery; get, list (paged, of one version), watch (with bookmarks, streaming lists, 410); create,
//! update, patch of all four kinds, server-side apply with `managedFields`; delete with preconditions and finalizers;
//! `status` subresources; CustomResourceDefinitions that come and go; errors in the shape of `metav1.Status`; bearer
//! tokens and permissions; faults on demand ([`Faults`]); a record of every write ([`ApiServer::audit`]).
//!
//! What it does **not** cover:
//! * admission, defaulting, conversion and schema validation: an object is stored as it came, versions of a kind differ
//!   in name only, `fieldValidation` is accepted and ignored;
//! * controllers: no garbage collection by owner, no endpoints for services, no namespace life cycle (its contents go
//!   with it at once), no grace period of pods;
//! * RBAC objects: permissions are given by [`ApiServer::grant`] and [`ApiServer::forbid`];
//! * websockets, protobuf, CBOR, gzip, tables (kubectl shows names and ages), HTTP/2, TLS, aggregation, audit policies,
//!   priority and fairness, `exec`, `log`, `proxy`, `scale`, `eviction` and other subresources;
//! * the watch cache: every answer is of the newest version, and a list of version 0 as well;
//! * which lists merge by key is a table for the kinds served here (`schema.rs`), not read from OpenAPI.

mod access;
mod audit;
mod clock;
mod crd;
mod deletes;
mod discovery;
mod faults;
mod fields;
mod history;
mod http;
mod lists;
mod locked;
mod managed;
mod object;
mod patch;
mod paths;
mod refusal;
mod requests;
mod resource;
mod schema;
mod selectors;
mod server;
mod store;
mod watches;
mod writes;

use std::time::Duration;

use tokio::sync::watch;

pub use audit::{Counts, Write};
pub use faults::{Answer, Faults, Matching};
pub use refusal::{FieldConflict, Refusal, Subject};
pub use resource::{Resource, gateway_api, istio};
pub use server::{ApiServer, Error};

/// How a server begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the loopback address; 0 for any that is free.
    pub port: u16,
    /// Who sends requests as long as no token was given out.
    pub user: String,
    /// Changes that watches and continued lists can go back; older ones are 410.
    pub history_max: usize,
    /// Time between bookmarks of a watch that allows them.
    pub bookmark_period: Duration,
    /// Writes that the audit remembers.
    pub audit_max: usize,
    /// Kinds besides those every cluster has.
    pub custom: Vec<Resource>,
    /// Whether what a test puts there has an owner of its fields ([`ApiServer::MANAGER`]), as in a cluster.
    pub has_managed_fields: bool,
}

/// Gateway API and Istio installed, room for 100,000 changes, a bookmark every minute.
impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            user: "system:serviceaccount:wayswitch-system:wayswitch".to_owned(),
            history_max: 100_000,
            bookmark_period: Duration::from_secs(60),
            audit_max: 200_000,
            custom: gateway_api().into_iter().chain(istio()).collect(),
            has_managed_fields: true,
        }
    }
}

/// What all requests see.
struct Shared {
    store: locked::Locked<store::Store>,
    /// The newest version: watches wait for it.
    newest: watch::Sender<u64>,
    faults: Faults,
    access: locked::Locked<access::Access>,
    audit: audit::Audit,
    options: Options,
}
