//! What the demo leaves on the machine while it runs: a temporary folder, a cgroup, a folder of pins. All of it is gone
//! when this is dropped.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// A cgroup can be removed once its last process is gone, which takes a moment after it was waited for.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// The kernel's part.
#[derive(Debug)]
pub struct KernelPlaces {
    /// A cgroup for clients, below the cgroup2 mount.
    pub cgroup: PathBuf,
    /// The agent's folder for pins; the agent makes it.
    pub pins: PathBuf,
}

impl KernelPlaces {
    /// Makes a cgroup whose name contains `name` and the number of this process.
    ///
    /// # Errors
    /// When there is no cgroup2 mount, or no right to make a cgroup.
    pub fn make(name: &str) -> Result<Self> {
        let unique = format!("wayswitch-{name}-{}", std::process::id());
        let cgroup = redirect::cgroup2_mount()?.join(&unique);
        fs::create_dir(&cgroup).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        Ok(Self { cgroup, pins: Path::new("/sys/fs/bpf").join(unique) })
    }

    /// Removes everything. With its last pin a program leaves the kernel, unless an agent still runs.
    ///
    /// # Errors
    /// When something stays behind.
    pub fn remove(&self) -> Result<()> {
        remove_pins(&self.pins).with_context(|| format!("cannot remove {}", self.pins.display()))?;
        remove_cgroup(&self.cgroup).with_context(|| format!("cannot remove {}", self.cgroup.display()))
    }
}

impl Drop for KernelPlaces {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("left behind: {error:#}");
        }
    }
}

fn remove_pins(folder: &Path) -> io::Result<()> {
    let pins = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        pins => pins?,
    };
    for pin in pins {
        fs::remove_file(pin?.path())?;
    }
    fs::remove_dir(folder)
}

fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    let end = Instant::now() + LEAVE_TIME_MAX;
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
}
