#![doc = include_str!("access_log/README.md")]

use std::sync::{Arc, OnceLock};

use sallyport_config::schema;

use crate::exchange::{Exchange, Outcome};
use crate::filter::{Filter, Phases};
use crate::host::Host;
use crate::kind::Kind;

mod config;
mod format;
mod sink;
mod spec;
mod writer;

pub use spec::{AccessLogSpec, FacilitySpec, FormatSpec, SyslogSpec, TargetSpec};

use format::Format;
use sink::Target;
use writer::{Tally, Writer};

pub use writer::flush;

/// `access_log:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "access_log", read: config::read, schema: schema::settings::<AccessLogSpec> };

/// Writes a line for each request that ended.
#[derive(Debug)]
struct AccessLog {
    format: Format,
    target: Target,
    queue_lines: usize,
    tally: Arc<Tally>,
    /// Made when the configuration is in force.
    writer: OnceLock<Arc<Writer>>,
}

impl Filter for AccessLog {
    fn phases(&self) -> Phases {
        Phases::LOG
    }

    fn logs_connections(&self) -> bool {
        true
    }

    fn start(self: Arc<Self>, _: &Arc<Host>) {
        match Writer::of(&self.target, self.queue_lines) {
            // It is set nowhere else, and `start` is called once.
            Ok(writer) => drop(self.writer.set(writer)),
            Err(error) => {
                tracing::error!(target = %self.target, %error, "the access log cannot be written");
            }
        }
    }

    fn log(&self, x: Exchange<'_>, outcome: &Outcome<'_>) {
        match self.writer.get() {
            Some(writer) => writer.write(self.format.line(&x, outcome), &self.tally),
            None => self.tally.dropped.inc(),
        }
    }
}

#[cfg(test)]
mod tests;
