//! Follows the control plane on a thread of its own, and keeps the last mesh that it told on disk on another.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use tokio::sync::{mpsc, oneshot};
use xds::client::state::{State, Update};
use xds::client::{self, Event};
use xds::persist::{self, Loaded};
use xds::resource::ResourceType;

use crate::conductor::Message;
use crate::upstream::Saved;

/// Largest saved mesh that is read: as many bytes as the client takes of a control plane.
const SAVED_BYTES_MAX: u64 = 1 << 30;

/// Events that wait for the conductor; the control plane waits with them.
const EVENTS_MAX: usize = 4;

/// The folder of the saved mesh, and what is in it.
///
/// # Errors
/// When the folder cannot be used. A file that cannot is set aside.
pub(crate) fn restore(folder: &Path) -> anyhow::Result<(Dir, Vec<Update>)> {
    let at = || format!("the folder of the saved mesh {}", folder.display());
    let parent = folder.parent().context("--xds-dir has no parent")?;
    std::fs::create_dir_all(parent).with_context(at)?;
    let name = folder.file_name().context("--xds-dir has no name")?;
    let parent = Dir::open_ambient_dir(parent, ambient_authority()).with_context(at)?;
    if !parent.is_dir(name) {
        parent.create_dir_with(name, DirBuilder::new().mode(0o700)).with_context(at)?;
    }
    let dir = parent.open_dir(name).with_context(at)?;
    let updates = match persist::load(&dir, SAVED_BYTES_MAX)? {
        Loaded::Nothing => Vec::new(),
        Loaded::SetAside { why, now } => {
            tracing::error!("the saved mesh cannot be used, it was renamed to {now}: {why}");
            Vec::new()
        }
        Loaded::Mesh(saved) => {
            let age = now().saturating_sub(saved.saved_at);
            tracing::info!(
                seconds = age,
                addresses = saved.addresses.len(),
                "serving the saved mesh until the control plane answers"
            );
            let update = |of| {
                let (changed, held) = (saved.of(of).to_vec(), saved.of(of).iter().cloned().collect());
                Update { of, changed, removed: Vec::new(), rejected: Vec::new(), held }
            };
            ResourceType::ALL.map(update).into()
        }
    };
    Ok((dir, updates))
}

/// Follows until `stop` is sent or dropped.
///
/// # Errors
/// When there is no runtime to be had.
pub(crate) fn follow(
    config: client::Config,
    restored: Vec<Update>,
    conductor: &SyncSender<Message>,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let mut state = State::new(&config.node, config.limits);
    // Let go of then: what was restored may have been replaced in a moment.
    for update in restored {
        state.restore(update.of, &update.changed);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (events, mut inbox) = mpsc::channel::<Event>(EVENTS_MAX);
        let shutdown = async {
            // Sent or dropped: the same.
            let _stop = stop.await;
        };
        let handing_over = async {
            while let Some(event) = inbox.recv().await {
                // May wait for a place: then the control plane waits as well, which is meant.
                if conductor.send(Message::Upstream(Box::new(event))).is_err() {
                    break;
                }
            }
        };
        tokio::join!(client::run(config, state, events, shutdown), handing_over);
    });
    Ok(())
}

/// Writes what it is handed, until nobody hands it anything.
pub(crate) fn keep(dir: &Dir, meshes: &Receiver<Saved>) {
    while let Ok(mesh) = meshes.recv() {
        if let Err(error) = persist::save(dir, now(), &mesh) {
            tracing::warn!("{:#}", anyhow::Error::new(error));
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
