//! The real program `wayswitch` from outside: started, configured through files, asked at its admin socket, signalled.
//! One story per test. What a connection meets in the kernel is in `netns_redirect` and in the demo.

#![expect(
    clippy::indexing_slicing,
    reason = "a field that is missing in an answer is null, and no assertion expects that"
)]

#[path = "e2e_agent/node.rs"]
mod node;

#[path = "e2e_agent/rules.rs"]
mod rules;

#[path = "e2e_agent/refusals.rs"]
mod refusals;

#[path = "e2e_agent/objects.rs"]
mod objects;

#[path = "e2e_agent/endings.rs"]
mod endings;

#[path = "e2e_agent/commands.rs"]
mod commands;

#[path = "e2e_agent/capture.rs"]
mod capture;

#[path = "e2e_agent/ztunnels.rs"]
mod ztunnels;

#[path = "e2e_agent/upstream.rs"]
mod upstream;

#[path = "e2e_agent/demo.rs"]
mod demo;
