//! `wayswitch cleanup`: takes everything off a node that an agent left there. What is left out of the kernel decides nothing
//! any more; files are only removed where they are an agent's.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use cluster::daemon_set::Ready;
use cluster::namespaced_name::NamespacedName;
use tokio::signal::unix::{SignalKind, signal};

use super::mesh::live::in_cluster;
use crate::cli::{CleanupFlags, ClusterFlags};
use crate::config::{AdminAddress, DEFAULT_ADMIN, admin_address};

/// What an agent writes into its folders, and nothing else: a folder that has more is somebody's.
const OF_XDS: [&str; 3] = ["shared", "private", "state"];
const OF_OBJECTS: [&str; 5] =
    ["objects.capture", "objects.damaged", ".objects.capture.new", "rules.kept", ".rules.kept.new"];
/// The saved ConfigMaps have names of their own.
const CONFIG_MAPS: &str = ".configmap";

/// Removes pins and links, the admin socket, and what was kept in folders. What is not there is as good as removed.
pub(crate) fn run(flags: &CleanupFlags) -> anyhow::Result<ExitCode> {
    if flags.hold {
        return hold();
    }
    if flags.labels {
        return written_back(&flags.cluster);
    }
    if let Some(name) = &flags.wait_for {
        return wait_for(&flags.cluster, name, Duration::from_secs(flags.timeout), flags.then_remove);
    }
    let admin = admin_address(flags.admin.as_deref().unwrap_or(DEFAULT_ADMIN))?;
    let socket = match &admin {
        AdminAddress::Unix(path) => Some(path.as_path()),
        AdminAddress::Tcp(_) | AdminAddress::Off => None,
    };
    if let Some(path) = socket
        && std::os::unix::net::UnixStream::connect(path).is_ok()
    {
        bail!("an agent is running here: it listens on {}; stop it first", path.display());
    }
    let pins = flags.pin_dir.clone().unwrap_or_else(redirect::default_pin_dir);
    let detached = redirect::detach(&pins).with_context(|| format!("{} could not be detached", pins.display()))?;
    if let Some(above) = pins.parent().filter(|it| it.ends_with("wayswitch")) {
        // The agent made it for its folder. Pins of another version may be in it, or it is not there: then nothing happens.
        let _kept = fs::remove_dir(above);
    }
    told(&pins, detached, "programs, links and maps");
    if let Some(path) = socket {
        told(path, remove_socket(path).with_context(|| path.display().to_string())?, "admin socket");
    }
    for (folder, names, what) in [
        (&flags.xds_dir, OF_XDS.as_slice(), "certificates, token and saved mesh"),
        (&flags.kubernetes_state, OF_OBJECTS.as_slice(), "saved objects"),
    ] {
        if let Some(folder) = folder {
            told(folder, remove(folder, names).with_context(|| folder.display().to_string())?, what);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes labels and conditions off the objects of the cluster.
fn written_back(flags: &ClusterFlags) -> anyhow::Result<ExitCode> {
    let (labels, conditions) = in_cluster(flags, None, async |cluster| {
        Ok((cluster.remove_labels().await?, cluster.remove_conditions().await?))
    })?;
    for (what, it) in [("labels", labels), ("conditions", conditions)] {
        println!("removed {what} of {} of {} objects", it.removed, it.objects);
    }
    Ok(ExitCode::SUCCESS)
}

/// Stays, so that a Pod is there that is ready.
fn hold() -> anyhow::Result<ExitCode> {
    println!("this node is clean");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn wait_for(
    flags: &ClusterFlags,
    daemon_set: &NamespacedName,
    wait: Duration,
    then_remove: bool,
) -> anyhow::Result<ExitCode> {
    let told = |it: Ready| {
        let wanted = it.wanted.map_or_else(|| "?".to_owned(), |it| it.to_string());
        println!("{} of {wanted} nodes are clean", it.ready);
    };
    let ready = in_cluster(flags, None, async |cluster| {
        let ready = cluster.wait_for_daemon_set(daemon_set, wait, &told).await?;
        if then_remove && ready.is_done() {
            cluster.remove_daemon_set(daemon_set).await?;
        }
        Ok(ready)
    })?;
    if ready.is_done() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("not every node is clean after {} s: the Pods of DaemonSet {daemon_set} say why", wait.as_secs())
}

fn told(path: &Path, is_removed: bool, what: &str) {
    let path = path.display();
    if is_removed {
        println!("removed {path}: {what}");
    } else {
        println!("nothing at {path}: {what}");
    }
}

fn remove_socket(path: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(fs::remove_file(path).map(|()| true)?),
        Ok(_) => bail!("it is no socket, and stays"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes what is named, then the folder if nothing else is in it.
fn remove(folder: &Path, names: &[&str]) -> anyhow::Result<bool> {
    let found = match fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // A link would lead to somebody else's folder.
    if !found.is_dir() {
        bail!("it is no folder, and stays");
    }
    for name in names {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_string_lossy().ends_with(CONFIG_MAPS) {
            fs::remove_file(entry.path())?;
        }
    }
    // Something else is in it, or it is the root of a mount: then the folder stays.
    let _kept = fs::remove_dir(folder);
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(folder: &Path) -> CleanupFlags {
        CleanupFlags {
            pin_dir: Some(folder.join("wayswitch/v1")),
            admin: Some(format!("unix:{}", folder.join("admin.sock").display())),
            xds_dir: Some(folder.join("xds")),
            kubernetes_state: Some(folder.join("state")),
            labels: false,
            cluster: ClusterFlags::default(),
            hold: false,
            wait_for: None,
            then_remove: false,
            timeout: 1,
        }
    }

    #[test]
    fn what_an_agent_left_goes_and_what_somebody_else_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["xds/private", "state", "wayswitch"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in
            ["xds/private/token", "state/rules.kept", "state/objects.capture", "state/a.b.configmap", "state/notes"]
        {
            fs::write(at(path), "x").unwrap();
        }
        drop(std::os::unix::net::UnixListener::bind(at("admin.sock")).unwrap());
        run(&flags(folder.path())).unwrap();
        assert!(!at("xds").exists() && !at("admin.sock").exists() && !at("state/objects.capture").exists());
        assert!(!at("state/rules.kept").exists() && at("state/notes").exists() && !at("state/a.b.configmap").exists());
        assert!(!at("wayswitch").exists());
        run(&flags(folder.path())).unwrap();
    }

    #[test]
    fn a_running_agent_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _agent = std::os::unix::net::UnixListener::bind(folder.path().join("admin.sock")).unwrap();
        assert!(run(&flags(folder.path())).unwrap_err().to_string().contains("stop it first"));
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("else/private")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("else"), folder.path().join("xds")).unwrap();
        assert!(run(&flags(folder.path())).is_err());
        assert!(folder.path().join("else/private").exists());
    }
}
