//! The PROXY protocol towards origins: each connection begins with whose it is.
//!
//! The header is sent before anything else, TLS included, so Pingora is given a connector that has
//! written it. A connection belongs to one client from then on: the header is a part of the peer's
//! group key. Format: the PROXY protocol's specification, versions 1 and 2.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::connectors::l4::Connect as L4Connect;
use pingora_core::protocols::l4::ext::{connect, connect_uds};
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use pingora_timeout::timeout;
use socket2::SockRef;
use tokio::io::AsyncWriteExt as _;

use super::peer::UNSENT_BYTES;
use crate::config::ProxyProtocol;

/// The bytes that a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whose connection it is: the client's address and the one it has connected to.
pub type Ends = (SocketAddr, SocketAddr);

/// Makes connections to `peer` begin with a header of this version. Without `ends` it says that the
/// gateway itself asks.
pub fn introduce(peer: &mut HttpPeer, version: ProxyProtocol, ends: Option<Ends>) {
    let header = header(version, ends);
    let mut hasher = DefaultHasher::new();
    header.hash(&mut hasher);
    peer.group_key ^= hasher.finish();
    let patience = peer.options.connection_timeout;
    let receive_bytes = peer.options.tcp_recv_buf;
    peer.options.custom_l4 = Some(Arc::new(Connector { header, patience, receive_bytes }));
}

/// The header's bytes.
#[must_use]
pub fn header(version: ProxyProtocol, ends: Option<Ends>) -> Bytes {
    // Both addresses are of one family; those mapped into IPv6 are IPv4.
    let ends = ends.map(|(client, local)| (canonical(client), canonical(local)));
    let ends = ends.filter(|(client, local)| client.is_ipv4() == local.is_ipv4());
    match version {
        ProxyProtocol::V1 => text(ends).into(),
        ProxyProtocol::V2 => binary(ends).into(),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn text(ends: Option<Ends>) -> Vec<u8> {
    let Some((client, local)) = ends else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.port(), local.port());
    format!("PROXY {family} {} {} {from} {to}\r\n", client.ip(), local.ip()).into_bytes()
}

fn binary(ends: Option<Ends>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((client, local)) = ends else {
        // LOCAL, unspecified, nothing more.
        header.extend([0x20, 0, 0, 0]);
        return header;
    };
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut addresses = [octets(client.ip()), octets(local.ip())].concat();
    addresses.extend(client.port().to_be_bytes());
    addresses.extend(local.port().to_be_bytes());
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    header.extend([0x21, family]);
    // 12 or 36.
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

/// Connects and writes the header.
#[derive(Debug)]
struct Connector {
    header: Bytes,
    patience: Option<Duration>,
    receive_bytes: Option<usize>,
}

impl Connector {
    async fn begin(&self, address: &PeerAddress) -> Result<Stream> {
        let mut stream: Stream = match address {
            PeerAddress::Inet(address) => {
                let stream = connect(address, None).await?;
                let socket = SockRef::from(&stream);
                if let Some(bytes) = self.receive_bytes {
                    socket.set_recv_buffer_size(bytes).or_err(ErrorType::SocketError, "buffer")?;
                }
                let bounded = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
                bounded.or_err(ErrorType::SocketError, "cannot bound what waits to be sent")?;
                stream.into()
            }
            PeerAddress::Unix(address) => {
                let path = address
                    .as_pathname()
                    .ok_or_else(|| Error::explain(ErrorType::ConnectError, "no path"))?;
                connect_uds(path).await?.into()
            }
        };
        stream.write_all(&self.header).await.or_err(ErrorType::ConnectError, "PROXY header")?;
        stream.flush().await.or_err(ErrorType::ConnectError, "PROXY header")?;
        Ok(stream)
    }
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &PeerAddress) -> Result<Stream> {
        let connecting = self.begin(address);
        let Some(patience) = self.patience else { return connecting.await };
        timeout(patience, connecting)
            .await
            .map_err(|late| Error::because(ErrorType::ConnectTimedout, "connecting", late))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, local: &str) -> Option<Ends> {
        Some((client.parse().unwrap(), local.parse().unwrap()))
    }

    #[test]
    fn version_1_is_a_line() {
        for (ends, line) in [
            (ends("192.0.2.1:5", "192.0.2.2:80"), "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n"),
            (
                ends("[::ffff:192.0.2.1]:5", "192.0.2.2:80"),
                "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n",
            ),
            (ends("[2001:db8::1]:5", "[::2]:80"), "PROXY TCP6 2001:db8::1 ::2 5 80\r\n"),
            (ends("[2001:db8::1]:5", "192.0.2.2:80"), "PROXY UNKNOWN\r\n"),
            (None, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(header(ProxyProtocol::V1, ends), line);
        }
    }

    #[test]
    fn version_2_has_addresses_and_ports_in_network_order() {
        let v4 = header(ProxyProtocol::V2, ends("192.0.2.1:258", "192.0.2.2:80"));
        assert_eq!(v4[..12], *SIGNATURE);
        assert_eq!(v4[12..], [0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 0, 80]);
        let v6 = header(ProxyProtocol::V2, ends("[::1]:1", "[::2]:2"));
        assert_eq!((v6.len(), &v6[12..16]), (16 + 36, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(header(ProxyProtocol::V2, None)[12..], [0x20, 0, 0, 0]);
    }
}
