//! A keep-alive client of one connection, for what `wrk` cannot do.
//!
//! It checks that a proxy passes on the origin's answer before any load is put on it, and it holds
//! the connections whose memory is measured. It understands just as much HTTP as the origin of these
//! tests speaks: a status line, headers, and a body with a length.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any proxy adds to the origin's handful of headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One connection to one server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of that name, in whatever case.
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

impl Client {
    /// Connects; reads and writes give up after five seconds.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// The body that `GET path` is answered with; the connection stays open.
    ///
    /// # Errors
    /// Anything but a 200 with a length and that many bytes.
    pub fn fetch(&mut self, path: &str) -> Result<Vec<u8>> {
        let answer = self.ask(path)?;
        ensure!(answer.status == 200, "answered with {}", answer.status);
        Ok(answer.body)
    }

    /// The whole answer to `GET path`; the connection stays open.
    ///
    /// # Errors
    /// No answer, or one without a length and that many bytes.
    pub fn ask(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: loadtest.example\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        let (head, mut body) = self.read_head()?;
        let status = status(&head)?;
        let length_bytes = body_bytes(&head)?;
        ensure!(body.len() <= length_bytes, "more came than the head announced");
        let missing = length_bytes - body.len();
        let read = (&mut self.stream).take(missing as u64).read_to_end(&mut body)?;
        ensure!(read == missing, "the body ended {} bytes early", missing - read);
        Ok(Answer { status, head, body })
    }

    /// The head, and what came with it of the body.
    fn read_head(&mut self) -> Result<(String, Vec<u8>)> {
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the connection was closed");
            received.extend_from_slice(&chunk[..read]);
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = received.split_off(end + 4);
                return Ok((String::from_utf8(received)?, body));
            }
            ensure!(received.len() < HEAD_BYTES_MAX, "the head does not end");
        }
    }
}

fn status(head: &str) -> Result<u16> {
    let line = head.lines().next().unwrap_or_default();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.with_context(|| format!("answered {line:?}"))
}

fn body_bytes(head: &str) -> Result<usize> {
    let length = field(head, "content-length").context("the answer has no length")?;
    Ok(length.parse()?)
}

fn field<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answering(answer: &'static [u8]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            while stream.read(&mut request).unwrap() > 0 {
                stream.write_all(answer).unwrap();
            }
        });
        Client::connect(address).unwrap()
    }

    #[test]
    fn one_connection_serves_several_requests() {
        let mut client = answering(b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc");
        assert_eq!(client.fetch("/").unwrap(), b"abc");
        assert_eq!(client.fetch("/").unwrap(), b"abc");
    }

    #[test]
    fn an_answer_has_a_status_and_fields() {
        let mut client = answering(b"HTTP/1.1 429 Slow\r\nX-Seen: b\r\nContent-Length: 0\r\n\r\n");
        let answer = client.ask("/").unwrap();
        assert_eq!((answer.status, answer.field("x-seen")), (429, Some("b")));
        assert_eq!(answer.field("x-origin"), None);
    }

    #[test]
    fn other_statuses_and_missing_lengths_are_errors() {
        let mut refusing = answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
        assert!(refusing.fetch("/").unwrap_err().to_string().contains("502"));
        assert!(answering(b"HTTP/1.1 200 OK\r\n\r\n").fetch("/").is_err());
    }
}
