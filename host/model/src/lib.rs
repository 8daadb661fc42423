//! The domain: Istio's nouns, who refers to whom, what a component is asked, and the table of decisions.
//!
//! Pure and synchronous: no I/O, no clock, no wire types, no knowledge of WASM, eBPF, xDS or Kubernetes clients.
//! Data flows one way: [`store`] → [`projection`] → [`batch`] → (a [`Resolver`]) → [`decision`] → [`table`] → [`sink`].

#![warn(missing_docs)]

pub mod name;
pub mod object;

pub mod addresses;

pub mod sorted;

pub mod selector;

pub mod endpoint_slice;
pub mod gateway;
pub mod namespace;
pub mod node;
pub mod peer_authentication;
pub mod policy;
pub mod service;
pub mod service_entry;
pub mod workload;
pub mod workload_entry;

pub mod mesh;

pub mod hosts;

pub mod store;

pub mod config_store;

pub mod overlay;

pub mod description;

pub mod input;

pub mod projection;

pub mod batch;

pub mod decision;

pub mod floor;

pub mod explain;

pub mod whatif;

pub mod traffic;

pub mod table;

pub mod difference;

pub mod waypoint_view;

pub mod referrers;

pub mod bypass;

mod answers;
pub mod decider;

pub mod learned;

pub mod sink;

pub mod lint;

pub mod conditions;
pub mod use_waypoint;

pub mod pseudonym;

pub use addresses::Addresses;
pub use decider::{Decider, ResolveFailure, Resolver};
pub use decision::Decision;
pub use description::Description;
pub use endpoint_slice::EndpointSlice;
pub use gateway::{Gateway, GatewayClass};
pub use mesh::{IstioVersion, Mesh};
pub use name::{Labels, Name};
pub use namespace::Namespace;
pub use node::Node;
pub use object::{Kind, Meta, Object, ObjectKey};
pub use peer_authentication::PeerAuthentication;
pub use policy::AuthorizationPolicy;
pub use service::Service;
pub use service_entry::ServiceEntry;
pub use store::{Event, Facts, Store};
pub use table::{Row, RowKey, Table};
pub use workload::Pod;
pub use workload_entry::WorkloadEntry;
