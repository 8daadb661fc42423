//! The real ztunnel, unmodified, in network namespaces: captured pods, waypoints' stand-ins, connections. `cargo xtask e2e ztunnel`
//! runs these tests with the program that `WAYSWITCH_ZTUNNEL` names; without it they are ignored, and only the judges are
//! tested. Built with its feature `testing`, it makes its certificates itself; no control plane and no cluster is needed.

#[path = "e2e_ztunnel/agent_mesh.rs"]
mod agent_mesh;

#[path = "e2e_ztunnel/client.rs"]
mod client;

#[path = "e2e_ztunnel/line.rs"]
mod line;

#[path = "e2e_ztunnel/listener.rs"]
mod listener;

#[path = "e2e_ztunnel/mesh.rs"]
mod mesh;

#[path = "e2e_ztunnel/network.rs"]
mod network;

#[path = "e2e_ztunnel/proxy_header.rs"]
mod proxy_header;

#[path = "e2e_ztunnel/redirection.rs"]
mod redirection;

#[path = "e2e_ztunnel/server.rs"]
mod server;

#[path = "e2e_ztunnel/stage.rs"]
mod stage;

#[path = "e2e_ztunnel/static_mesh.rs"]
mod static_mesh;

#[path = "e2e_ztunnel/swap.rs"]
mod swap;

#[path = "e2e_ztunnel/told.rs"]
mod told;

#[path = "e2e_ztunnel/upgrade.rs"]
mod upgrade;

#[path = "e2e_ztunnel/upstream.rs"]
mod upstream;

#[path = "e2e_ztunnel/verdict.rs"]
mod verdict;

#[path = "e2e_ztunnel/waypoint.rs"]
mod waypoint;

#[path = "e2e_ztunnel/zds.rs"]
mod zds;

#[path = "e2e_ztunnel/ztunnel.rs"]
mod ztunnel;
