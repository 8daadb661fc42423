//! Asks a running agent at its admin address. Not an HTTP client: one question in HTTP/1.0, whose answer ends with the
//! connection, so that there are no chunks to put together. Whether it came whole is told by what it holds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::config::AdminAddress;

/// For connecting, and for each pause within an answer. An agent gives up a reader that stops for as long.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Status line and headers.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// What is read of an answer that is a refusal.
const REFUSAL_BYTES_MAX: u64 = 16 << 10;

/// Asks, and returns the answer's body as it comes.
///
/// # Errors
/// Nobody listens there, or the answer is no success; with what it says instead.
pub(crate) fn ask(address: &AdminAddress, path: &str) -> anyhow::Result<impl BufRead + use<>> {
    match address {
        AdminAddress::Unix(socket) => {
            let stream = UnixStream::connect(socket);
            let stream = stream.with_context(|| format!("no agent answers at unix:{}", socket.display()))?;
            stream.set_read_timeout(Some(PAUSE_MAX))?;
            stream.set_write_timeout(Some(PAUSE_MAX))?;
            exchange(Box::new(stream) as Box<dyn Stream>, path)
        }
        AdminAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PAUSE_MAX);
            let stream = stream.with_context(|| format!("no agent answers at {address}"))?;
            stream.set_read_timeout(Some(PAUSE_MAX))?;
            stream.set_write_timeout(Some(PAUSE_MAX))?;
            exchange(Box::new(stream), path)
        }
        AdminAddress::Off => bail!("an agent without admin address cannot be asked: name one with --admin"),
    }
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

fn exchange(mut stream: Box<dyn Stream>, path: &str) -> anyhow::Result<BufReader<Box<dyn Stream>>> {
    let question = format!("GET {path} HTTP/1.0\r\nHost: wayswitch\r\n\r\n");
    stream.write_all(question.as_bytes()).context("the agent does not listen")?;
    let mut answer = BufReader::with_capacity(1 << 16, stream);
    let status = head(&mut answer).context("the agent's answer cannot be read")?;
    if status == 200 {
        return Ok(answer);
    }
    let mut body = Vec::new();
    answer.take(REFUSAL_BYTES_MAX).read_to_end(&mut body).context("the agent's answer cannot be read")?;
    let reason =
        serde_json::from_slice(&body).ok().and_then(|body: Value| body.get("error")?.as_str().map(str::to_owned));
    match (status, reason) {
        (_, Some(reason)) => bail!("the agent refuses: {reason}"),
        (404, None) => bail!("the agent knows nothing of {path}: it is of another version"),
        (status, None) => bail!("the agent answers with status {status}"),
    }
}

/// Reads up to the empty line; returns the status.
fn head(answer: &mut impl BufRead) -> anyhow::Result<u16> {
    let mut head = answer.take(HEAD_BYTES_MAX);
    let mut status = None;
    loop {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line)?;
        ensure!(line.ends_with(b"\n"), "it ends before its body, or has more than {HEAD_BYTES_MAX} bytes before it");
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        match status {
            None => {
                let mut words = line.split(' ');
                ensure!(words.next().is_some_and(|word| word.starts_with("HTTP/1.")), "it is not HTTP");
                status = Some(words.next().and_then(|word| word.parse().ok()).context("it has no status")?);
            }
            Some(status) if line.is_empty() => return Ok(status),
            Some(_) => {
                let is_chunked = line.to_ascii_lowercase().starts_with("transfer-encoding:");
                ensure!(!is_chunked, "it comes in chunks, which was not asked for");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// What comes of an agent that answers this.
    fn asked(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = AdminAddress::Tcp(listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 64];
            let read = stream.read(&mut question).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(question[..read].to_vec()).unwrap()
        });
        let body = ask(&address, "/capture").map(|mut body| {
            let mut text = String::new();
            body.read_to_string(&mut text).unwrap();
            text
        });
        assert!(served.join().unwrap().starts_with("GET /capture HTTP/1.0\r\n"));
        body.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_answer_is_its_body_or_says_why_not() {
        assert_eq!(asked("HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\none\ntwo\n").unwrap(), "one\ntwo\n");
        let refused = asked("HTTP/1.1 503 Busy\r\n\r\n{\"error\":\"ask again\"}").unwrap_err();
        assert_eq!(refused, "the agent refuses: ask again");
        assert!(asked("HTTP/1.0 404 Not Found\r\n\r\n").unwrap_err().contains("another version"));
        assert!(asked("HTTP/1.0 500 No\r\n\r\nx").unwrap_err().contains("status 500"));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let rows = [
            ("", "ends before its body"),
            ("SSH-2.0\r\n", "not HTTP"),
            ("HTTP/1.0 abc\r\n\r\n", "no status"),
            ("HTTP/1.0 200 OK\r\nA: b\r\n", "ends before its body"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "chunks"),
        ];
        for (answer, expected) in rows {
            let error = asked(answer).unwrap_err();
            assert!(error.contains(expected), "{answer:?}: {error}");
        }
    }

    #[test]
    fn nobody_there_is_one_line() {
        let error = ask(&AdminAddress::Unix("/nowhere/admin.sock".into()), "/").err().unwrap();
        assert!(format!("{error:#}").starts_with("no agent answers at unix:/nowhere/admin.sock: "), "{error:#}");
        assert!(ask(&AdminAddress::Off, "/").is_err());
    }
}
