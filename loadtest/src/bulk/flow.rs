//! One download on one connection.

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrV4, SocketFlags, SocketType, bind, connect,
    recv, send, socket_with, sockopt,
};
use socket2::SockRef;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// More than any proxy adds to the origin's handful of headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a TCP segment carries over Ethernet, with timestamps.
const ETHERNET_MSS: u32 = 1448;

/// A download that begins anew, on the same connection, whenever it is through.
#[derive(Debug)]
pub struct Flow {
    socket: OwnedFd,
    request: Vec<u8>,
    head: Vec<u8>,
    /// What is missing of the object; none while its head is.
    missing: Option<u64>,
}

impl Flow {
    /// Connects, from `source` if given, and asks for `path`; nothing is read yet.
    ///
    /// `receive_buffer` bounds what the kernel takes in before it is read; without it the kernel decides.
    ///
    /// # Errors
    /// There is no connection, or the request did not fit into it.
    pub fn open(
        target: SocketAddr,
        source: Option<Ipv4Addr>,
        path: &str,
        receive_buffer: Option<usize>,
    ) -> Result<Self> {
        let socket = socket(target, source, receive_buffer)?;
        connect(&socket, &target).with_context(|| target.to_string())?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: loadtest.example\r\n\r\n").into_bytes();
        let flow = Self { socket, request, head: Vec::new(), missing: None };
        flow.ask()?;
        Ok(flow)
    }

    /// Its socket, to be polled.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads and forgets up to `at_most` bytes of the object; 0 if none has come.
    ///
    /// `scratch` is where heads are read into; an object's bytes never get there.
    ///
    /// # Errors
    /// The connection ended, or what came is no answer with 200 and a length.
    pub fn take(&mut self, at_most: usize, scratch: &mut [u8]) -> Result<usize> {
        let Some(missing) = self.missing else { return self.read_head(scratch) };
        let wanted = at_most.min(scratch.len()).min(usize::try_from(missing).unwrap_or(at_most));
        let taken = match recv(&self.socket, &mut scratch[..wanted], RecvFlags::TRUNC) {
            Ok((_, 0)) => bail!("a download ended early"),
            Ok((_, taken)) => taken,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error).context("a download ended early"),
        };
        self.count(taken)?;
        Ok(taken)
    }

    /// The head is looked at before it is taken, so that the object's first bytes stay in the kernel.
    fn read_head(&mut self, scratch: &mut [u8]) -> Result<usize> {
        let room = HEAD_BYTES_MAX.min(scratch.len());
        let there = match recv(&self.socket, &mut scratch[..room], RecvFlags::PEEK) {
            Ok((0, _)) => bail!("the connection was closed"),
            Ok((there, _)) => there,
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let from = self.head.len();
        self.head.extend_from_slice(&scratch[..there]);
        let end = self.head.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        ensure!(end.is_some() || self.head.len() < HEAD_BYTES_MAX, "a head does not end");
        let taken = end.unwrap_or(self.head.len()) - from;
        recv(&self.socket, &mut scratch[..taken], RecvFlags::empty())?;
        if let Some(end) = end {
            self.missing = Some(length(std::str::from_utf8(&self.head[..end])?)?);
            self.head.clear();
        }
        Ok(0)
    }

    fn count(&mut self, taken: usize) -> Result<()> {
        let missing = self.missing.unwrap_or(0).saturating_sub(taken as u64);
        self.missing = Some(missing);
        if missing == 0 {
            self.missing = None;
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&self) -> Result<()> {
        let sent = send(&self.socket, &self.request, SendFlags::NOSIGNAL)?;
        ensure!(sent == self.request.len(), "a request was sent in part");
        Ok(())
    }
}

fn socket(
    target: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
) -> Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(bytes) = receive_buffer {
        // Before connecting: the window's scale is settled then.
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        // Segments as over a network: loopback's of 64 KiB open the window in a few large steps.
        SockRef::from(&socket).set_tcp_mss(ETHERNET_MSS)?;
    }
    if let Some(source) = source {
        bind(&socket, &SocketAddrV4::new(source, 0))?;
    }
    Ok(socket)
}

/// The length of the object that this head announces.
fn length(head: &str) -> Result<u64> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "answered {status:?}");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: u64 = length.context("the answer has no length")?.1.trim().parse()?;
    ensure!(length > 0, "the object is empty");
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers every request that comes with `answer`, on one connection.
    fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            while stream.read(&mut request).unwrap_or(0) > 0 {
                stream.write_all(answer).unwrap();
            }
        });
        address
    }

    fn read(flow: &mut Flow, bytes: usize) -> Result<()> {
        let (mut scratch, mut read) = (vec![0; 4096], 0);
        while read < bytes {
            let taken = flow.take(bytes - read, &mut scratch)?;
            read += taken;
            if taken == 0 {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    #[test]
    fn a_download_goes_on_after_its_object() {
        let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
        let source = Some(Ipv4Addr::new(127, 0, 0, 9));
        let mut flow = Flow::open(address, source, BULK, Some(65_536)).unwrap();
        read(&mut flow, 35).unwrap();
        assert_eq!(flow.missing, Some(5));
    }

    #[test]
    fn what_is_read_is_not_copied() {
        let address = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd");
        let mut flow = Flow::open(address, None, BULK, None).unwrap();
        let mut scratch = vec![0; 4096];
        while flow.missing.is_none() {
            flow.take(1, &mut scratch).unwrap();
        }
        scratch.fill(0);
        while flow.take(3, &mut scratch).unwrap() == 0 {}
        assert!(scratch.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn other_answers_are_errors() {
        let refusing = answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n");
        let error = read(&mut Flow::open(refusing, None, BULK, None).unwrap(), 1).unwrap_err();
        assert!(error.to_string().contains("502"), "{error}");
        let endless = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(read(&mut Flow::open(endless, None, BULK, None).unwrap(), 1).is_err());
    }

    const BULK: &str = super::super::BULK;
}
