//! What somebody could change so that the decision changes. Each edit is tried on the batch before it is offered, by the
//! code that decides; none is a guess at a name that is not there. How an edit is written is said in the interface.

mod proposals;
mod trial;

use wayswitch_sdk::{Choice, Decision, Edit};

use super::outcome::Outcome;
use super::selection::Selection;
use proposals::{Aim, Proposals};

/// Ranks of edits: what binds the subject comes first.
const BINDS: u8 = 0;
const STEP_TOWARDS: u8 = 1;
const RELEASES: u8 = 2;
/// Gives the waypoint up, and nothing passes all the same; or blocks what passed.
const IN_VAIN: u8 = 3;

/// Those that change the decision `now`, the most likely wanted first. One that helps nobody is only there where no other is.
pub(super) fn edits(outcome: &Outcome<'_>, selection: &Selection<'_, '_>, now: &Decision) -> Vec<Edit> {
    let mut ranked = Vec::new();
    for (aim, edit) in Proposals::of(outcome, selection, now) {
        if let Some(then) = trial::decision(&edit, selection).filter(|then| then != now) {
            ranked.push((rank(aim, now, &then), edit));
        }
    }
    let helps = |(rank, _): &(u8, Edit)| *rank < IN_VAIN;
    let ranks = if ranked.iter().any(helps) { BINDS..IN_VAIN } else { IN_VAIN..IN_VAIN + 1 };
    // There is a handful of them; a sort would be a good part of the component.
    let mut edits = Vec::new();
    for wanted in ranks {
        edits.extend(ranked.iter().filter(|(rank, _)| *rank == wanted).map(|(_, edit)| edit.clone()));
    }
    edits
}

fn rank(aim: Aim, now: &Decision, then: &Decision) -> u8 {
    let newly_blocked = then.choice == Choice::Blocked && now.choice != Choice::Blocked;
    match (aim, &then.choice) {
        (Aim::Waypoint, Choice::Waypoints(_)) => BINDS,
        (_, Choice::Blocked) if newly_blocked || aim == Aim::Release => IN_VAIN,
        (Aim::Waypoint, _) => STEP_TOWARDS,
        (Aim::Release, _) => RELEASES,
    }
}
