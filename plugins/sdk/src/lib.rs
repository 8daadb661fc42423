//! The plugin author's crate: one path to every type of `wayswitch:waypoint`, a trait to implement, a line that exports it,
//! and small pure look-ups. It holds no rule: which waypoint is chosen is the plugin's alone, and what is true of the mesh
//! is the host's.
//!
//! The same crate compiles for the host's own target, so that a plugin's code runs under plain `cargo test`; only [`export!`]
//! does nothing there.

#[doc(hidden)]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/, where the words are")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "waypoint-resolver",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "::wayswitch_sdk::bindings",
        additional_derives: [PartialEq, Clone],
    });
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod arena;
mod decision;
mod lookup;
mod resolver;
pub mod settings;
#[cfg(feature = "test")]
pub mod test;
pub mod text;

pub use bindings::exports::wayswitch::waypoint::resolver::{Description, Fields, Reach, Read, Reference, Source};
pub use bindings::wayswitch::waypoint::types::*;
pub use lookup::{Row, value as lookup_value};
pub use resolver::Resolver;

/// The number of the port on which every waypoint takes HBONE (R8). The host adds it; a plugin never names a port.
pub const HBONE_PORT: u32 = 15008;
