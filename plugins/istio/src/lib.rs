//! The default rules: Istio's waypoint selection as a component, from 1.22 to 1.31, with what an operator may want beyond
//! it. This file only exports what [`decide`] does.
//!
//! The settings, each with its default first:
//!
//! | Key | Words | |
//! |---|---|---|
//! | `istio` | `"1.31"` ... `"1.22"` | the release whose rules are followed; at `"1.22"` every Gateway is a candidate of every subject |
//! | `unbound` | `direct`, `blocked` | a subject that asked for a waypoint and was refused |
//! | `unreachable` | `fail`, `bypass` | a bound subject while none of its waypoints can be reached; `fail` where one is required |
//! | `required` | `honoured`, `ignored` | the label `wayswitch.io/waypoint-required` of an object or, hidden by that, its namespace: `service`, `workload`, `all` or `true`, `none` or `false`; any other value counts as `all` |
//! | `exclude-gateways` | `istio`, `all` | which Services that a controller generated for a Gateway never have a waypoint (R28, Q6) |
//! | `canary-visibility` | `istio`, `checked` | whether R30 holds for the second waypoint as well (Q10) |

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

#[cfg(feature = "component")]
wayswitch_sdk::export!(Istio);
