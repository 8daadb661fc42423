//! Texts and labels that many objects share, kept once: 200,000 Pods have some thousand different sets of labels.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use model::workload::PodTemplate;
use model::{Labels, Name};

/// What was seen, by content. Only what is likely to come again belongs here: an entry costs 20 to 40 bytes.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    names: RefCell<HashSet<Name>>,
    labels: RefCell<HashSet<Labels>>,
    templates: RefCell<HashSet<Arc<PodTemplate>>>,
}

impl Pool {
    /// `text`, shared with everybody who asked for the same.
    pub(crate) fn name(&self, text: &str) -> Name {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.get(text) {
            return Name::clone(name);
        }
        let name = Name::from(text);
        names.insert(Name::clone(&name));
        name
    }

    /// Labels of these pairs, shared like [`Pool::name`].
    pub(crate) fn labels(&self, pairs: impl IntoIterator<Item = (Name, Name)>) -> Labels {
        let labels: Labels = pairs.into_iter().collect();
        let mut known = self.labels.borrow_mut();
        if let Some(same) = known.get(&labels) {
            return same.clone();
        }
        known.insert(labels.clone());
        labels
    }

    /// The template, shared like [`Pool::name`].
    pub(crate) fn template(&self, template: PodTemplate) -> Arc<PodTemplate> {
        let mut known = self.templates.borrow_mut();
        if let Some(same) = known.get(&template) {
            return Arc::clone(same);
        }
        let template = Arc::new(template);
        known.insert(Arc::clone(&template));
        template
    }

    /// Forgets what at most one object has, so that what is kept here follows what is kept elsewhere.
    pub(crate) fn sweep(&mut self) {
        // Here and once more.
        let labels = self.labels.get_mut();
        labels.retain(|it| it.holders() > 2);
        labels.shrink_to_fit();
        // Before the names that they hold.
        let templates = self.templates.get_mut();
        templates.retain(|it| Arc::strong_count(it) > 2);
        templates.shrink_to_fit();
        let names = self.names.get_mut();
        names.retain(|name| Arc::strong_count(name) > 2);
        names.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_kept_once() {
        let pool = Pool::default();
        let labels = |value: &str| pool.labels([(pool.name("app"), pool.name(value))]);
        let (a, b, other) = (labels("cart"), labels("cart"), labels("till"));
        let value = |labels: &Labels| labels.get("app").unwrap().clone();
        assert!(
            Arc::ptr_eq(&value(&a), &value(&b)) && std::ptr::eq(a.iter().next().unwrap(), b.iter().next().unwrap())
        );
        assert_eq!((a == b, a == other, &*value(&other)), (true, false, "till"));
        assert!(Arc::ptr_eq(&pool.name("app"), &pool.name("app")));
    }

    #[test]
    fn what_is_not_shared_is_forgotten() {
        let mut pool = Pool::default();
        let many: Vec<_> = (0..100).map(|i| pool.labels([(pool.name("app"), pool.name(&i.to_string()))])).collect();
        let twice = (many[0].clone(), pool.name("shared"), pool.name("shared"));
        pool.sweep();
        let names: Vec<_> = pool.names.borrow().iter().map(|name| name.to_string()).collect();
        assert_eq!(pool.labels.borrow().iter().collect::<Vec<_>>(), [&twice.0]);
        assert!(
            names.len() == 2 && names.contains(&"app".to_owned()) && names.contains(&"shared".to_owned()),
            "{names:?}"
        );
        drop((many, twice));
        pool.sweep();
        pool.sweep();
        assert!(pool.labels.borrow().is_empty() && pool.names.borrow().is_empty());
    }
}
