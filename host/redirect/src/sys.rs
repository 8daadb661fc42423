//! The few system calls aya does not offer, each behind a safe function that checks what the kernel would trust.
//!
//! The only `unsafe` of this crate. Nothing here decides anything.
#![expect(unsafe_code, reason = "raw bpf(2) and getsockopt(2)")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::Pod;
use aya::maps::{HashMap, IterableMap as _, MapData};

/// Numbers of `enum bpf_cmd` (uapi, stable).
mod command {
    pub(super) const OBJ_GET: libc::c_long = 7;
    pub(super) const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
    pub(super) const PROG_QUERY: libc::c_long = 16;
    pub(super) const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
    pub(super) const MAP_LOOKUP_BATCH: libc::c_long = 24;
    pub(super) const MAP_UPDATE_BATCH: libc::c_long = 26;
    pub(super) const LINK_UPDATE: libc::c_long = 29;
    pub(super) const LINK_DETACH: libc::c_long = 34;
}

/// One call of bpf(2); returns what the kernel returns.
///
/// # Safety
/// `A` must be laid out as `union bpf_attr` for this command, with every pointer in it valid for as many bytes as the
/// kernel will read or write there.
unsafe fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: a valid pointer with its own size; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Writes all pairs in one call (`BPF_MAP_UPDATE_BATCH`, Linux 5.6).
///
/// # Errors
/// What the kernel says; E2BIG when the map is full. Some pairs may have been written.
///
/// # Panics
/// Never; slices of different length are refused with EINVAL.
pub(crate) fn update_batch<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, keys: &[K], values: &[V]) -> io::Result<()> {
    let count = u32::try_from(keys.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if keys.len() != values.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if count == 0 {
        return Ok(());
    }
    let mut attr = BatchAttr {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr().expose_provenance() as u64,
        values: values.as_ptr().expose_provenance() as u64,
        count,
        map_fd: number(map.map().fd().as_fd()),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the typed map was checked for the sizes of K and V when it was made, both slices hold `count` of them, and
    // the kernel only reads from them.
    unsafe { bpf(command::MAP_UPDATE_BATCH, &mut attr) }.map(drop)
}

/// Hands every pair of the map to `each`, many per call (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6).
///
/// # Errors
/// What the kernel says. A map that is written to meanwhile may give a pair twice or not at all.
pub(crate) fn for_each<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    blank: (K, V),
    mut each: impl FnMut(&K, &V),
) -> io::Result<()> {
    // A bucket must fit whole, or the kernel answers ENOSPC; with the load factor of at most one here that takes far less.
    const CHUNK: u32 = 4096;
    let mut keys = vec![blank.0; CHUNK as usize];
    let mut values = vec![blank.1; CHUNK as usize];
    let (mut at, mut next) = (0u32, 0u32);
    let mut first = true;
    loop {
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { (&raw const at).expose_provenance() as u64 },
            out_batch: (&raw mut next).expose_provenance() as u64,
            keys: keys.as_mut_ptr().expose_provenance() as u64,
            values: values.as_mut_ptr().expose_provenance() as u64,
            count: CHUNK,
            map_fd: number(map.map().fd().as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the typed map was checked for the sizes of K and V, both vectors hold CHUNK of them, a hash map's position
        // is 4 bytes, and Pod values may hold whatever the kernel writes.
        let ended = match unsafe { bpf(command::MAP_LOOKUP_BATCH, &mut attr) } {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        keys.iter().zip(&values).take(attr.count as usize).for_each(|(key, value)| each(key, value));
        if ended {
            return Ok(());
        }
        (at, first) = (next, false);
    }
}

#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Takes one pair out of the map (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`, for hash maps Linux 5.14): of two takers one gets it.
///
/// # Errors
/// What the kernel says, except that there is no such key.
pub(crate) fn take<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, key: &K, blank: V) -> io::Result<Option<V>> {
    let mut value = blank;
    let mut attr = ElementAttr {
        map_fd: number(map.map().fd().as_fd()),
        padding: 0,
        key: std::ptr::from_ref(key).expose_provenance() as u64,
        value: (&raw mut value).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: the typed map was checked for the sizes of K and V; the kernel reads one and writes the other.
    match unsafe { bpf(command::MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// Swaps the program behind a link at once (`BPF_LINK_UPDATE`, Linux 5.7).
///
/// The kernel does not compare attach types: the caller must have done so.
///
/// # Errors
/// What the kernel says.
pub(crate) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr =
        LinkUpdateAttr { link_fd: number(link), new_program_fd: number(program), flags: 0, old_program_fd: 0 };
    // SAFETY: no pointers.
    unsafe { bpf(command::LINK_UPDATE, &mut attr) }.map(drop)
}

#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

/// Takes a link off its hook at once (`BPF_LINK_DETACH`, Linux 5.9). Closing and unlinking it does so only some time later.
///
/// # Errors
/// What the kernel says.
pub(crate) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetachAttr { link_fd: number(link) };
    // SAFETY: no pointers.
    unsafe { bpf(command::LINK_DETACH, &mut attr) }.map(drop)
}

#[repr(C)]
struct GetAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

/// Opens a pinned object (`BPF_OBJ_GET`).
///
/// # Errors
/// What the kernel says; ENOENT when nothing is pinned there.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = GetAttr { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    // SAFETY: a string that ends in a zero byte and outlives the call.
    let fd = unsafe { bpf(command::OBJ_GET, &mut attr) }?;
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel just gave this descriptor to this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The head of `struct bpf_link_info`, as it is for cgroup links.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkInfo {
    /// `enum bpf_link_type`.
    pub(crate) kind: u32,
    /// Unique while the link lives.
    pub(crate) id: u32,
    /// The program behind it.
    pub(crate) program_id: u32,
    padding: u32,
    /// Of cgroup links: the cgroup, 0 once it is gone.
    pub(crate) cgroup_id: u64,
    /// Of cgroup links: `enum bpf_attach_type`.
    pub(crate) attach_type: u32,
    padding_end: u32,
}

#[repr(C)]
struct InfoAttr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// What the kernel knows of a link (`BPF_OBJ_GET_INFO_BY_FD`).
///
/// # Errors
/// What the kernel says.
pub(crate) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr = InfoAttr {
        fd: number(link),
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes, and these are integers.
    unsafe { bpf(command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// How many programs are attached to a cgroup itself at one hook (`BPF_PROG_QUERY`).
///
/// # Errors
/// What the kernel says.
pub(crate) fn attached_count(cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<u32> {
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        program_ids: 0,
        count: 0,
        padding: 0,
        program_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: no lists are asked for, so there are no pointers.
    unsafe { bpf(command::PROG_QUERY, &mut attr) }?;
    Ok(attr.count)
}

/// The number of the network namespace a socket was made in (`SO_NETNS_COOKIE`, Linux 5.14).
///
/// # Errors
/// What the kernel says.
pub(crate) fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: eight bytes to write to, and their number.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
