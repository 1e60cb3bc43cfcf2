//! Statistics in datagrams: StatsD as it was first, with tags as Prometheus's statsd_exporter reads
//! them, and as Datadog's agent does.
//!
//! Counters go out as what was added within the window, gauges as their last value, durations in
//! milliseconds, or in seconds as distributions of DogStatsD, distributions value by value: those kept as a sketch as the middle of each bucket
//! with a sample rate that makes up for its count.

use std::sync::Arc;

use super::{
    batch::Batch,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
    net::{
        Address, LinkConfig,
        datagram::{Datagrams, UDP_BYTES_MAX},
        packer::{Packer, usual_bytes},
    },
};

mod event;
mod message;
pub mod origin;
mod text;

use self::message::{Dialect, Messages};

/// How attributes are written in plain StatsD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TagStyle {
    /// As parts of the name, `name.key.value`, for receivers that know no tags.
    #[default]
    InName,
    /// `name:1|c|#key:value`, as Datadog has it.
    DogStatsd,
    /// `name,key=value:1|c`.
    Influx,
    /// `name#key=value:1|c`.
    Librato,
    /// `name[key=value]:1|c`.
    SignalFx,
}

/// A StatsD receiver.
#[derive(Debug, Clone)]
pub struct StatsdConfig {
    /// Where it is: UDP or a Unix datagram socket.
    pub address: Address,
    /// What stands before each name, a dot between.
    pub prefix: String,
    /// How attributes are written.
    pub tags: TagStyle,
    /// A datagram's length in bytes at most; `None` for what the link carries.
    pub datagram_bytes_max: Option<usize>,
    /// Sockets and names.
    pub link: LinkConfig,
}

impl StatsdConfig {
    /// The defaults, and an address.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: String::new(),
            tags: TagStyle::default(),
            datagram_bytes_max: None,
            link: LinkConfig::default(),
        }
    }

    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            Ok(Box::new(StatsdExporter::plain(&self)))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

/// A receiver that speaks DogStatsD.
#[derive(Debug, Clone)]
pub struct DogStatsdConfig {
    /// Where it is: UDP or a Unix datagram socket.
    pub address: Address,
    /// What stands before each name, a dot between.
    pub prefix: String,
    /// Tags of every metric and event.
    pub tags: Vec<(String, String)>,
    /// Whether histograms are sent as distributions, `d`, put together over all hosts by the
    /// receiver, rather than as `h`.
    pub distributions: bool,
    /// Whether counters and gauges carry the time they are of. The receiver then takes them as they
    /// are: good for a relay, and wrong where two senders share a series. Agent 7.40 or later.
    pub timestamps: bool,
    /// What says which container this is, sent as the field `c:`; see [`origin::container_id`].
    pub container_id: Option<String>,
    /// What the admission controller put into `DD_EXTERNAL_ENV`, sent as the field `e:`.
    pub external_data: Option<String>,
    /// A datagram's length in bytes at most; `None` for what the link carries.
    pub datagram_bytes_max: Option<usize>,
    /// Sockets and names.
    pub link: LinkConfig,
}

impl DogStatsdConfig {
    /// The defaults, and an address. Neither container nor external data are looked for.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: String::new(),
            tags: Vec::new(),
            distributions: false,
            timestamps: false,
            container_id: None,
            external_data: None,
            datagram_bytes_max: None,
            link: LinkConfig::default(),
        }
    }

    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            Ok(Box::new(StatsdExporter::dog(&self)))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

/// Sends batches as datagrams.
#[derive(Debug)]
struct StatsdExporter {
    messages: Messages,
    packer: Packer,
    datagrams: Datagrams,
}

impl StatsdExporter {
    fn plain(config: &StatsdConfig) -> Self {
        let dialect = Dialect::plain(config.tags);
        let messages = Messages::new(dialect, &config.prefix);
        Self::new(messages, &config.address, config.datagram_bytes_max, &config.link)
    }

    fn dog(config: &DogStatsdConfig) -> Self {
        let messages = Messages::new(Dialect::dog(config), &config.prefix);
        Self::new(messages, &config.address, config.datagram_bytes_max, &config.link)
    }

    fn new(messages: Messages, address: &Address, max: Option<usize>, link: &LinkConfig) -> Self {
        let bytes_max = max.unwrap_or_else(|| usual_bytes(address)).clamp(64, UDP_BYTES_MAX);
        let datagrams = Datagrams::new(address, link.clone());
        Self { messages, packer: Packer::new(bytes_max), datagrams }
    }

    fn send(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { messages, packer, datagrams } = self;
        let bytes_max = packer.bytes_max();
        for point in batch.points() {
            let mut fits = true;
            messages.point(point, batch.end_ms(), bytes_max, |message| {
                let added = packer.add(message, tally, |datagram| datagrams.send(datagram))?;
                fits &= added;
                Ok(())
            })?;
            count(fits, packer, tally);
        }
        for event in batch.events() {
            let fits = match messages.event(event) {
                Some(message) => {
                    packer.add(&message, tally, |datagram| datagrams.send(datagram))?
                }
                None => false,
            };
            count(fits, packer, tally);
        }
        packer.finish(tally, |datagram| datagrams.send(datagram))
    }
}

fn count(fits: bool, packer: &mut Packer, tally: &mut Tally) {
    match fits {
        true => packer.point(),
        false => tally.unsayable += 1,
    }
}

impl Exporter for StatsdExporter {
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let sent = self.send(batch, tally);
        if sent.is_err() {
            self.packer.clear();
        }
        sent
    }
}

#[cfg(test)]
mod tests;
