//! What the cluster told on disk, for a start while the API server is away: objects, as a capture without decisions, and the
//! ConfigMaps that are followed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use cluster::namespaced_name::NamespacedName;
use model::store::Event;
use model::{Store, Table};
use sha2::{Digest, Sha256};

use crate::capture::{self, Found, Header, Reader};
use crate::sources::Sources;

/// What is in a ConfigMap.
type Keys = BTreeMap<String, Vec<u8>>;

/// Bytes of the digest that stands before a saved ConfigMap.
const DIGEST: usize = 32;

/// The file in the folder.
const FILE: &str = "objects.capture";

/// How often what changed is written. A mesh of 200,000 Pods takes a second of one core.
const EVERY: Duration = Duration::from_secs(600);

/// What was saved last; none where there is nothing that can be used. A damaged file is set aside, and said so.
pub(super) fn load(folder: &Path) -> Option<Vec<Event>> {
    let path = folder.join(FILE);
    if !path.exists() {
        return None;
    }
    let mut events = Vec::new();
    let read = Reader::open(&path).and_then(|reader| {
        reader.read(&mut |found| {
            if let Found::Object { object, .. } = found {
                events.push(Event::Apply(object));
            }
            Ok(())
        })
    });
    match read {
        Ok(_) => Some(events),
        Err(why) => {
            let aside = path.with_extension("damaged");
            let moved =
                std::fs::rename(&path, &aside).map_or_else(|error| error.to_string(), |()| "set aside".to_owned());
            tracing::error!(path = %path.display(), moved, "the saved objects cannot be used: {why:#}");
            None
        }
    }
}

/// The ConfigMap as it was last; none where it was not, or cannot be used.
pub(super) fn load_map(folder: &Path, map: &NamespacedName) -> Option<Keys> {
    let path = folder.join(map_file(map));
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(path = %path.display(), "the saved ConfigMap cannot be read: {error}");
            return None;
        }
    };
    let keys = text.split_first_chunk::<DIGEST>().filter(|(digest, rest)| Sha256::digest(rest)[..] == digest[..]);
    let keys = keys.and_then(|(_, rest)| serde_json::from_slice(rest).ok());
    if keys.is_none() {
        tracing::error!(path = %path.display(), "the saved ConfigMap is damaged, and not used");
    }
    keys
}

/// Saves what is in a ConfigMap.
pub(super) fn save_map(folder: &Path, map: &NamespacedName, keys: &Keys) -> anyhow::Result<()> {
    let rest = serde_json::to_vec(keys)?;
    let digest = Sha256::digest(&rest);
    replace(folder, &map_file(map), |out| out.write_all(&digest).and_then(|()| out.write_all(&rest)))
}

fn map_file(map: &NamespacedName) -> String {
    // Neither may have a dot at its start, nor a slash, and a namespace has no dot at all.
    format!("{}.{}.configmap", map.namespace, map.name)
}

/// Saves the objects now and then, and once more at the end, which is when `end` is dropped.
pub(crate) fn keep(folder: &Path, store: &ArcSwap<Store>, sources: &Sources, end: &Receiver<()>) {
    let mut saved = None;
    loop {
        let ended = !matches!(end.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout));
        let now = store.load_full();
        // Half a mesh is worse than an old one.
        if sources.are_whole() && saved != Some(now.revision()) {
            match save(folder, &now) {
                Ok(()) => saved = Some(now.revision()),
                Err(error) => tracing::warn!("the objects cannot be saved: {error:#}"),
            }
        }
        if ended {
            return;
        }
    }
}

fn save(folder: &Path, store: &Store) -> anyhow::Result<()> {
    let table = Table::new(0, store.revision());
    let header = Header::of(store, &table, None);
    replace(folder, FILE, |out| capture::write(out, &header, store, &table, []).map(drop))
}

/// Written beside, then put in its place: whoever reads it finds a whole one.
pub(crate) fn replace(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let (path, beside) = (folder.join(name), folder.join(format!(".{name}.new")));
    let at = || beside.display().to_string();
    let mut out = BufWriter::with_capacity(1 << 16, private(&beside).with_context(at)?);
    write(&mut out).with_context(at)?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(at)?.sync_all().with_context(at)?;
    std::fs::rename(&beside, &path).with_context(|| path.display().to_string())?;
    Ok(())
}

fn private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use model::store::Facts;
    use model::{Kind, Meta, Namespace, Object, ObjectKey};

    use super::*;

    fn store() -> Arc<Store> {
        let mut store = Store::new(Facts::default());
        store.apply(Event::Apply(Object::Namespace(Namespace { meta: Meta::named("", "shop") })));
        Arc::new(store)
    }

    #[test]
    fn what_was_saved_at_the_end_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (end, ended) = channel();
        drop(end);
        let sources = Sources::default();
        let unread = sources.source();
        keep(folder.path(), &ArcSwap::from(store()), &sources, &ended);
        assert!(load(folder.path()).is_none(), "a mesh of which a part is missing is not saved");
        unread.done();
        keep(folder.path(), &ArcSwap::from(store()), &sources, &ended);
        let keys: Vec<_> = load(folder.path()).unwrap().iter().map(Event::key).collect();
        assert_eq!(keys, [ObjectKey::new(Kind::Namespace, "", "shop")]);
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &store()).unwrap();
        let path = folder.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 10);
        std::fs::write(&path, text).unwrap();
        assert!(load(folder.path()).is_none());
        assert!(!path.exists() && path.with_extension("damaged").exists());
    }

    #[test]
    fn a_config_map_is_kept_as_it_was_or_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let map: NamespacedName = "system/rules".parse().unwrap();
        assert!(load_map(folder.path(), &map).is_none());
        let keys = Keys::from([("config.yaml".to_owned(), b"component: a".to_vec()), ("a".to_owned(), vec![0, 255])]);
        save_map(folder.path(), &map, &keys).unwrap();
        assert_eq!(load_map(folder.path(), &map), Some(keys));
        let path = folder.path().join("system.rules.configmap");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(load_map(folder.path(), &map).is_none());
    }
}
