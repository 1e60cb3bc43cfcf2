//! A client that sends exactly the frames it is told, and one that knows the protocol.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::support::{Client, PATIENCE};

/// Frame types (RFC 9113, 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Flags.
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

/// Error codes (RFC 9113, 7).
pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const CANCEL: u32 = 8;
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A listener that speaks HTTP/2, in place of the usual one.
pub(crate) fn with_h2c(yaml: &str, more: &str) -> String {
    let with = format!("address: 127.0.0.1:0, h2c: true{more} }}\nadmin");
    let changed = yaml.replacen("address: 127.0.0.1:0 }\nadmin", &with, 1);
    assert_ne!(changed, yaml);
    changed
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) content: Vec<u8>,
}

impl Frame {
    /// The status of an answer whose head this is. Of those that a connection repeats, the first may be asked for.
    pub(super) fn status(&self) -> u16 {
        match self.content[0] {
            // RFC 7541, A: those in the static table.
            index @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(index) - 0x88],
            // RFC 7541, B: three digits of five bits up to 2, and of six from there on.
            _ => {
                assert_eq!(self.content[1] & 0x80, 0x80, "{:?}", self.content);
                let bits = self.content[2..]
                    .iter()
                    .flat_map(|byte| (0..8).rev().map(move |place| u16::from(byte >> place & 1)));
                let (mut status, mut digits, mut code, mut length) = (0, 0, 0, 0);
                for bit in bits {
                    (code, length) = (code << 1 | bit, length + 1);
                    let digit = match (length, code) {
                        (5, 0..=2) => code,
                        (6, 0x19..=0x1f) => code - 0x19 + 3,
                        _ => continue,
                    };
                    (status, digits, code, length) = (status * 10 + digit, digits + 1, 0, 0);
                    if digits == 3 {
                        break;
                    }
                }
                status
            }
        }
    }
}

/// Fields as literals without indexing, their names as well (RFC 7541, 6.2.2).
pub(super) fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    for (name, value) in fields {
        section.push(0);
        for text in [name, value] {
            section.push(u8::try_from(text.len()).unwrap());
            section.extend(text.as_bytes());
        }
    }
    section
}

/// A connection that was greeted.
pub(super) struct Frames(TcpStream);

impl Frames {
    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::connect_from(Ipv4Addr::LOCALHOST, address)
    }

    pub(super) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let mut client = Client::connect_from(source, address);
        let stream = client.stream().try_clone().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut frames = Self(stream);
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Whether there was somebody to write to.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) -> bool {
        let mut bytes = (content.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(content);
        self.write(&bytes)
    }

    /// Begins a request of these fields beside its pseudo-fields.
    pub(super) fn request(&mut self, stream: u32, method: &str, flags: u8, more: &[(&str, &str)]) {
        let pseudo =
            [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "x.test")];
        let fields: Vec<_> = pseudo.iter().chain(more).copied().collect();
        self.send(HEADERS, flags | END_HEADERS, stream, &section(&fields));
    }

    /// The next frame, unless the connection ends before.
    pub(super) fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut content).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), content })
    }

    /// The next frame of this kind.
    pub(super) fn receive_kind(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.receive()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The status that the next answer begins with.
    pub(super) fn status(&mut self) -> u16 {
        self.receive_kind(HEADERS).expect("an answer").status()
    }

    /// The error code of the RST_STREAM that `stream` ends with; `None` if the connection ends before.
    pub(super) fn reset(&mut self, stream: u32) -> Option<u32> {
        loop {
            let frame = self.receive_kind(RST_STREAM)?;
            if frame.stream == stream {
                return Some(u32::from_be_bytes(frame.content[..4].try_into().unwrap()));
            }
        }
    }

    /// The error code of the GOAWAY that the connection ends with; `None` if it ends without.
    pub(super) fn goodbye(&mut self) -> Option<u32> {
        let frame = self.receive_kind(GOAWAY)?;
        let code = u32::from_be_bytes(frame.content[4..8].try_into().unwrap());
        while self.receive().is_some() {}
        Some(code)
    }

    /// The value of the setting with this number.
    pub(super) fn setting(&mut self, number: u16) -> Option<u32> {
        let settings = self.receive_kind(SETTINGS)?;
        let mut entries = settings.content.chunks(6);
        let entry = entries.find(|entry| entry[..2] == number.to_be_bytes())?;
        Some(u32::from_be_bytes(entry[2..].try_into().unwrap()))
    }
}

/// Calls `exchange` with a client of the h2 crate.
pub(crate) fn with_h2<T>(
    address: SocketAddr,
    exchange: impl AsyncFnOnce(h2::client::SendRequest<bytes::Bytes>) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        tokio::time::timeout(PATIENCE, exchange(client)).await.expect("in time")
    })
}
