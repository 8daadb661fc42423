//! Finding things in a batch without indexing: labels, annotations, namespaces, candidates. It never interprets a value.

use crate::text::same;
use crate::{Batch, Failure, Gateway, GatewayClass, Namespace, Node, Pair, Subject};

/// Up to this many candidates are looked through one by one; beyond it their order is used.
const SCAN_MAX: usize = 8;

/// One subject of a batch with its namespace.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub index: u32,
    pub subject: &'a Subject,
    pub namespace: &'a Namespace,
}

/// The value under `key`. A handful of keys is declared, so going through them is cheaper than halving.
#[must_use]
#[inline]
pub fn value<'a>(pairs: &'a [Pair], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| same(&pair.key, key)).map(|pair| pair.value.as_str())
}

impl Subject {
    /// A label's value. `None` too where the labels are unknown: ask `labels` which of the two it is.
    #[must_use]
    #[inline]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_deref().and_then(|pairs| value(pairs, key))
    }

    /// An annotation's value. `None` too where the annotations are unknown.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_deref().and_then(|pairs| value(pairs, key))
    }
}

impl Namespace {
    #[must_use]
    #[inline]
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }
}

impl Gateway {
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }
}

impl GatewayClass {
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }

    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        value(&self.annotations, key)
    }
}

impl Node {
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        value(&self.labels, key)
    }
}

impl Batch {
    /// Every subject with its namespace, in order.
    ///
    /// # Errors
    /// Each item: an index of the batch that names no namespace, which a host never sends.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, Failure>> {
        self.subjects.iter().zip(0..).map(|(subject, index)| {
            let namespace = usize::try_from(subject.namespace).ok().and_then(|at| self.namespaces.get(at));
            let namespace = namespace.ok_or_else(|| Failure::at(index, "its namespace is not in the batch"))?;
            Ok(Row { index, subject, namespace })
        })
    }

    /// The only row of a batch that is to be explained.
    ///
    /// # Errors
    /// When there is not exactly one subject, or its namespace is missing.
    pub fn only_row(&self) -> Result<Row<'_>, Failure> {
        match self.subjects.len() {
            1 => self.rows().next().unwrap_or_else(|| Err(Failure::new("the batch holds no subject"))),
            other => Err(Failure::new(format!("explain is asked about one subject, not {other}"))),
        }
    }

    #[must_use]
    #[inline]
    pub fn gateway(&self, index: u32) -> Option<&Gateway> {
        usize::try_from(index).ok().and_then(|at| self.gateways.get(at))
    }

    /// The Gateways the subject may be given, with their indexes, by (namespace, name).
    pub fn candidates<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = (u32, &'a Gateway)> {
        subject.candidates.iter().filter_map(|&index| self.gateway(index).map(|gateway| (index, gateway)))
    }

    /// The candidate of that namespace and name; none where there is no such Gateway, or it is no candidate.
    #[must_use]
    pub fn candidate(&self, subject: &Subject, namespace: &str, name: &str) -> Option<(u32, &Gateway)> {
        if subject.candidates.len() <= SCAN_MAX {
            let is_it = |gateway: &Gateway| same(&gateway.name, name) && same(&gateway.namespace, namespace);
            let each = subject.candidates.iter();
            return each.filter_map(|&index| Some((index, self.gateway(index)?))).find(|(_, gateway)| is_it(gateway));
        }
        let wanted = (namespace, name);
        let found = subject.candidates.binary_search_by(|&index| {
            self.gateway(index).map(|it| (it.namespace.as_str(), it.name.as_str())).cmp(&Some(wanted))
        });
        let index = subject.candidates.get(found.ok()?).copied()?;
        self.gateway(index).map(|gateway| (index, gateway))
    }
}

#[cfg(all(test, feature = "test"))]
mod tests {
    use crate::test::{gateway, mesh, service};
    use crate::{Batch, SubjectKind};

    fn batch_of(gateways: usize) -> Batch {
        let mesh = (0..gateways).fold(mesh().namespace("ns", &[]), |mesh, at| {
            mesh.gateway(gateway("ns", &format!("g{at:03}"))).gateway(gateway("other", &format!("g{at:03}")))
        });
        mesh.subject(service("ns")).batch()
    }

    #[test]
    fn a_candidate_is_found_among_few_and_among_many() {
        for gateways in [0, 1, 4, 5, 40] {
            let batch = batch_of(gateways);
            let row = batch.only_row().unwrap();
            for at in 0..gateways {
                let name = format!("g{at:03}");
                let (index, found) = batch.candidate(row.subject, "other", &name).unwrap();
                assert_eq!((found.namespace.as_str(), &found.name), ("other", &name));
                assert_eq!(batch.gateway(index), Some(found));
            }
            assert_eq!(batch.candidate(row.subject, "ns", "absent"), None);
            assert_eq!(batch.candidate(row.subject, "absent", "g000"), None);
        }
    }

    #[test]
    fn a_gateway_that_is_no_candidate_is_not_found() {
        let mut batch = batch_of(3);
        batch.subjects[0].candidates.clear();
        let row = batch.only_row().unwrap();
        assert_eq!(batch.candidate(row.subject, "ns", "g001"), None);
    }

    #[test]
    fn a_row_without_its_namespace_names_itself() {
        let mut batch = mesh().namespace("ns", &[]).subject(service("ns")).subject(service("ns")).batch();
        batch.subjects[1].namespace = 7;
        let rows: Vec<_> = batch.rows().collect();
        assert_eq!(rows[0].as_ref().unwrap().subject.kind, SubjectKind::Service);
        assert_eq!(rows[1].as_ref().unwrap_err().subject, Some(1));
        assert_eq!(batch.only_row().unwrap_err().text, "explain is asked about one subject, not 2");
    }
}
