//! An origin of bodies: so many bytes down, and how many came up.
//!
//! `GET /bytes/N` is answered with N bytes, and a request with a body with how many bytes of it
//! arrived; the field `x-size` names the size asked for or announced, so that a script can tell which
//! request an answer belongs to. One thread a connection; HTTP as the gateway speaks it to origins:
//! bodies have a length.

use crate::process::free_address;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The largest body down, so that a request cannot ask for all memory.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A listening origin; dropping it ends the listening.
#[derive(Debug)]
pub struct Bodies {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Bodies {
    /// Listens on a free port of loopback. With `short`, bodies down lack a byte and one too few is
    /// counted of those up.
    ///
    /// # Errors
    /// There is none, or no thread can be started.
    pub fn start(short: bool) -> Result<Self> {
        Self::listen(free_address()?, short)
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// It is taken, or no thread can be started.
    pub fn listen(address: SocketAddr, short: bool) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| address.to_string())?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        thread::Builder::new().name("bodies".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(std::result::Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that fails has a gateway at its other end that says so.
                thread::spawn(move || serve(stream, short).ok());
            }
        })?;
        Ok(Self { address, ended })
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; where nobody accepts any more there is nobody to wake.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, short: bool) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let received = copy(&mut (&mut reader).take(request.length), &mut sink())?;
        ensure!(received == request.length, "the body ended early");
        writer.write_all(&request.answer(received, short))?;
    }
    Ok(())
}

/// What of a request's head matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    path: String,
    length: u64,
    size: String,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Self { path, ..Self::default() };
        loop {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "the head does not end");
            match line.trim_end().split_once(':') {
                None => return Ok(Some(request)),
                Some((name, value)) => request.field(name, value.trim())?,
            }
        }
    }

    fn field(&mut self, name: &str, value: &str) -> Result<()> {
        if name.eq_ignore_ascii_case("content-length") {
            self.length = value.parse()?;
        }
        if name.eq_ignore_ascii_case("x-size") {
            value.clone_into(&mut self.size);
        }
        Ok(())
    }

    fn answer(&self, received: u64, short: bool) -> Vec<u8> {
        let less = usize::from(short);
        match self.path.strip_prefix("/bytes/").map(str::parse::<usize>) {
            Some(Ok(size)) if size <= BYTES_MAX => {
                answer(&size.to_string(), &vec![b'x'; size.saturating_sub(less)])
            }
            _ => {
                let counted = received.saturating_sub(less as u64);
                answer(&self.size, format!("received {counted}\n").as_bytes())
            }
        }
    }
}

fn answer(size: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nx-size: {size}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;

    #[test]
    fn so_many_bytes_come_down() {
        let origin = Bodies::start(false).unwrap();
        let mut client = Client::connect(origin.address).unwrap();
        for size in [0, 1, 65_536] {
            assert_eq!(client.fetch(&format!("/bytes/{size}")).unwrap(), vec![b'x'; size]);
        }
        let short = Bodies::start(true).unwrap();
        let mut client = Client::connect(short.address).unwrap();
        assert_eq!(client.fetch("/bytes/10").unwrap().len(), 9);
    }

    #[test]
    fn what_came_up_is_counted_and_the_size_said_again() {
        let head = "POST /upload HTTP/1.1\r\nX-Size: 3\r\nContent-Length: 3\r\n\r\n";
        let mut reader = head.as_bytes();
        let request = Request::read(&mut reader).unwrap().unwrap();
        let expected = Request { path: "/upload".to_owned(), length: 3, size: "3".to_owned() };
        assert_eq!(request, expected);
        let answer = String::from_utf8(request.answer(3, false)).unwrap();
        assert!(answer.contains("x-size: 3\r\n") && answer.ends_with("received 3\n"), "{answer}");
        assert!(String::from_utf8(request.answer(3, true)).unwrap().ends_with("received 2\n"));
    }

    #[test]
    fn a_head_that_ends_early_is_an_error() {
        assert!(Request::read(&mut "GET / HTTP/1.1\r\nHost: a\r\n".as_bytes()).is_err());
        assert_eq!(Request::read(&mut "".as_bytes()).unwrap(), None);
    }
}
