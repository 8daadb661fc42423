//! The node agent: joins files, model, engine and sinks, and serves what operators ask.
//!
//! This crate only wires; nothing is decided here. `run` is the only module that knows all parts.

pub mod cli;
pub mod config;

mod rules;
mod sources;
mod watch;

mod conductor;
mod learned;
mod loader;
mod manifests;
mod metrics;
mod published;

mod capture;

mod admin;
mod follower;
mod kubernetes;
mod run;
mod serving;
mod status;
mod token_review;
mod upstream;
mod ztunnels;

mod commands;
pub mod explanation;
pub mod output;

pub use published::{Published, Refused, SwapReport, TableSink};
