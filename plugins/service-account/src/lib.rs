//! The rules of Istio before 1.22 as a component: a workload uses the waypoint of its service account, else the one of its
//! namespace. This file only exports what [`decide`] does.

pub mod decide;

use wayswitch_sdk::{Batch, Decision, Description, Explanation, Failure, Resolver};

/// Waypoints by service account behind the interface.
#[derive(Debug, Clone, Copy)]
pub struct ServiceAccount;

impl Resolver for ServiceAccount {
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

wayswitch_sdk::export!(ServiceAccount);
