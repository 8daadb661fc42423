//! Asks a running agent at its admin socket: HTTP/1.1 over a unix socket, one question per connection. Not a general
//! client: it knows only as much of HTTP as the agent's answers need.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// No answer takes longer on a machine that is not stuck.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where to ask.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("the agent's answer is not JSON: {}", self.text))
    }
}

impl Admin {
    /// For an agent with `--admin unix:SOCKET`.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks.
    ///
    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub fn post(&self, path: &str) -> Result<Answer> {
        self.ask("POST", path)
    }

    /// Asks, and expects success and JSON.
    ///
    /// # Errors
    /// As [`Admin::get`], or any other status than 200.
    pub fn value(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "the agent answers {path} with {}: {}", answer.status, answer.text.trim());
        answer.json()
    }

    fn ask(&self, method: &str, path: &str) -> Result<Answer> {
        self.exchange(method, path).with_context(|| format!("{method} {path} at {}", self.socket.display()))
    }

    fn exchange(&self, method: &str, path: &str) -> Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket).context("nobody listens")?;
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        let question =
            format!("{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes())?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).context("the answer does not end")?;
        let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        ensure!(!head.to_ascii_lowercase().contains("transfer-encoding"), "the answer comes in chunks");
        Ok(Answer { status, text: body.to_owned() })
    }
}
