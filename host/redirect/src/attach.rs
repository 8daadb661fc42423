//! Where the programs run: finding the cgroup, and keeping exactly one pinned link per hook on it.
//!
//! Links are made once. A new agent swaps the program inside the link, so there is no moment without one and never two.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, CgroupSockAddr, ProgramError, SockOps};
use ebpf_common::program;
use rustix::fs::statfs;

use crate::error::Error;
use crate::pins::{PinDir, file, remove_pin};
use crate::sys;

/// `CGROUP2_SUPER_MAGIC` of the kernel's `magic.h`.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// `BPF_LINK_TYPE_CGROUP`.
const LINK_TYPE_CGROUP: u32 = 3;

/// A hook, the program for it, and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// TCP events: hands records over.
    SockOps,
    /// `connect` of AF_INET.
    Connect4,
    /// `connect` of AF_INET6.
    Connect6,
}

impl Hook {
    /// Who keeps records comes first, so that no connection is redirected without one.
    pub(crate) const ATTACH_ORDER: [Self; 3] = [Self::SockOps, Self::Connect4, Self::Connect6];
    /// The reverse.
    pub(crate) const DETACH_ORDER: [Self; 3] = [Self::Connect6, Self::Connect4, Self::SockOps];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::SockOps => program::PAIR,
            Self::Connect4 => program::CONNECT4,
            Self::Connect6 => program::CONNECT6,
        }
    }

    pub(crate) const fn pin_name(self) -> &'static str {
        match self {
            Self::SockOps => "link_sockops",
            Self::Connect4 => "link_connect4",
            Self::Connect6 => "link_connect6",
        }
    }

    /// Where a link waits to take the other's place in one rename.
    pub(crate) fn next_pin_name(self) -> String {
        format!("{}_next", self.pin_name())
    }

    /// `enum bpf_attach_type`.
    pub(crate) const fn attach_type(self) -> u32 {
        match self {
            Self::SockOps => 3,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
        }
    }
}

/// Where the cgroup2 tree is mounted, from `/proc/self/mountinfo`. Hybrid hosts have it beside the v1 controllers.
///
/// # Errors
/// [`Error::NoCgroup2`], or that the list of mounts cannot be read.
pub fn cgroup2_mount() -> Result<PathBuf, Error> {
    const LIST: &str = "/proc/self/mountinfo";
    let list = fs::read_to_string(LIST).map_err(|source| Error::File { doing: "read", path: LIST.into(), source })?;
    list.lines().find_map(cgroup2_line).ok_or(Error::NoCgroup2)
}

/// The mount point of a line of mountinfo, if its type is cgroup2: `ID PARENT DEV ROOT POINT OPTIONS [FIELD..] - TYPE SOURCE OPTIONS`.
fn cgroup2_line(line: &str) -> Option<PathBuf> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let kind = filesystem.split(' ').next()?;
    let point = mount.split(' ').nth(4)?;
    (kind == "cgroup2").then(|| PathBuf::from(unescape(point)))
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// A cgroup that was found to be one.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: fs::File,
    /// The kernel's id of it, which is its inode number.
    id: u64,
}

impl Cgroup {
    /// Opens an absolute path, or one below the cgroup2 mount.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mount = cgroup2_mount()?;
        let path = mount.join(path);
        let stat = statfs(&path).map_err(|source| Error::File {
            doing: "find the cgroup",
            path: path.clone(),
            source: source.into(),
        })?;
        if !u64::try_from(stat.f_type).is_ok_and(|kind| kind == CGROUP2_SUPER_MAGIC) || !path.is_dir() {
            return Err(Error::NotACgroup { path, mount });
        }
        let folder = fs::File::open(&path).map_err(file("open the cgroup", &path))?;
        let id = folder.metadata().map_err(file("look at the cgroup", &path))?.ino();
        Ok(Self { folder, id })
    }

    pub(crate) const fn folder(&self) -> &fs::File {
        &self.folder
    }
}

/// Brings every hook to the program just loaded: by an update where our link is there, by a new link where it is not.
pub(crate) fn attach_all(ebpf: &mut Ebpf, cgroup: &Cgroup, pins: &PinDir) -> Result<(), Error> {
    for hook in Hook::ATTACH_ORDER {
        let pin = pins.pin(hook.pin_name());
        remove_pin(&pins.pin(&hook.next_pin_name()))?;
        match sys::open_pin(&pin) {
            Ok(link) => {
                if !update(hook, &pin, link.as_fd(), program_fd(ebpf, hook)?, cgroup)? {
                    tracing::info!(hook = hook.program(), "the link was on another cgroup; moving it");
                    replace(ebpf, hook, &pin, cgroup, pins)?;
                    detach_link(link.as_fd())?;
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                let link = create(ebpf, hook, cgroup)?;
                link.pin(&pin).map_err(|source| Error::Pin { path: pin, source })?;
            }
            Err(error) => return Err(file("open", &pin)(error)),
        }
    }
    Ok(())
}

/// Swaps the program in an existing link; false if the link is on another cgroup (or on one that is gone).
fn update(
    hook: Hook,
    pin: &Path,
    link: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    cgroup: &Cgroup,
) -> Result<bool, Error> {
    let info = sys::link_info(link).map_err(|error| Error::call("ask the kernel about a link", error))?;
    // The kernel lets a program of one hook into the link of another as long as the program types agree, so this is the check.
    if info.kind != LINK_TYPE_CGROUP || info.attach_type != hook.attach_type() {
        return Err(Error::LinkOfAnotherHook {
            path: pin.to_owned(),
            found_type: info.kind,
            found_hook: info.attach_type,
            expected_hook: hook.attach_type(),
        });
    }
    if info.cgroup_id != cgroup.id {
        return Ok(false);
    }
    sys::link_update(link, program).map_err(|error| Error::call("swap the program of a link", error))?;
    tracing::debug!(hook = hook.program(), link = info.id, replaced = info.program_id, "program swapped in its link");
    Ok(true)
}

/// Takes the link behind a pin off its hook, if there is one.
pub(crate) fn detach_pin(pin: &Path) -> Result<(), Error> {
    match sys::open_pin(pin) {
        Ok(link) => detach_link(link.as_fd()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error) => Err(file("open", pin)(error)),
    }
}

fn detach_link(link: BorrowedFd<'_>) -> Result<(), Error> {
    sys::link_detach(link).map_err(|error| Error::call("take a link off its hook", error))
}

/// Puts a new link in the place of the old one by a rename.
fn replace(ebpf: &mut Ebpf, hook: Hook, pin: &Path, cgroup: &Cgroup, pins: &PinDir) -> Result<(), Error> {
    let next = pins.pin(&hook.next_pin_name());
    let link = create(ebpf, hook, cgroup)?;
    link.pin(&next).map_err(|source| Error::Pin { path: next.clone(), source })?;
    fs::rename(&next, pin).map_err(file("rename", &next))
}

/// A link to the cgroup. No flags: links always live beside others, and the kernel refuses the flag that says so.
fn create(ebpf: &mut Ebpf, hook: Hook, cgroup: &Cgroup) -> Result<FdLink, Error> {
    let failed = |source| Error::Program { doing: "attach", program: hook.program(), source };
    let program =
        ebpf.program_mut(hook.program()).ok_or(Error::Incomplete { what: "program", name: hook.program() })?;
    let link = match hook {
        Hook::SockOps => {
            let program: &mut SockOps = program.try_into().map_err(failed)?;
            let id = program.attach(&cgroup.folder, CgroupAttachMode::Single).map_err(failed)?;
            program.take_link(id).map_err(failed)?.try_into()
        }
        Hook::Connect4 | Hook::Connect6 => {
            let program: &mut CgroupSockAddr = program.try_into().map_err(failed)?;
            let id = program.attach(&cgroup.folder, CgroupAttachMode::Single).map_err(failed)?;
            program.take_link(id).map_err(failed)?.try_into()
        }
    };
    // Only kernels before 5.7, which have no links, give anything else.
    link.map_err(|_| failed(ProgramError::NotAttached))
}

fn program_fd(ebpf: &Ebpf, hook: Hook) -> Result<BorrowedFd<'_>, Error> {
    let program = ebpf.program(hook.program()).ok_or(Error::Incomplete { what: "program", name: hook.program() })?;
    let fd = program.fd().map_err(|source| Error::Program { doing: "use", program: hook.program(), source })?;
    Ok(fd.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_by_type_not_by_name() {
        let rows = [
            ("38 31 0:35 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw", None),
            ("41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw", Some("/sys/fs/cgroup/unified")),
            (
                "41 31 0:38 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 none rw,nsdelegate",
                Some("/sys/fs/cgroup"),
            ),
            ("41 31 0:38 / /a\\040dir\\134x rw - cgroup2 none rw", Some("/a dir\\x")),
            ("41 31 0:38 / /cgroup2 rw - cgroup cgroup2 rw", None),
            ("", None),
            ("41 31 - cgroup2", None),
        ];
        for (line, expected) in rows {
            assert_eq!(cgroup2_line(line), expected.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn records_are_kept_before_anything_is_redirected() {
        assert_eq!(Hook::ATTACH_ORDER[0], Hook::SockOps);
        let mut reversed = Hook::DETACH_ORDER;
        reversed.reverse();
        assert_eq!(reversed, Hook::ATTACH_ORDER);
    }
}
