//! Compiles the `.proto` files to messages. No `protoc` is needed: protox reads them, prost-build writes the code.

use std::io::Result;

const FILES: [&str; 3] = ["proto/discovery.proto", "proto/workload.proto", "proto/authorization.proto"];

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"]).map_err(std::io::Error::other)?;
    prost_build::Config::new()
        // Bodies and addresses are shared with what they were read from, not copied.
        .bytes(["."])
        // The same order every time: the version of a resource is the hash of its bytes.
        .btree_map(["."])
        .skip_protoc_run()
        .compile_fds(files)
}
