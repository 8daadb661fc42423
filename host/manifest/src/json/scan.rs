//! Finds where JSON values start and end, in a text that is not in memory. Not a JSON parser: it knows brackets, texts and
//! blanks, and what is between them it hands on as it is.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::Place;
use crate::problem::{Fault, Misfit};

/// What is read from: a file, or a text in memory.
pub(crate) trait Input: Read + Seek {}

impl<T: Read + Seek> Input for T {}

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// Brackets within brackets. Nothing that is read nests deeper than some dozens; this bounds what a text of nothing but
/// brackets costs.
const NESTING_MAX: usize = 10_000;

/// A text and how far it was read.
pub(super) struct Scanner<'a> {
    input: &'a mut dyn Input,
    chunk: Box<[u8]>,
    /// What of the chunk is still to be read.
    at: usize,
    end: usize,
    /// A place, and where in the chunk it is. What is behind it is counted when somebody asks.
    counted: Mark,
    counted_to: usize,
    /// The value that is being taken, and where in the chunk it goes on.
    keeping: Option<(Kept, usize)>,
}

/// A place that one can come back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Bytes from the start.
    pub(super) offset: u64,
    /// From 1; the column counts characters.
    pub(super) place: Place,
}

/// The text of a value, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    bytes_max: usize,
    /// How many there would be without the limit.
    pub(super) bytes_seen: u64,
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, bytes_seen: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes_seen = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes_seen += bytes.len() as u64;
        let room = self.bytes_max.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// How many bytes there were, if not all are here.
    pub(super) fn excess(&self) -> Option<usize> {
        let all = usize::try_from(self.bytes_seen).unwrap_or(usize::MAX);
        (all > self.bytes.len()).then_some(all)
    }
}

impl<'a> Scanner<'a> {
    /// Starts where `input` is; a byte order mark there does not count.
    pub(super) fn new(input: &'a mut dyn Input) -> Result<Self, Misfit> {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        let start = Mark { offset: 0, place: (1, 1) };
        let mut scanner = Self { input, chunk, at: 0, end: 0, counted: start, counted_to: 0, keeping: None };
        match skip_mark(scanner.input) {
            Ok(offset) => scanner.counted.offset = offset,
            Err(error) => return Err(scanner.unreadable(error)),
        }
        Ok(scanner)
    }

    /// Where it is.
    pub(super) fn mark(&mut self) -> Mark {
        let new = self.chunk.get(self.counted_to..self.at).unwrap_or_default();
        let lines = new.iter().filter(|b| **b == b'\n').count();
        let last = match lines {
            0 => new,
            _ => new.rsplit(|b| *b == b'\n').next().unwrap_or_default(),
        };
        // The bytes of a character behind its first do not count.
        let columns = last.iter().filter(|b| **b & 0xc0 != 0x80).count();
        let (line, column) = self.counted.place;
        self.counted.place = (line + lines, if lines == 0 { column } else { 1 } + columns);
        self.counted.offset += new.len() as u64;
        self.counted_to = self.at;
        self.counted
    }

    /// Goes on from `mark`.
    pub(super) fn go_to(&mut self, mark: Mark) -> Result<(), Misfit> {
        (self.at, self.end, self.counted, self.counted_to) = (0, 0, mark, 0);
        self.input.seek(SeekFrom::Start(mark.offset)).map_err(|error| self.unreadable(error))?;
        self.fill()
    }

    /// A complaint about what comes next.
    pub(super) fn misfit(&mut self, message: &str, items_read: Option<usize>) -> Misfit {
        let (line, column) = self.mark().place;
        Misfit { line, column, fault: Fault::Syntax { format: "JSON", message: message.to_owned(), items_read } }
    }

    fn unreadable(&mut self, error: io::Error) -> Misfit {
        let (line, column) = self.mark().place;
        Misfit { line, column, fault: Fault::Unreadable { source: Arc::new(error) } }
    }

    /// Skips blanks and says which byte comes next, none at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Misfit> {
        loop {
            self.at += self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
            if let Some(byte) = self.rest().first() {
                return Ok(Some(*byte));
            }
            self.fill()?;
            if self.rest().is_empty() {
                return Ok(None);
            }
        }
    }

    /// Takes the byte that [`Scanner::peek`] saw.
    pub(super) fn take_byte(&mut self, keep: Option<&mut Kept>) {
        if let (Some(keep), Some(byte)) = (keep, self.rest().first()) {
            keep.push(&[*byte]);
        }
        self.at = self.end.min(self.at + 1);
    }

    /// Takes one value, which [`Scanner::peek`] found the start of.
    ///
    /// # Errors
    /// It has no end, or brackets that do not belong together.
    pub(super) fn value(&mut self, keep: Option<&mut Kept>) -> Result<(), Misfit> {
        let Some(keep) = keep else {
            return self.pass();
        };
        self.keeping = Some((std::mem::take(keep), self.at));
        let outcome = self.pass();
        if let Some((mut kept, from)) = self.keeping.take() {
            kept.push(self.chunk.get(from..self.at).unwrap_or_default());
            *keep = kept;
        }
        outcome
    }

    fn pass(&mut self) -> Result<(), Misfit> {
        match self.rest().first() {
            Some(b'{' | b'[') => self.brackets(),
            Some(b'"') => {
                self.at += 1;
                self.text()
            }
            Some(b',' | b':' | b'}' | b']') | None => Err(self.misfit("a value is missing", None)),
            Some(_) => self.word(),
        }
    }

    /// Takes a number or a word: up to what cannot be part of one.
    fn word(&mut self) -> Result<(), Misfit> {
        let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'"' | b'{' | b'[' | b'}' | b']');
        loop {
            let length = self.rest().iter().position(ends);
            self.at = length.map_or(self.end, |length| self.at + length);
            if length.is_some() {
                return Ok(());
            }
            self.fill()?;
            if self.rest().is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes the rest of a text behind its first quote.
    fn text(&mut self) -> Result<(), Misfit> {
        let mut escaped = false;
        loop {
            let end = end_of_text(self.rest(), &mut escaped);
            self.at = end.map_or(self.end, |end| self.at + end);
            if end.is_some() {
                return Ok(());
            }
            self.refill()?;
        }
    }

    /// Takes everything up to the bracket that closes the one which is next.
    fn brackets(&mut self) -> Result<(), Misfit> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            let Some(found) = self.rest().iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']')) else {
                self.at = self.end;
                self.refill()?;
                continue;
            };
            self.at += found;
            let byte = self.rest().first().copied().unwrap_or_default();
            if matches!(byte, b'}' | b']') && open.pop() != Some(byte) {
                return Err(self.misfit("a bracket closes what it does not belong to", None));
            }
            self.at += 1;
            match byte {
                b'"' => self.text()?,
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                _ => {}
            }
            if open.is_empty() {
                return Ok(());
            }
            if open.len() > NESTING_MAX {
                return Err(self.misfit("brackets are nested too deep", None));
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..self.end).unwrap_or_default()
    }

    /// Reads on, where something must follow.
    fn refill(&mut self) -> Result<(), Misfit> {
        self.fill()?;
        if self.rest().is_empty() { Err(self.misfit("it ends inside a value", None)) } else { Ok(()) }
    }

    /// Reads the next chunk if this one is used up; there is none at the end.
    fn fill(&mut self) -> Result<(), Misfit> {
        if self.at < self.end {
            return Ok(());
        }
        self.mark();
        if let Some((kept, from)) = &mut self.keeping {
            kept.push(self.chunk.get(*from..self.end).unwrap_or_default());
            *from = 0;
        }
        (self.at, self.end, self.counted_to) = (0, 0, 0);
        loop {
            match self.input.read(&mut self.chunk) {
                Ok(bytes) => {
                    self.end = bytes;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
    }
}

/// Skips a byte order mark at the start of `input`; returns how many bytes that were.
pub(crate) fn skip_mark(input: &mut dyn Input) -> io::Result<u64> {
    let mark = "\u{feff}".as_bytes();
    let mut first = Vec::with_capacity(mark.len());
    (&mut *input).take(mark.len() as u64).read_to_end(&mut first)?;
    input.seek(SeekFrom::Start(if first == mark { mark.len() as u64 } else { 0 }))
}

/// Where the text ends whose rest starts here, behind its quote, if it does.
fn end_of_text(rest: &[u8], escaped: &mut bool) -> Option<usize> {
    let mut at = 0;
    loop {
        if std::mem::take(escaped) {
            at += 1;
        }
        let tail = rest.get(at..)?;
        let found = tail.iter().position(|b| matches!(b, b'"' | b'\\'))?;
        at += found + 1;
        if tail.get(found) == Some(&b'"') {
            return Some(at);
        }
        *escaped = true;
        if at == rest.len() {
            return None;
        }
    }
}
