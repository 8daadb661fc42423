//! The question and the answer of a connection: a line each.

use std::io::Read;
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};

/// Far more than the longest of either.
const LINE_BYTES_MAX: usize = 128;

/// Reads up to the end of a line and not behind it. The line end is included.
pub(crate) fn read_line(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        ensure!(line.len() < LINE_BYTES_MAX, "a line of more than {LINE_BYTES_MAX} bytes");
        ensure!(from.read(&mut byte).context("no line")? == 1, "the connection ended before a line did");
        line.extend(byte);
    }
    Ok(line)
}

/// What a client asks: its own number of the connection.
pub(crate) fn question(connection: u64) -> Vec<u8> {
    format!("{connection}\n").into_bytes()
}

/// The other way.
pub(crate) fn read_question(line: &[u8]) -> Result<u64> {
    Ok(std::str::from_utf8(line)?.trim_end().parse()?)
}

/// What the server answers: the number, and who it saw.
pub(crate) fn answer(connection: u64, via: IpAddr) -> Vec<u8> {
    format!("{connection} {via}\n").into_bytes()
}

/// The other way.
pub(crate) fn read_answer(line: &[u8]) -> Result<(u64, IpAddr)> {
    let text = std::str::from_utf8(line)?;
    let (connection, via) = text.trim_end().split_once(' ').with_context(|| format!("not an answer: {text:?}"))?;
    Ok((connection.parse()?, via.parse()?))
}
