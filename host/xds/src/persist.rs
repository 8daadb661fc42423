//! The last good mesh on disk, so that an agent that is started while no control plane can be reached has something to
//! serve. Written whole to a second file that then takes the place of the first; read back only if every byte is as it was.
//!
//! The file: 8 bytes of magic, the version of the format (u32), when it was written (seconds since 1970, u64), the number of
//! types (u32); for each its URL, the number of its resources (u32) and of each name, version and body; then the SHA-256 of
//! all that. Numbers are little-endian; texts and bodies begin with their length (u32).
//!
//! All of it blocks: it belongs beside a runtime, not on it.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use model::sorted::Sorted;
use sha2::{Digest, Sha256};

use crate::client::state::UpstreamResource;
use crate::resource::ResourceType;

/// The name of the file in its folder.
pub const FILE: &str = "mesh.bin";
const NEW: &str = "mesh.bin.new";
/// Where a file that cannot be used is put, for people to look at.
const DAMAGED: &str = "mesh.bin.damaged";
const NEWER: &str = "mesh.bin.newer";

const MAGIC: &[u8; 8] = b"wsmesh\r\n";
/// The format that is written and the only one that is read.
pub const FORMAT: u32 = 1;
const CHECKSUM: usize = 32;

/// A mesh as it was last heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedMesh {
    /// When it was written, in seconds since 1970.
    pub saved_at: u64,
    /// Workloads and services.
    pub addresses: Vec<UpstreamResource>,
    /// Policies.
    pub authorizations: Vec<UpstreamResource>,
}

impl SavedMesh {
    /// The resources of a type.
    pub fn of(&self, of: ResourceType) -> &[UpstreamResource] {
        match of {
            ResourceType::Address => &self.addresses,
            ResourceType::Authorization => &self.authorizations,
        }
    }

    fn of_mut(&mut self, of: ResourceType) -> &mut Vec<UpstreamResource> {
        match of {
            ResourceType::Address => &mut self.addresses,
            ResourceType::Authorization => &mut self.authorizations,
        }
    }
}

/// What was found on disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing was ever saved.
    Nothing,
    /// A whole mesh.
    Mesh(SavedMesh),
    /// A file that cannot be used; it was renamed.
    SetAside {
        /// Why it cannot be used.
        why: Unusable,
        /// What it is called now, in the same folder.
        now: &'static str,
    },
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is larger than what is read.
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A newer agent wrote it.
    Newer {
        /// The format.
        format: u32,
    },
    /// It is not what was written.
    Damaged,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the saved mesh has {bytes} bytes [limit: {bytes_max}]")
            }
            Self::Newer { format } => {
                write!(f, "the saved mesh has format {format}, this agent reads {FORMAT}: a newer one wrote it")
            }
            Self::Damaged => f.write_str("the saved mesh is damaged: its checksum is another, or it is cut off"),
        }
    }
}

/// Why the mesh could not be saved or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the saved mesh; look at the state folder and its disk")]
pub struct PersistError {
    /// What was attempted.
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Saves a mesh in the place of the one saved before, which stays whole until the new one is on the disk.
///
/// # Errors
/// When the disk refuses, or something is too large for the format; what was saved before is untouched.
pub fn save(
    folder: &Dir,
    saved_at: u64,
    types: &[(ResourceType, Sorted<UpstreamResource>)],
) -> Result<(), PersistError> {
    let doing = |doing| move |source| PersistError { doing, source };
    let mut options = OpenOptions::new();
    // Who talks to whom is nobody else's business.
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = folder.open_with(NEW, &options).map_err(doing("open"))?;
    let mut hashed = Hashed { to: BufWriter::new(&file), hash: Sha256::new() };
    write(&mut hashed, saved_at, types).map_err(doing("write"))?;
    let Hashed { mut to, hash } = hashed;
    to.write_all(&hash.finalize()).and_then(|()| to.flush()).map_err(doing("write"))?;
    drop(to);
    file.sync_all().map_err(doing("sync"))?;
    folder.rename(NEW, folder, FILE).map_err(doing("replace"))?;
    // Opened again: a `Dir` is a place to start from, and cannot be synced itself.
    folder.open(".").and_then(|folder| folder.sync_all()).map_err(doing("sync the folder of"))
}

/// Reads the saved mesh, at most `bytes_max` bytes. A file that cannot be used is renamed, in the place of one that was
/// renamed before.
///
/// # Errors
/// When the disk refuses.
pub fn load(folder: &Dir, bytes_max: u64) -> Result<Loaded, PersistError> {
    let doing = |doing| move |source| PersistError { doing, source };
    let file = match folder.open(FILE) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
        Err(why) => return Err(PersistError { doing: "open", source: why }),
    };
    let bytes = file.metadata().map_err(doing("read"))?.len();
    let read = if bytes > bytes_max {
        Err(Unusable::TooLarge { bytes, bytes_max })
    } else {
        let mut content = Vec::new();
        // It may have grown since it was measured.
        file.take(bytes_max).read_to_end(&mut content).map_err(doing("read"))?;
        parse(&content)
    };
    match read {
        Ok(mesh) => Ok(Loaded::Mesh(mesh)),
        Err(why) => {
            let now = if matches!(why, Unusable::Newer { .. }) { NEWER } else { DAMAGED };
            folder.rename(FILE, folder, now).map_err(doing("set aside"))?;
            Ok(Loaded::SetAside { why, now })
        }
    }
}

/// Writes and hashes what it writes.
struct Hashed<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }

    fn number(&mut self, number: usize) -> io::Result<()> {
        self.put(&u32::try_from(number).map_err(io::Error::other)?.to_le_bytes())
    }

    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.number(text.len())?;
        self.put(text)
    }
}

fn write(
    to: &mut Hashed<impl Write>,
    saved_at: u64,
    types: &[(ResourceType, Sorted<UpstreamResource>)],
) -> io::Result<()> {
    to.put(MAGIC)?;
    to.put(&FORMAT.to_le_bytes())?;
    to.put(&saved_at.to_le_bytes())?;
    to.number(types.len())?;
    for (of, resources) in types {
        to.text(of.url().as_bytes())?;
        to.number(resources.len())?;
        for UpstreamResource { name, version, body } in resources.iter() {
            to.text(name.as_bytes())?;
            to.text(version.as_bytes())?;
            to.text(body)?;
        }
    }
    Ok(())
}

fn parse(file: &[u8]) -> Result<SavedMesh, Unusable> {
    let (content, checksum) = file.split_last_chunk::<CHECKSUM>().ok_or(Unusable::Damaged)?;
    if Sha256::digest(content).as_slice() != checksum {
        return Err(Unusable::Damaged);
    }
    let mut content = Content(content);
    let header = content.array().zip(content.array());
    let (magic, format) = header.ok_or(Unusable::Damaged)?;
    if &magic != MAGIC {
        return Err(Unusable::Damaged);
    }
    // A newer format has its checksum at the end as well: this is a promise.
    match u32::from_le_bytes(format) {
        FORMAT => content.mesh().filter(|_| content.0.is_empty()).ok_or(Unusable::Damaged),
        format => Err(Unusable::Newer { format }),
    }
}

/// What is left to read.
struct Content<'a>(&'a [u8]);

impl<'a> Content<'a> {
    fn mesh(&mut self) -> Option<SavedMesh> {
        let mut mesh = SavedMesh { saved_at: u64::from_le_bytes(self.array()?), ..SavedMesh::default() };
        for _ in 0..self.number()? {
            let of = ResourceType::of_url(&self.text()?)?;
            let count = self.number()?;
            // Each takes 12 bytes at least: the number alone does not make room for itself.
            let mut resources = Vec::with_capacity(count.min(self.0.len() / 12));
            for _ in 0..count {
                let (name, version) = (self.text()?, self.text()?);
                // Copied, or one resource that stays keeps the whole file in memory.
                resources.push(UpstreamResource { name, version, body: Bytes::copy_from_slice(self.bytes()?) });
            }
            *mesh.of_mut(of) = resources;
        }
        Some(mesh)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Arc::from)
    }
}

#[cfg(test)]
mod tests;
