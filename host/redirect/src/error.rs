//! What can go wrong between the agent and the kernel, and what the operator can do about it.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::{EbpfError, pin::PinError};

/// Any failure of this crate. Each message is one level; the causes are behind [`std::error::Error::source`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel says EPERM or EACCES.
    #[error(
        "not permitted to {doing}: run as root, or with CAP_BPF, CAP_NET_ADMIN and (to mount and pin) CAP_SYS_ADMIN"
    )]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No mount of type cgroup2.
    #[error(
        "no cgroup2 filesystem is mounted: mount one (mount -t cgroup2 none DIR); programs attach to cgroup v2 only"
    )]
    NoCgroup2,
    /// The configured cgroup is something else.
    #[error("{} is not a cgroup of cgroup v2; its tree is mounted at {}", path.display(), mount.display())]
    NotACgroup {
        /// As configured.
        path: PathBuf,
        /// Where cgroups are.
        mount: PathBuf,
    },
    /// The folder for pins is not on a BPF filesystem and none can be mounted there.
    #[error("{} is not on a BPF filesystem: mount one above it (mount -t bpf bpf /sys/fs/bpf) or choose another folder", path.display())]
    NotBpffs {
        /// As configured.
        path: PathBuf,
    },
    /// Another process holds the folder of pins.
    #[error("another agent uses {}: stop it, or configure another folder for pins", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A pinned map does not have the layout of this version.
    #[error("{} was pinned by another version ({field} is {found}, this one has {expected}): detach with that version, or remove the folder", path.display())]
    PinOfAnotherVersion {
        /// The pin.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// In the kernel.
        found: u32,
        /// In this program.
        expected: u32,
    },
    /// A pinned link is not the one its name says. The kernel itself would have swapped the program all the same.
    #[error("the link {} is of type {found_type}, hook {found_hook}; expected a cgroup link of hook {expected_hook}: remove it", path.display())]
    LinkOfAnotherHook {
        /// The pin.
        path: PathBuf,
        /// `bpf_link_type` in the kernel.
        found_type: u32,
        /// `bpf_attach_type` in the kernel.
        found_hook: u32,
        /// `bpf_attach_type` of the program.
        expected_hook: u32,
    },
    /// The verifier refuses a program.
    #[error("the kernel refuses program {program} (5.18 or later is needed, with BTF); the end of its log: {log_tail}")]
    Verifier {
        /// The program.
        program: &'static str,
        /// The last lines of the verifier's log.
        log_tail: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The embedded object lacks something: built from other sources than this crate.
    #[error("the embedded eBPF object has no {what} {name}: run `cargo xtask build` again")]
    Incomplete {
        /// map or program.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// The object could not be loaded.
    #[error("cannot load the eBPF object")]
    Load(#[source] EbpfError),
    /// A program could not be handled.
    #[error("cannot {doing} program {program}")]
    Program {
        /// What was tried.
        doing: &'static str,
        /// The program.
        program: &'static str,
        /// Why not.
        #[source]
        source: ProgramError,
    },
    /// A link could not be pinned.
    #[error("cannot pin the link {}", path.display())]
    Pin {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: PinError,
    },
    /// A map could not be handled.
    #[error("cannot {doing} map {map}")]
    Map {
        /// What was tried.
        doing: &'static str,
        /// The map.
        map: &'static str,
        /// Why not.
        #[source]
        source: MapError,
    },
    /// A file or folder could not be handled.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {doing}")]
    Call {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// More entries than the configuration allows.
    #[error("{entries} entries are more than the {entries_max} allowed: raise entries_max")]
    TooManyEntries {
        /// Entries of the set.
        entries: usize,
        /// The limit.
        entries_max: u32,
    },
    /// Two entries for one destination in one set.
    #[error("two entries for {ip} port {port} in one set")]
    DuplicateDestination {
        /// The address.
        ip: IpAddr,
        /// The port, 0 for any.
        port: u16,
    },
    /// A redirect to nowhere.
    #[error("an entry for {ip} redirects to {target}, which is no address to connect to")]
    UnusableTarget {
        /// The destination.
        ip: IpAddr,
        /// Where it should go.
        target: std::net::SocketAddr,
    },
    /// A deny with a number that is no error.
    #[error("an entry for {ip} denies with {errno}, which is not an error number (1 to 4095)")]
    UnusableErrno {
        /// The destination.
        ip: IpAddr,
        /// As given.
        errno: u32,
    },
    /// What was read back is not what was written; the active set was not touched.
    #[error(
        "the kernel holds {found} entries (digest {found_digest:016x}) where {expected} (digest {expected_digest:016x}) were written"
    )]
    Verification {
        /// Entries written.
        expected: u64,
        /// Their digest.
        expected_digest: u64,
        /// Entries found.
        found: u64,
        /// Their digest.
        found_digest: u64,
    },
    /// A commit of something that is no longer prepared.
    #[error("what was prepared for epoch {epoch} has been replaced by a later prepare or commit")]
    Superseded {
        /// Its epoch.
        epoch: u64,
    },
    /// Single changes need a set to change.
    #[error("no rules are active yet: publish a whole set first")]
    NoActiveRules,
    /// The live map has no room for another key; the keys before it were changed.
    #[error("the active set is full at {capacity} entries after {applied} changes: publish the whole set again")]
    Full {
        /// Entries the live map can hold.
        capacity: u32,
        /// Changes of this call that were carried out.
        applied: usize,
    },
    /// A record in the kernel that no program of this version writes.
    #[error("a connection's record holds action {action} and family {family}, which this version does not know")]
    MalformedRecord {
        /// As stored.
        action: u8,
        /// As stored.
        family: u8,
    },
}

impl Error {
    /// A failed call, told apart from a lack of privilege.
    pub(crate) fn call(doing: &'static str, source: io::Error) -> Self {
        if is_denied(&source) { Self::NotPermitted { doing, source } } else { Self::Call { doing, source } }
    }

    pub(crate) fn map(doing: &'static str, map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| Self::Map { doing, map, source }
    }
}

/// EPERM or EACCES.
pub(crate) fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}
