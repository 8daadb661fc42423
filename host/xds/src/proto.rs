//! The messages, compiled from `proto/` by build.rs. Their documentation is there.

#![allow(clippy::doc_markdown, reason = "the text comes from the .proto files")]
#![allow(clippy::large_enum_variant, reason = "an Address is one or the other, and short-lived")]
#![allow(missing_docs, reason = "what the .proto files leave out the protocol says")]

/// Envoy's incremental discovery.
pub mod discovery {
    include!(concat!(env!("OUT_DIR"), "/envoy.service.discovery.v3.rs"));
}

/// Workloads and services.
pub mod workload {
    include!(concat!(env!("OUT_DIR"), "/istio.workload.rs"));
}

/// Policies.
pub mod authorization {
    include!(concat!(env!("OUT_DIR"), "/istio.security.rs"));
}
