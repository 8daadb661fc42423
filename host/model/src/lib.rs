//! The domain: Istio's nouns, who refers to whom, what a component is asked, and the table of decisions.
//!
//! Pure and synchronous: no I/O, no clock, no wire types, no knowledge of WASM, eBPF, xDS or Kubernetes clients.
//! Data flows one way: [`store`] → [`projection`] → [`batch`] → (a [`Resolver`]) → [`decision`] → [`table`] → [`sink`].

#![warn(missing_docs)]

pub mod name;
pub mod object;

pub mod selector;

pub mod gateway;
pub mod namespace;
pub mod service;
pub mod workload;

pub mod store;

pub mod description;

pub mod input;

pub mod projection;

pub mod batch;

pub mod decision;

pub mod floor;

pub mod explain;

pub mod table;

pub mod decider;

pub mod sink;

pub use decider::{Decider, ResolveFailure, Resolver};
pub use decision::Decision;
pub use description::Description;
pub use gateway::{Gateway, GatewayClass};
pub use name::{Labels, Name};
pub use namespace::Namespace;
pub use object::{Meta, Object, ObjectKey};
pub use service::Service;
pub use store::{Event, Facts, Store};
pub use table::{Row, RowKey, Table};
pub use workload::Pod;
