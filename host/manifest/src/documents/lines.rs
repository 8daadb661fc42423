//! The lines of a text that is not in memory, with a way back.

use std::io::{self, SeekFrom};

use crate::json::{Input, skip_mark};

/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// A place in a file, at the start of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    /// From 1.
    pub(super) line: usize,
}

/// The lines of a file, one at a time.
pub(super) struct Lines<'a> {
    input: &'a mut dyn Input,
    chunk: Box<[u8]>,
    at: usize,
    end: usize,
    /// Where this line starts.
    pub(super) start: Mark,
    /// This line with its break: LF, CR LF, or a lone CR, which YAML counts too. At most so much of it.
    pub(super) line: Vec<u8>,
    pub(super) line_bytes: usize,
    bytes_max: usize,
    /// This line is also the next one.
    is_held: bool,
    next: Mark,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn Input, bytes_max: usize) -> io::Result<Self> {
        // A byte order mark does not show.
        let start = Mark { offset: skip_mark(input)?, line: 1 };
        let (chunk, line) = (vec![0; CHUNK].into_boxed_slice(), Vec::new());
        Ok(Self { input, chunk, at: 0, end: 0, start, line, line_bytes: 0, bytes_max, is_held: false, next: start })
    }

    /// Where the next line starts.
    pub(super) fn mark(&self) -> Mark {
        if self.is_held { self.start } else { self.next }
    }

    pub(super) fn unread(&mut self) {
        self.is_held = true;
    }

    pub(super) fn go_to(&mut self, mark: Mark) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(mark.offset))?;
        (self.at, self.end, self.is_held, self.next) = (0, 0, false, mark);
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        self.chunk.get(self.at..self.end).unwrap_or_default()
    }

    /// Reads the next line; false at the end.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_held) {
            return Ok(true);
        }
        self.start = self.next;
        self.line.clear();
        self.line_bytes = 0;
        while self.fill()? {
            let found = self.rest().iter().position(|b| matches!(b, b'\n' | b'\r'));
            let Some(at) = found else {
                self.take(self.rest().len());
                continue;
            };
            let is_return = self.rest().get(at) == Some(&b'\r');
            self.take(at + 1);
            if is_return && self.fill()? && self.rest().first() == Some(&b'\n') {
                self.take(1);
            }
            self.next.line += 1;
            break;
        }
        Ok(self.line_bytes > 0)
    }

    fn take(&mut self, count: usize) {
        let taken = self.chunk.get(self.at..self.at + count).unwrap_or_default();
        let room = self.bytes_max.saturating_sub(self.line.len());
        self.line.extend_from_slice(taken.get(..room).unwrap_or(taken));
        self.line_bytes += count;
        self.next.offset += count as u64;
        self.at += count;
    }

    /// Reads the next chunk if this one is used up; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        while self.at == self.end {
            (self.at, self.end) = (0, 0);
            match self.input.read(&mut self.chunk) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.end = bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
