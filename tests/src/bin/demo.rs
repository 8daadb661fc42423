//! The program behind `cargo xtask demo`. Everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tests::demo::main(&std::env::args_os().skip(1).collect::<Vec<_>>())
}
