//! Workload xDS: a delta ADS server towards ztunnel, a client towards istiod, and what both say.
//!
//! Data flows one way: objects and decisions ([`mesh`]), or what istiod said and decisions ([`rewrite`]), become
//! [`resource::Snapshot`]s of encoded resources; a [`session`] says what one client still needs of the newest; the
//! server is the thin edge around it. It knows neither WASM nor eBPF nor files of manifests.

#![warn(missing_docs)]

pub mod clients;
pub mod codec;
pub mod fallback;
pub mod proto;
pub mod resource;

pub mod client;
pub mod learned;
pub mod mesh;
pub mod persist;
pub mod rewrite;
pub mod server;
pub mod session;
pub mod sink;
pub mod waypoint;
pub mod wire;

pub mod auth;
mod files;
mod reload;
mod responses;
pub mod tls;
