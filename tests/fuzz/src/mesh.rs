//! Fuzz target: any text as the history of a mesh, from objects to decisions. What is held against it is in `bodies.rs`.
#![no_main]

mod bodies;
#[path = "../../src/native.rs"]
mod native;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::mesh(data));
