//! Statistics for CloudWatch, in its embedded metric format: JSON records to the CloudWatch agent,
//! over UDP or TCP.
//!
//! Series with the same attributes share a record, since a record has one set of dimensions. No
//! record has more than 100 metrics, 100 values of one, or 30 dimensions; what is more becomes
//! another record, or, with dimensions, cannot be said. Distributions kept as a sketch are written
//! as values with counts, the form in which the OpenTelemetry collector writes them as well.
//!
//! Source: the format's specification and JSON schema in the CloudWatch user guide.

use std::sync::Arc;

use super::{
    batch::Batch,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
    net::{
        Address, LinkConfig,
        datagram::{Datagrams, UDP_BYTES_MAX},
        stream::Streams,
    },
};

mod record;

use self::record::Records;

/// What CloudWatch Logs takes as one event, less what it adds.
const TCP_RECORD_BYTES: usize = 250_000;

/// An agent that takes embedded metrics.
#[derive(Debug, Clone)]
pub struct EmfConfig {
    /// Where it is: UDP or TCP, port 25888 by default there.
    pub address: Address,
    /// The metrics' namespace, 1 to 255 characters; others than CloudWatch allows become `_`.
    pub namespace: String,
    /// Dimensions of every metric.
    pub dimensions: Vec<(String, String)>,
    /// The log group the agent is to write to; its own choice by default.
    pub log_group: Option<String>,
    /// The log stream in it.
    pub log_stream: Option<String>,
    /// Whether CloudWatch is to store by the second. Costs more there.
    pub high_resolution: bool,
    /// A record's length in bytes at most; `None` for what the link carries.
    pub record_bytes_max: Option<usize>,
    /// Sockets and names.
    pub link: LinkConfig,
}

impl EmfConfig {
    /// The defaults, an address and a namespace.
    pub fn new(address: Address, namespace: impl Into<String>) -> Self {
        Self {
            address,
            namespace: namespace.into(),
            dimensions: Vec::new(),
            log_group: None,
            log_stream: None,
            high_resolution: false,
            record_bytes_max: None,
            link: LinkConfig::default(),
        }
    }

    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            Ok(Box::new(EmfExporter::new(&self)))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

#[derive(Debug)]
struct EmfExporter {
    records: Records,
    bytes_max: usize,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Datagrams(Datagrams),
    Streams(Streams),
}

impl EmfExporter {
    fn new(config: &EmfConfig) -> Self {
        let link = config.link.clone();
        let (usual, link) = match &config.address {
            Address::Tcp(host, port) => {
                (TCP_RECORD_BYTES, Link::Streams(Streams::new(host, *port, link)))
            }
            // A record is a kilobyte or two, and the agent beside us: fragments are no matter.
            other => (UDP_BYTES_MAX, Link::Datagrams(Datagrams::new(other, link))),
        };
        let bytes_max = config.record_bytes_max.unwrap_or(usual).clamp(512, TCP_RECORD_BYTES);
        Self { records: Records::new(config), bytes_max, link }
    }
}

impl Exporter for EmfExporter {
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { records, bytes_max, link } = self;
        // The protocol has no events.
        tally.unsayable += batch.events().len() as u64;
        for record in records.of(batch, *bytes_max, tally) {
            let mut line = record.json;
            line.push(b'\n');
            match link {
                Link::Datagrams(datagrams) => datagrams.send(&line)?,
                Link::Streams(streams) => streams.send(&line)?,
            }
            tally.points += record.points;
            tally.bytes += line.len() as u64;
            tally.sends += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
