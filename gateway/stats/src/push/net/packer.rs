//! The packing of messages into datagrams.

use super::Address;
use crate::push::exporter::{ExportError, Tally};

/// What a datagram over Ethernet carries: 1,500 less the headers of IPv6 and UDP, and a little for
/// tunnels.
const UDP_BYTES: usize = 1_432;
/// What Datadog's agent reads from a Unix socket at once.
const UNIX_BYTES: usize = 8_192;
/// What the link to `address` usually carries at once.
pub(in crate::push) fn usual_bytes(address: &Address) -> usize {
    match address {
        Address::Unix(_) => UNIX_BYTES,
        Address::Udp(..) | Address::Tcp(..) => UDP_BYTES,
    }
}

/// Puts whole messages into datagrams, with a line feed between them.
#[derive(Debug)]
pub(in crate::push) struct Packer {
    buffer: Vec<u8>,
    bytes_max: usize,
    /// Points whose last message is in the buffer.
    points: u64,
}

impl Packer {
    pub(in crate::push) fn new(bytes_max: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes_max), bytes_max, points: 0 }
    }

    /// A message's length at most.
    pub(in crate::push) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Adds a message, sending what was there if they do not fit together. `false` if it is too
    /// long for any datagram.
    pub(in crate::push) fn add(
        &mut self,
        message: &[u8],
        tally: &mut Tally,
        send: impl FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<bool, ExportError> {
        if message.len() > self.bytes_max {
            return Ok(false);
        }
        if !self.buffer.is_empty() && self.buffer.len() + 1 + message.len() > self.bytes_max {
            self.finish(tally, send)?;
        }
        if !self.buffer.is_empty() {
            self.buffer.push(b'\n');
        }
        self.buffer.extend_from_slice(message);
        Ok(true)
    }

    /// A point's last message has been added.
    pub(in crate::push) fn point(&mut self) {
        self.points += 1;
    }

    /// Sends what is there.
    pub(in crate::push) fn finish(
        &mut self,
        tally: &mut Tally,
        mut send: impl FnMut(&[u8]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let points = std::mem::take(&mut self.points);
        if self.buffer.is_empty() {
            return Ok(());
        }
        let sent = send(&self.buffer);
        let bytes = self.buffer.len() as u64;
        // Whatever happened to it, it is not sent a second time.
        self.buffer.clear();
        sent?;
        tally.points += points;
        tally.bytes += bytes;
        tally.sends += 1;
        Ok(())
    }

    /// Forgets what is there, after an error.
    pub(in crate::push) fn clear(&mut self) {
        self.buffer.clear();
        self.points = 0;
    }
}
