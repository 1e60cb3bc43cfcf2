//! A small client: one request after another on one connection.

use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// More than any small answer and its head.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One small client.
#[derive(Debug)]
pub(super) struct Mouse {
    stream: TcpStream,
    request: Vec<u8>,
    received: Vec<u8>,
    asked: Option<Instant>,
}

impl Mouse {
    /// Connects; nothing is asked yet.
    pub(super) fn connect(target: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(target).with_context(|| target.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: loadtest.example\r\n\r\n").into_bytes();
        Ok(Self { stream, request, received: Vec::new(), asked: None })
    }

    /// Its socket, to be polled.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether an answer is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks; the answer to the request before has come.
    pub(super) fn ask(&mut self) -> Result<()> {
        self.asked = Some(Instant::now());
        // It is the only thing in the socket's buffer, so it fits.
        self.stream.write_all(&self.request).context("a small request could not be sent")
    }

    /// Reads what is there; how long the answer took, if it is whole.
    ///
    /// # Errors
    /// The connection ended, or the answer is not 200.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Result<Option<Duration>> {
        match self.stream.read(scratch) {
            Ok(0) => bail!("a small client's connection was closed"),
            Ok(read) => self.received.extend_from_slice(&scratch[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if !is_whole(&self.received)? {
            return Ok(None);
        }
        self.received.clear();
        Ok(self.asked.take().map(|asked| asked.elapsed()))
    }
}

/// Whether `received` is an answer with 200 and all of its body.
fn is_whole(received: &[u8]) -> Result<bool> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        ensure!(received.len() < ANSWER_BYTES_MAX, "an answer's head does not end");
        return Ok(false);
    };
    let head = std::str::from_utf8(&received[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "a small request was answered {status:?}");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.context("a small answer has no length")?.1.trim().parse()?;
    ensure!(received.len() <= end + 4 + length, "more came than was announced");
    Ok(received.len() == end + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nCONTENT-length: 3\r\n\r\nabc";
        assert!(is_whole(answer).unwrap());
        for end in 0..answer.len() {
            assert!(!is_whole(&answer[..end]).unwrap(), "{end}");
        }
    }

    #[test]
    fn other_answers_are_errors() {
        let answers: [&[u8]; 3] = [
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        ];
        for answer in answers {
            assert!(is_whole(answer).is_err());
        }
    }
}
