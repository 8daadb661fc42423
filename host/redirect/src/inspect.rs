//! What is in the kernel, asked of the kernel and not of our own pins: for diagnosis, and to prove that nothing is left.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use aya::maps::loaded_maps;
use aya::programs::{ProgramError, loaded_links, loaded_programs};

use crate::attach::{Cgroup, Hook};
use crate::error::Error;
use crate::pins::file;
use crate::sys;

/// Programs attached to one cgroup itself (not to those above it), ours and others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// On `connect` of AF_INET.
    pub connect4: u32,
    /// On `connect` of AF_INET6.
    pub connect6: u32,
    /// On TCP events.
    pub sockops: u32,
}

/// Counts the programs on a cgroup. More than one per hook means that another tool is there too: the order of attachment
/// decides who sees the destination first.
///
/// # Errors
/// When the path is no cgroup, or the kernel does not tell.
pub fn attached(cgroup: &Path) -> Result<Attached, Error> {
    let cgroup = Cgroup::open(cgroup)?;
    let count = |hook: Hook| {
        sys::attached_count(cgroup.folder().as_fd(), hook.attach_type())
            .map_err(|error| Error::call("ask for the programs of a cgroup", error))
    };
    Ok(Attached { connect4: count(Hook::Connect4)?, connect6: count(Hook::Connect6)?, sockops: count(Hook::SockOps)? })
}

/// What the programs of one folder of pins cost since they were loaded, by the kernel's own count. The kernel counts only
/// while `kernel.bpf_stats_enabled` is 1, and its counting is part of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// `connect` of AF_INET.
    pub connect4: RunTime,
    /// `connect` of AF_INET6.
    pub connect6: RunTime,
    /// TCP events.
    pub sockops: RunTime,
}

/// Runs of one program and the time they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Runs.
    pub runs: u64,
    /// All of them together.
    pub total: Duration,
}

/// Asks the kernel for the cost of the programs behind the links in a folder of pins.
///
/// # Errors
/// When there are no links, or the kernel does not tell.
pub fn run_times(pin_dir: &Path) -> Result<RunTimes, Error> {
    let of = |hook: Hook| {
        let path = pin_dir.join(hook.pin_name());
        let link = sys::open_pin(&path).map_err(file("open", &path))?;
        let link = sys::link_info(link.as_fd()).map_err(|error| Error::call("ask the kernel about a link", error))?;
        let failed = |source| Error::Program { doing: "ask about", program: hook.program(), source };
        for program in loaded_programs() {
            let program = program.map_err(failed)?;
            if program.id() == link.program_id {
                return Ok(RunTime { runs: program.run_count(), total: program.run_time() });
            }
        }
        Err(failed(ProgramError::NotLoaded))
    };
    Ok(RunTimes { connect4: of(Hook::Connect4)?, connect6: of(Hook::Connect6)?, sockops: of(Hook::SockOps)? })
}

/// All objects of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedObjects {
    /// eBPF programs.
    pub programs: usize,
    /// eBPF maps.
    pub maps: usize,
    /// Links.
    pub links: usize,
}

/// Counts what is loaded on this machine, by whomever. Objects that come or go meanwhile may or may not be counted.
#[must_use]
pub fn loaded_objects() -> LoadedObjects {
    LoadedObjects {
        programs: loaded_programs().filter(Result::is_ok).count(),
        maps: loaded_maps().filter(Result::is_ok).count(),
        links: loaded_links().filter(Result::is_ok).count(),
    }
}
