//! A few TCP streams to one receiver, used in turns.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{LinkConfig, Name};
use crate::push::exporter::ExportError;

/// Streams, connected when they are needed.
#[derive(Debug)]
pub(in crate::push) struct Streams {
    link: LinkConfig,
    name: Name,
    streams: Vec<TcpStream>,
    connected: Option<SocketAddr>,
    next: usize,
}

impl Streams {
    pub(in crate::push) fn new(host: &str, port: u16, link: LinkConfig) -> Self {
        let name = Name::new(host, port);
        Self { link, name, streams: Vec::new(), connected: None, next: 0 }
    }

    /// Writes `bytes` whole within the deadline. After an error all streams are made anew, since
    /// the receiver cannot tell where the next record begins.
    pub(in crate::push) fn send(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.connect()?;
        self.next = (self.next + 1) % self.streams.len();
        write_until(&mut self.streams[self.next], bytes, self.link.deadline).map_err(|error| {
            self.streams.clear();
            self.name.failed();
            ExportError::Send(error)
        })
    }

    fn connect(&mut self) -> Result<(), ExportError> {
        let address = self.name.address(&self.link)?;
        if self.connected != Some(address) {
            self.connected = Some(address);
            self.streams.clear();
        }
        while self.streams.len() < self.link.sockets.clamp(1, 64) {
            let deadline = self.link.deadline.max(Duration::from_millis(1));
            let stream = TcpStream::connect_timeout(&address, deadline);
            let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
            let stream = stream.map_err(|source| {
                self.name.failed();
                ExportError::Connect { address: address.to_string(), source }
            })?;
            self.streams.push(stream);
        }
        Ok(())
    }
}

/// A receiver that reads a little now and then would stretch a deadline for each write without end.
fn write_until(stream: &mut TcpStream, bytes: &[u8], deadline: Duration) -> io::Result<()> {
    let started = Instant::now();
    let mut left = bytes;
    while !left.is_empty() {
        let time = deadline.saturating_sub(started.elapsed());
        if time.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(time))?;
        match stream.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
