//! Fuzz target: any bytes as the history of a stream. What is held against it is in `session_body.rs`.
#![no_main]

mod session_body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| session_body::session(data));
