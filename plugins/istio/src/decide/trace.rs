//! Where the steps of a selection go: nowhere when it is resolved, into a list when it is explained. One code path for
//! both, so that an explanation cannot tell another story than the decision.

use wayswitch_sdk::Finding;

pub(super) trait Trace {
    /// Takes one step down; `finding` is only called where somebody reads it.
    fn note(&mut self, finding: impl FnOnce() -> Finding);
}

/// Nobody reads: everything about notes compiles to nothing.
pub(super) struct Silent;

impl Trace for Silent {
    #[inline]
    fn note(&mut self, _: impl FnOnce() -> Finding) {}
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
}

impl Findings {
    /// Says afterwards that the step by this rule was the one that settled it.
    pub(super) fn settled_by(&mut self, rule: &str) {
        for finding in self.list.iter_mut().filter(|finding| finding.rule == rule) {
            finding.decisive = true;
        }
    }
}

impl Trace for Findings {
    fn note(&mut self, finding: impl FnOnce() -> Finding) {
        self.list.push(finding());
    }
}
