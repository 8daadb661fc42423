//! One object as the API server sends it: its JSON in, an object of the model out. The kind is known to who asks, for the items
//! of a list do not name theirs.

use model::{Kind, Object, ObjectKey};
use serde::de::DeserializeSeed;

use crate::limits::Limits;
use crate::node::{Allowance, NodeSeed};
use crate::pool::Pool;
use crate::problem::{Fault, printable};
use crate::shapes::{Context, group_of, key_of_kind, shape_of};

/// How often the texts are looked through that nobody shares any more, in objects.
const SWEEP_EVERY: u32 = 100_000;

/// Reads objects one by one, and shares their texts. For one thread.
#[derive(Debug, Default)]
pub struct ObjectReader {
    limits: Limits,
    pool: Pool,
    since_sweep: u32,
}

/// An object that cannot be read.
#[derive(Debug)]
pub struct UnreadObject {
    /// Which one, where that much could be made out. What was known of it before stays.
    pub key: Option<ObjectKey>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl std::fmt::Display for UnreadObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}", self.fault)
    }
}

impl ObjectReader {
    /// A reader under these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, pool: Pool::default(), since_sweep: 0 }
    }

    /// Reads an object of this kind; `apiVersion` and `kind` in it are nobody's business.
    ///
    /// # Errors
    /// It is no JSON, too large, or a field that matters is missing or of the wrong type.
    pub fn read(&mut self, kind: Kind, json: &str) -> Result<Object, UnreadObject> {
        self.since_sweep += 1;
        if self.since_sweep > SWEEP_EVERY {
            self.since_sweep = 0;
            self.pool.sweep();
        }
        let unread = |fault| UnreadObject { key: None, fault };
        let bytes_max = self.limits.object_text_bytes_max;
        if json.len() > bytes_max {
            return Err(unread(Fault::ObjectTextTooLarge { bytes: json.len(), bytes_max }));
        }
        let allowance = Allowance::new(&self.limits, "");
        let mut text = serde_json::Deserializer::from_str(json);
        let node = NodeSeed::object(&allowance, (0, 0)).deserialize(&mut text).map_err(|error| {
            unread(Fault::Syntax { format: "JSON", message: printable(&error.to_string()), items_read: None })
        })?;
        let with = Context { limits: &self.limits, pool: &self.pool };
        let of_it = |fault| UnreadObject { key: key_of_kind(&node, kind, &with), fault };
        if let Some(excess) = allowance.excess(&self.limits) {
            return Err(of_it(excess));
        }
        shape_of(&node, kind, &with).map_err(|misfit| of_it(misfit.fault))
    }
}

/// The API group of a kind, empty for the core.
pub fn api_group(kind: Kind) -> &'static str {
    group_of(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_a_list_names_no_kind_and_is_read_all_the_same() {
        let mut reader = ObjectReader::default();
        let json = r#"{"metadata":{"name":"cart","namespace":"shop","labels":{"app":"cart"}},"spec":{"clusterIP":"10.0.0.1"}}"#;
        let Ok(Object::Service(service)) = reader.read(Kind::Service, json) else { panic!("no Service") };
        assert_eq!((&*service.meta.namespace, &*service.meta.name, service.addresses.len()), ("shop", "cart", 1));
    }

    #[test]
    fn what_cannot_be_read_is_named_where_it_has_a_name() {
        let mut reader = ObjectReader::default();
        let unread = |reader: &mut ObjectReader, json| reader.read(Kind::Pod, json).unwrap_err();
        let labels = r#"{"metadata":{"name":"a","namespace":"n","labels":{"on":true}}}"#;
        assert_eq!(unread(&mut reader, labels).key, Some(ObjectKey::new(Kind::Pod, "n", "a")));
        let nameless = unread(&mut reader, r#"{"metadata":{"namespace":"n"}}"#);
        assert!(nameless.key.is_none() && nameless.to_string().contains("metadata.name"), "{nameless}");
        assert!(unread(&mut reader, "<html>").to_string().contains("JSON"));
        let mut small = ObjectReader::new(Limits { object_text_bytes_max: 4, ..Limits::default() });
        assert!(matches!(unread(&mut small, "{    }").fault, Fault::ObjectTextTooLarge { bytes: 6, .. }));
    }
}
