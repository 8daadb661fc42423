//! Istio's rules, and then the nearest: among the waypoints that are programmed for a subject, the one with ready endpoints
//! in the node's zone, else in its region, else the first. This file only exports what [`decide`] does.
//!
//! Each node decides for its own clients. How a waypoint becomes programmed for a subject without having any of its traffic by
//! default: as a canary of weight 0 (R64).

pub mod decide;

use wayswitch_sdk::{Batch, Decision, Description, Explanation, Failure, Resolver};

/// The nearest waypoint behind the interface.
#[derive(Debug, Clone, Copy)]
pub struct Locality;

impl Resolver for Locality {
    fn describe(settings: &str) -> Result<Description, String> {
        decide::describe(settings)
    }

    fn resolve(batch: &Batch) -> Result<Vec<Decision>, Failure> {
        decide::resolve(batch)
    }

    fn explain(batch: &Batch) -> Result<Explanation, Failure> {
        decide::explain(batch)
    }
}

wayswitch_sdk::export!(Locality);
