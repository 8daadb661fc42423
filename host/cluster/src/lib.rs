//! The Kubernetes API: objects as a source of events, a ConfigMap as the switch, and what is written back to the cluster.
//!
//! Owns kube-rs. Decides nothing: objects become those of the model, and what is written back was decided by others. All of
//! it is asynchronous and bounded; the caller brings the runtime.

#![warn(missing_docs)]

pub mod config_map;
pub mod connect;
pub mod daemon_set;
pub mod error;
pub mod list;
pub mod namespaced_name;
pub mod node;
pub mod node_rules;
pub mod source;
pub mod token_review;
pub mod waypoint;

pub mod boot;
pub mod leader;

pub mod feed;
pub mod labels;
pub mod write_back;

mod conditions;
mod held;
mod kinds;
mod raw;
mod ready;
