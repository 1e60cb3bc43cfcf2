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

/// Flags.
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113, 7).
pub(super) const NO_ERROR: u32 = 0;
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A listener that speaks HTTP/2, in place of the usual one.
pub(super) fn with_h2c(yaml: &str, more: &str) -> String {
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
        let mut block = Vec::new();
        for (name, value) in pseudo.iter().chain(more) {
            // RFC 7541, 6.2.2: a literal without indexing, its name as well.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, flags | END_HEADERS, stream, &block);
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

    /// The status that an answer begins with, if it is in HPACK's static table (RFC 7541, A); 0 for others.
    pub(super) fn status(&mut self) -> u16 {
        let head = self.receive_kind(HEADERS).expect("an answer");
        match head.content[0] {
            0x88 => 200,
            0x89 => 204,
            0x8c => 400,
            0x8d => 404,
            0x8e => 500,
            _ => 0,
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
pub(super) fn with_h2<T>(
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
