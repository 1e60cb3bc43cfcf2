//! A few datagram sockets to one receiver.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::Duration,
};

use super::{Address, LinkConfig, Name};
use crate::push::exporter::ExportError;

/// The most that UDP can carry.
pub(in crate::push) const UDP_BYTES_MAX: usize = 65_507;

/// Sockets, connected when they are needed.
#[derive(Debug)]
pub(in crate::push) struct Datagrams {
    link: LinkConfig,
    to: To,
    sockets: Vec<Socket>,
    next: usize,
    /// Whether the last datagram over UDP was refused.
    refused: bool,
}

#[derive(Debug)]
enum To {
    Name(Name, Option<SocketAddr>),
    Path(PathBuf),
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// Sockets to `address`; one that wants TCP is taken as UDP.
    pub(in crate::push) fn new(address: &Address, link: LinkConfig) -> Self {
        let to = match address {
            Address::Udp(host, port) | Address::Tcp(host, port) => {
                To::Name(Name::new(host, *port), None)
            }
            Address::Unix(path) => To::Path(path.clone()),
        };
        Self { link, to, sockets: Vec::new(), next: 0, refused: false }
    }

    /// Sends a datagram. A refusal that UDP reports is that of a datagram before, perhaps of long ago:
    /// this one is sent all the same, and it has failed only if it is refused in its turn. From then
    /// on each is waited for, until one is not refused.
    pub(in crate::push) fn send(&mut self, datagram: &[u8]) -> Result<(), ExportError> {
        self.connect()?;
        self.next = (self.next + 1) % self.sockets.len();
        let socket = &self.sockets[self.next];
        let error = match socket {
            Socket::Udp(_) if self.refused => io::ErrorKind::ConnectionRefused.into(),
            socket => match socket.send(datagram) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
        };
        match socket {
            Socket::Udp(socket) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.refused = is_refused(socket, datagram, self.link.deadline);
                if !self.refused {
                    return Ok(());
                }
            }
            _ => self.sockets.clear(),
        }
        if let To::Name(name, _) = &mut self.to {
            name.failed();
        }
        Err(ExportError::Send(error))
    }

    fn connect(&mut self) -> Result<(), ExportError> {
        if let To::Name(name, connected) = &mut self.to {
            let address = name.address(&self.link)?;
            if *connected != Some(address) {
                *connected = Some(address);
                self.sockets.clear();
            }
        }
        while self.sockets.len() < self.link.sockets.clamp(1, 64) {
            let socket = self.to.socket(&self.link).map_err(|source| {
                let address = self.to.describe();
                if let To::Name(name, _) = &mut self.to {
                    name.failed();
                }
                ExportError::Connect { address, source }
            })?;
            self.sockets.push(socket);
        }
        Ok(())
    }
}

/// Sends a datagram and waits for its refusal, which comes within a round trip if it comes at all.
fn is_refused(socket: &UdpSocket, datagram: &[u8], deadline: Duration) -> bool {
    /// A round trip within a region.
    const ROUND_TRIP: Duration = Duration::from_millis(20);
    let wait = ROUND_TRIP.min(deadline).max(Duration::from_millis(1));
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if socket.send(datagram).is_err() || socket.set_read_timeout(Some(wait)).is_err() {
        return true;
    }
    // A receiver that answers is there.
    socket.recv(&mut [0; 1]).is_err_and(|error| refused(&error))
}

impl To {
    fn socket(&self, link: &LinkConfig) -> io::Result<Socket> {
        let deadline = Some(link.deadline.max(std::time::Duration::from_millis(1)));
        match self {
            To::Path(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(deadline)?;
                Ok(Socket::Unix(socket))
            }
            To::Name(_, Some(address)) => {
                let any = match address {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_write_timeout(deadline)?;
                Ok(Socket::Udp(socket))
            }
            To::Name(_, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn describe(&self) -> String {
        match self {
            To::Path(path) => path.display().to_string(),
            To::Name(name, Some(address)) => format!("{} ({address})", name.host),
            To::Name(name, None) => name.host.clone(),
        }
    }
}

impl Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.send(datagram),
            Socket::Unix(socket) => socket.send(datagram),
        }
    }
}
