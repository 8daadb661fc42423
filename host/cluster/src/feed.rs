//! The newest decisions on their way to who writes them back: the last snapshot of the mesh, and what it may concern. What is
//! between two looks is merged, so that nobody waits for anybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::conditions::concerned;
use model::sink::{Decided, Step};
use model::{Kind, ObjectKey, Store, Table};
use tokio::sync::watch;

/// Objects that are named one by one; beyond it everything is looked at.
const NAMED_MAX: usize = 20_000;

/// A snapshot of the mesh with its decisions.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// The objects.
    pub store: Store,
    /// What was decided about them.
    pub table: Table,
    /// The decisions are the same on every node.
    pub is_for_all: bool,
}

impl Decisions {
    pub(crate) fn decided(&self) -> Decided<'_> {
        Decided { store: &self.store, table: &self.table }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Feed {
    news: Arc<watch::Sender<News>>,
    kinds: Arc<[Kind]>,
}

#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) decisions: Option<Arc<Decisions>>,
    pub(crate) concerned: Concerned,
}

/// What is to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Concerned {
    These(BTreeSet<ObjectKey>),
    Everything,
}

impl Default for Concerned {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Feed {
    /// A feed for who is interested in these kinds.
    pub fn new(kinds: &[Kind]) -> Self {
        Self { news: Arc::new(watch::Sender::new(News::default())), kinds: kinds.into() }
    }

    /// Other rules: everything may be decided differently.
    pub fn replace(&self, decisions: Decisions) {
        self.news.send_replace(News { decisions: Some(Arc::new(decisions)), concerned: Concerned::Everything });
    }

    /// A step of the mesh under the same rules.
    pub fn step(&self, decisions: Decisions, step: &Step) {
        let concerned = concerned(decisions.decided(), step, &self.kinds);
        self.news.send_modify(|news| {
            news.decisions = Some(Arc::new(decisions));
            match (&mut news.concerned, concerned) {
                (Concerned::These(named), Some(more)) if named.len() + more.len() <= NAMED_MAX => named.extend(more),
                (concerned, _) => *concerned = Concerned::Everything,
            }
        });
    }

    /// The kinds that it is about.
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// What came since the last time.
    pub(crate) fn take(&self) -> News {
        let mut taken = News::default();
        self.news.send_if_modified(|news| {
            taken = News { decisions: news.decisions.clone(), concerned: std::mem::take(&mut news.concerned) };
            false
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use model::Facts;

    use super::*;

    fn decisions() -> Decisions {
        Decisions { store: Store::new(Facts::default()), table: Table::default(), is_for_all: true }
    }

    #[test]
    fn what_is_between_two_looks_is_merged() {
        let feed = Feed::new(&[Kind::Service]);
        let step = |name: &str| {
            let objects = vec![ObjectKey::new(Kind::Service, "shop", name), ObjectKey::new(Kind::Pod, "shop", name)];
            feed.step(decisions(), &Step { objects, ..Step::default() });
        };
        step("a");
        step("b");
        let names = |news: News| match news.concerned {
            Concerned::These(keys) => keys.iter().map(|it| it.name.to_string()).collect::<Vec<_>>(),
            Concerned::Everything => vec!["*".to_owned()],
        };
        assert_eq!(names(feed.take()), ["a", "b"]);
        let again = feed.take();
        assert!(again.decisions.is_some() && names(again).is_empty());
        feed.replace(decisions());
        step("c");
        assert_eq!(names(feed.take()), ["*"], "everything stays everything");
    }
}
