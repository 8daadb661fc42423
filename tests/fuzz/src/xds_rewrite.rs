//! Fuzz target: any bytes as an Address whose waypoints are replaced. What is held against it is in `rewrite_body.rs`.
#![no_main]

mod rewrite_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rewrite_body::rewrite(data));
