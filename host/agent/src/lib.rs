//! The node agent: joins files, model, engine and sinks, and serves what operators ask.
//!
//! This crate only wires; nothing is decided here. `run` is the only module that knows all parts.

pub mod cli;
pub mod config;

mod rules_folder;
mod watch;

mod conductor;
mod loader;
mod published;

mod capture;

mod admin;
mod follower;
mod run;
mod serving;
mod upstream;
mod ztunnels;

mod commands;
pub mod explanation;
pub mod output;

pub use published::{Published, Refused, SwapReport, TableSink};
