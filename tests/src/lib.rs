//! Support of the tests: hostile components, generated meshes, native resolvers. Nothing of it ships.

pub mod candidate;
pub mod config_store;
pub mod conformance;
pub mod control_plane;
pub mod demo;
pub mod edited;
pub mod golden;
pub mod guests;
pub mod hub;
pub mod mesh;
pub mod native;
pub mod packed;
pub mod ztunnel;
