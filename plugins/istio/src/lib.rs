//! The default rules: Istio 1.31's waypoint selection as a component. This file only exports what [`decide`] does; the
//! canary (R60-R68) is not part of it yet.

pub mod decide;

use wayswitch_sdk::{Batch, Decision, Description, Explanation, Failure, Resolver};

/// Istio's rules behind the interface.
#[derive(Debug, Clone, Copy)]
pub struct Istio;

impl Resolver for Istio {
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

wayswitch_sdk::export!(Istio);
