//! Fuzz target: any text as manifests. What is held against it is in `bodies.rs`.
#![no_main]

mod bodies;
#[expect(dead_code, reason = "support code of the tests, shared as a file: this target needs none of it")]
#[path = "../../src/native.rs"]
mod native;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::manifest(data));
