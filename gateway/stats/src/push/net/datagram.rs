//! A few datagram sockets to one receiver.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
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
        Self { link, to, sockets: Vec::new(), next: 0 }
    }

    /// Sends a datagram. With UDP a refusal is that of the datagram before: this one goes out all
    /// the same, in case the receiver is back, and the refusal is reported.
    pub(in crate::push) fn send(&mut self, datagram: &[u8]) -> Result<(), ExportError> {
        self.connect()?;
        self.next = (self.next + 1) % self.sockets.len();
        let socket = &self.sockets[self.next];
        let Err(error) = socket.send(datagram) else { return Ok(()) };
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        match socket {
            // The socket is kept: its next refusal tells what becomes of this one.
            Socket::Udp(socket) if refused => drop(socket.send(datagram)),
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
