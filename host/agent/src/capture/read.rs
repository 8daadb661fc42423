//! Reads a capture, line by line. Believes nothing before the last line: what does not add up is refused whole.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use manifest::Format;
use model::store::Event;
use model::{Name, Object, Row, RowKey, Store, Table};
use sha2::{Digest, Sha256};

use super::wire::{AnyVersion, EndLine, HeaderLine, Rows};
use super::write::{DECISION, END, LEARNED, MAGIC, OBJECT};
use super::{Capture, CaptureLimits, Header, LearnedRow, LearnedRows, VERSION, hex};

/// Something in a capture.
#[expect(clippy::large_enum_variant, reason = "one at a time, and never kept")]
pub(crate) enum Found<'a> {
    Object {
        object: Object,
        /// Counts from 1.
        line: usize,
    },
    /// The text of a row, for who wants it: most do not.
    Decision(Decided<'a>),
    /// The same of what a control plane told.
    Learned(DecidedLearned<'a>),
}

/// A row that is read when somebody asks.
pub(crate) struct Decided<'a> {
    text: &'a str,
    rows: &'a mut Rows,
}

impl Decided<'_> {
    pub(crate) fn read(self) -> anyhow::Result<(RowKey, Row)> {
        self.rows.read(self.text)
    }
}

/// A decision on what a control plane told, read when somebody asks.
pub(crate) struct DecidedLearned<'a> {
    text: &'a str,
    rows: &'a mut Rows,
}

impl DecidedLearned<'_> {
    pub(crate) fn read(self) -> anyhow::Result<(RowKey, LearnedRow)> {
        self.rows.read_learned(self.text)
    }
}

/// A capture whose first line was read.
pub(crate) struct Reader<R> {
    lines: Lines<R>,
    header: Header,
    limits: CaptureLimits,
}

/// Whether the file at `path` is a capture, whole or not. What is no regular file is none.
pub(crate) fn is_capture(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    let read = open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *MAGIC.as_bytes()
}

/// Without O_NONBLOCK a pipe would hold us until somebody writes to it.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

impl Reader<io::BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or its first line is not that of a capture of this version.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = open(path).context("cannot be read")?;
        Self::new(io::BufReader::with_capacity(1 << 16, file), CaptureLimits::default())
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// It is not that of a capture of this version.
    pub(crate) fn new(input: R, limits: CaptureLimits) -> anyhow::Result<Self> {
        let mut lines = Lines { input, buffer: Vec::new(), number: 0, bytes: 0, hash: Sha256::new() };
        let read = lines.next(&limits)?;
        let text = read.and_then(|line| inner(line, MAGIC)).context("it is no capture")?;
        let any: AnyVersion = serde_json::from_str(text).context("line 1 is not that of a capture")?;
        let (version, program) = (any.version, any.program);
        ensure!(
            version == VERSION,
            "it is a capture of version {version}, written by {program:?}; this program reads version {VERSION}: \
             use that one, or capture again"
        );
        let line: HeaderLine = serde_json::from_str(text).context("line 1 is not that of a capture")?;
        let header = line.header(&manifest::Limits::default()).context("line 1 is not that of a capture")?;
        Ok(Self { lines, header, limits })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Hands on everything else, and then says whether it was whole.
    ///
    /// # Errors
    /// It is cut off, was changed, is too large, or holds what cannot be read; and those of `each`.
    pub(crate) fn read(mut self, each: &mut dyn FnMut(Found<'_>) -> anyhow::Result<()>) -> anyhow::Result<Header> {
        let (mut objects, mut decisions, mut learned) = (0, 0, 0);
        let mut rows = Rows::new();
        let limits = manifest::Limits::default();
        loop {
            let hash = self.lines.hash.clone();
            let number = self.lines.number + 1;
            let Some(line) = self.lines.next(&self.limits)? else {
                bail!("it is cut off after {objects} objects and {decisions} decisions: capture again");
            };
            let unreadable = || format!("line {number} cannot be read: capture again");
            if let Some(text) = inner(line, OBJECT).filter(|_| decisions + learned == 0) {
                objects += 1;
                ensure!(objects <= self.limits.objects_max, "it has more than {} objects", self.limits.objects_max);
                let object = object(text, &limits).with_context(unreadable)?;
                each(Found::Object { object, line: number })?;
            } else if let Some(text) = inner(line, DECISION).filter(|_| learned == 0) {
                decisions += 1;
                self.limits.check_decisions(decisions)?;
                each(Found::Decision(Decided { text, rows: &mut rows })).with_context(unreadable)?;
            } else if let Some(text) = inner(line, LEARNED) {
                learned += 1;
                self.limits.check_decisions(decisions + learned)?;
                each(Found::Learned(DecidedLearned { text, rows: &mut rows })).with_context(unreadable)?;
            } else if let Some(text) = inner(line, END) {
                let end: EndLine = serde_json::from_str(text).with_context(unreadable)?;
                let expected = EndLine { objects, decisions, learned, sha256: hex(&hash.finalize()) };
                ensure!(end == expected, "it was changed after it was written: its checksum is another; capture again");
                let behind = self.lines.input.fill_buf().context("cannot be read")?;
                ensure!(behind.is_empty(), "something stands behind its end: capture again");
                return Ok(self.header);
            } else {
                bail!("line {number} is none of a capture: capture again");
            }
        }
    }

    /// Reads everything into memory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn into_memory(self) -> anyhow::Result<Capture> {
        let mut store = Store::new(self.header.facts.clone());
        let rules = self.header.rules.as_ref().map_or(0, |rules| rules.number);
        let mut table = Table::new(rules, self.header.revision);
        let mut learned = LearnedRows::new();
        let header = self.read(&mut |found| {
            match found {
                Found::Object { object, .. } => {
                    store.apply(Event::Apply(object));
                }
                Found::Decision(decided) => {
                    let (key, row) = decided.read()?;
                    table.set(key, Some(row));
                }
                Found::Learned(decided) => learned.extend([decided.read()?]),
            }
            Ok(())
        })?;
        Ok(Capture { header, store, table, learned })
    }
}

impl CaptureLimits {
    fn check_decisions(&self, decisions: u64) -> anyhow::Result<()> {
        ensure!(decisions <= self.decisions_max, "it has more than {} decisions", self.decisions_max);
        Ok(())
    }
}

/// The one object of a line.
fn object(text: &str, limits: &manifest::Limits) -> anyhow::Result<Object> {
    let mut read = None;
    let mut each = |found| {
        let next = match found {
            manifest::Found::Object { object, .. } => Ok(object),
            manifest::Found::Unread { unread, .. } => Err(format!("an object of kind {}", unread.kind)),
            manifest::Found::Problem(problem) => Err(problem.fault.to_string()),
        };
        // What follows an object is none of ours.
        read = Some(if read.is_none() { next } else { Err("more than one object".to_owned()) });
    };
    manifest::read_text(&Name::default(), text, Format::Json, limits, &mut each);
    read.context("no object")?.map_err(anyhow::Error::msg)
}

/// What stands in a line that starts like this.
fn inner<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("}\n")
}

struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// Of the line in the buffer.
    number: usize,
    bytes: u64,
    /// Of all lines read.
    hash: Sha256,
}

impl<R: BufRead> Lines<R> {
    /// The next line with its end; none where there is no whole one.
    fn next(&mut self, limits: &CaptureLimits) -> anyhow::Result<Option<&str>> {
        self.buffer.clear();
        self.number += 1;
        let number = self.number;
        let line_bytes_max = limits.line_bytes_max;
        let mut bounded = (&mut self.input).take(line_bytes_max);
        let bytes = bounded.read_until(b'\n', &mut self.buffer).context("cannot be read")? as u64;
        if !self.buffer.ends_with(b"\n") {
            ensure!(bytes < line_bytes_max, "line {number} has more than {line_bytes_max} bytes");
            return Ok(None);
        }
        self.bytes += bytes;
        ensure!(self.bytes <= limits.bytes_max, "it has more than {} bytes", limits.bytes_max);
        self.hash.update(&self.buffer);
        let text = std::str::from_utf8(&self.buffer);
        Ok(Some(text.with_context(|| format!("line {number} cannot be read: capture again"))?))
    }
}
