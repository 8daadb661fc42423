//! Is it row by row and repeatable? A sample is asked again: alone, in another order, cut in two, and once more as it was.
//!
//! A sample proves nothing, but the mistakes that matter (state between rows, answers or cost by position) show in it.

use model::batch::Batch;
use model::input::{Input, NodeInput, Shared};
use model::{Decision, Name, ResolveFailure};

use crate::component::Component;
use crate::refusal::{Refusal, Stage};

/// The order of the rows may change the fuel of a batch by one part in so many. A component with the SDK's allocator takes
/// the same to the unit; other allocators and garbage collectors depend on what came before.
const FUEL_PART: u64 = 8;

/// Refuses a component whose answers depend on anything but the row, or whose cost is not repeatable.
pub(crate) fn row_by_row(
    component: &Component,
    settings: &str,
    node: &NodeInput,
    network: &Name,
    sample: &[Shared<Input>],
) -> Result<(), Refusal> {
    let ask = |inputs: &[Shared<Input>]| -> Result<(Vec<Decision>, u64), Refusal> {
        let batch = Batch::new(settings, node, inputs);
        let refuse = |failure| Refusal::of_call(Stage::Check, failure);
        let (answers, fuel) = component.answers(&batch).map_err(refuse)?;
        let decisions = batch.accept(answers, network).map_err(|wrong| refuse(ResolveFailure::from(wrong)))?;
        Ok((decisions, fuel))
    };
    let refuse = |how: &str| Err(Refusal::new(Stage::Check, format!("not row by row: {how}")));
    let (whole, fuel) = ask(sample)?;
    let (again, fuel_again) = ask(sample)?;
    if whole != again {
        return refuse("the same batch gave different decisions the second time");
    }
    if fuel != fuel_again {
        return refuse(&format!("the same batch took {fuel} fuel and then {fuel_again}"));
    }
    let backwards: Vec<_> = sample.iter().rev().cloned().collect();
    let (mut reversed, fuel_reversed) = ask(&backwards)?;
    reversed.reverse();
    if whole != reversed {
        return refuse("decisions change with the order of the rows");
    }
    if fuel.abs_diff(fuel_reversed) > fuel / FUEL_PART {
        return refuse(&format!("the same rows took {fuel} fuel in one order and {fuel_reversed} in the other"));
    }
    let (left, right) = sample.split_at(sample.len() / 3);
    let recut: Vec<_> = ask(left)?.0.into_iter().chain(ask(right)?.0).collect();
    if whole != recut {
        return refuse("decisions change when the batch is cut elsewhere");
    }
    for (input, together) in sample.iter().zip(&whole) {
        let (alone, _) = ask(std::slice::from_ref(input))?;
        if alone.first() != Some(together) {
            return refuse("a row alone gets another decision than among others");
        }
    }
    Ok(())
}
