//! What an exporter is to the pipeline, and what can go wrong in one.

use std::{fmt, io, sync::Arc, time::Duration};

use super::{batch::Batch, breaker::BreakerConfig};

/// Sends batches somewhere. Lives in a thread of its own, and may take its time there: what it
/// cannot keep up with is dropped from its queue alone.
pub trait Exporter: Send {
    /// Takes note of a batch, whether or not it will be sent. What counts up for ever counts here,
    /// so that an outage costs it a sample in time, and no figure.
    fn observe(&mut self, batch: &Batch) {
        let _ = batch;
    }

    /// Sends a batch, or what was observed so far, and adds to `tally` as it goes.
    ///
    /// Must return within a time of its own choosing: a deadline on every send.
    ///
    /// # Errors
    /// What is not in `tally` by then counts as lost, unless the error is
    /// [retryable](ExportError::is_retryable) and a later attempt succeeds.
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError>;

    /// Sends what was held back. Called once, when no further batch will come.
    ///
    /// # Errors
    /// As [`export`](Self::export); there is no later attempt.
    fn finish(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        let _ = tally;
        Ok(())
    }
}

/// What an exporter has done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Points sent.
    pub points: u64,
    /// Points that cannot be said in the protocol, or are too long for one of its messages.
    pub unsayable: u64,
    /// Points that the receiver refused while it took others.
    pub refused: u64,
    /// Bytes sent, headers not counted.
    pub bytes: u64,
    /// Datagrams, records or requests sent.
    pub sends: u64,
}

/// Why a batch was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The receiver's name has no address.
    #[error("cannot resolve {name}")]
    Resolve {
        /// The name.
        name: String,
        /// What the resolver says.
        #[source]
        source: io::Error,
    },
    /// No socket could be made or connected.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Sending failed, or took longer than it may.
    #[error("cannot send")]
    Send(#[source] io::Error),
    /// The receiver has too much to do, or trouble of its own.
    #[error("the receiver is not able to take it now (status {status})")]
    Busy {
        /// HTTP's or gRPC's status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The receiver does not want it, now or later.
    #[error("the receiver refused it (status {status}): {reason}")]
    Refused {
        /// HTTP's or gRPC's status.
        status: u16,
        /// What it says, at most 200 characters.
        reason: String,
    },
    /// The exporter could not be set up.
    #[error("cannot set up")]
    SetUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ExportError {
    /// Whether the same batch may be sent again without being counted twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Resolve { .. } | Self::Connect { .. } | Self::Busy { .. })
    }

    /// How long the receiver wants to be left alone; never more than five minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        const MOST: Duration = Duration::from_secs(300);
        match self {
            Self::Busy { retry_after, .. } => retry_after.map(|after| after.min(MOST)),
            _ => None,
        }
    }

    /// The error and its causes, in one line.
    pub fn story(&self) -> String {
        let mut story = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            story.push_str(": ");
            story.push_str(&error.to_string());
            cause = error.source();
        }
        story
    }
}

/// Makes an exporter, at first and after each panic.
pub type BuildExporter = dyn Fn() -> Result<Box<dyn Exporter>, ExportError> + Send + Sync;

/// An exporter to be: its name, how it is made, and what it may have.
#[derive(Clone)]
pub struct ExporterSpec {
    pub(super) name: Arc<str>,
    pub(super) identity: String,
    pub(super) build: Arc<BuildExporter>,
    pub(super) queue_batches: usize,
    pub(super) queue_bytes: usize,
    pub(super) breaker: BreakerConfig,
    pub(super) attempts: u32,
}

impl fmt::Debug for ExporterSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The identity may hold what authorises us.
        out.debug_struct("ExporterSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ExporterSpec {
    /// An exporter called `name`, made by `build` in the thread it will live in.
    ///
    /// By default 8 batches or 512 KiB may wait for it, and a batch is tried three times where it
    /// can be tried again.
    pub fn new(
        name: impl Into<Arc<str>>,
        build: impl Fn() -> Result<Box<dyn Exporter>, ExportError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            identity: String::new(),
            build: Arc::new(build),
            queue_batches: 8,
            queue_bytes: 512 << 10,
            breaker: BreakerConfig::default(),
            attempts: 3,
        }
    }

    /// What this exporter was set to, in any form. Where a pipeline is given new exporters, one of
    /// the same name, identity, queue, breaker and attempts is left as it is.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = identity.into();
        self
    }

    /// How much may wait: batches, and their bytes. One batch always may.
    pub fn queue(mut self, batches: usize, bytes: usize) -> Self {
        (self.queue_batches, self.queue_bytes) = (batches, bytes);
        self
    }

    /// When to stop trying for a while.
    pub fn breaker(mut self, breaker: BreakerConfig) -> Self {
        self.breaker = breaker;
        self
    }

    /// How often a batch is tried where it can be tried again; 0 is taken as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Whether this is set to what `other` is, its name included.
    pub fn is_as(&self, other: &Self) -> bool {
        let queue = |spec: &Self| (spec.queue_batches, spec.queue_bytes);
        (&self.name, &self.identity) == (&other.name, &other.identity)
            && queue(self) == queue(other)
            && (self.breaker, self.attempts) == (other.breaker, other.attempts)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}
