//! Where the steps of a selection go: nowhere when it is resolved, into a list when it is explained. One code path for
//! both, so that an explanation cannot tell another story than the decision.
//!
//! A value and not a type parameter: the host compiles every copy of the selection at each swap, and a second copy costs
//! it more than the rows pay for asking whether somebody reads.

use wayswitch_sdk::Finding;

#[derive(Debug)]
pub(super) struct Trace {
    /// None: nobody reads.
    list: Option<Vec<Finding>>,
}

impl Trace {
    pub(super) fn silent() -> Self {
        Self { list: None }
    }

    pub(super) fn written() -> Self {
        Self { list: Some(Vec::new()) }
    }

    /// Takes one step down; `finding` is only called where somebody reads it.
    #[inline]
    pub(super) fn note(&mut self, finding: impl FnOnce() -> Finding) {
        if let Some(list) = &mut self.list {
            push(list, finding());
        }
    }

    /// Says afterwards that the step by this rule was the one that settled it.
    pub(super) fn settled_by(&mut self, rule: &str) {
        self.each_from(0, |finding| finding.decisive |= finding.rule == rule);
    }

    /// How many steps were taken down.
    pub(super) fn len(&self) -> usize {
        self.list.as_ref().map_or(0, Vec::len)
    }

    /// Says afterwards that none of the steps from this one on settled it.
    pub(super) fn leave_open_from(&mut self, step: usize) {
        self.each_from(step, |finding| finding.decisive = false);
    }

    fn each_from(&mut self, step: usize, change: impl FnMut(&mut Finding)) {
        let list = self.list.as_mut().and_then(|list| list.get_mut(step..));
        list.unwrap_or_default().iter_mut().for_each(change);
    }

    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list.unwrap_or_default()
    }
}

/// Out of the way of the rows.
#[cold]
#[inline(never)]
fn push(list: &mut Vec<Finding>, finding: Finding) {
    list.push(finding);
}
