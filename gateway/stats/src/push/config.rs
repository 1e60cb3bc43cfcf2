//! What a pipeline can be set to, and why the defaults are what they are.

use std::time::Duration;

use super::{ring::Overflow, window::Distributions};

/// The shape of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Samples the buffer holds, rounded up to a power of two. 16,384 are a third of a megabyte,
    /// and 16 ms at a million a second.
    pub capacity: usize,
    /// Queues the buffer is cut into, rounded up to a power of two; at least one for each worker.
    /// Two writers of one queue are in each other's way; a queue for each would be too short for one
    /// that writes alone.
    pub shards: usize,
    /// What is lost when it is full.
    pub overflow: Overflow,
    /// Threads that empty it, 1 to 64.
    pub workers: usize,
    /// How long a worker with nothing to do rests at most. A shard of 4,096 takes 800,000 samples a
    /// second while its worker rests 5 ms; who records seldom, or gathers by itself, has more time.
    pub rest_max: Duration,
    /// The time between two flushes. A second is soon enough for a graph, and lets a thousand
    /// samples of a series be one figure on the wire.
    pub flush_interval: Duration,
    /// How distributions are kept until then.
    pub distributions: Distributions,
    /// What samples put together may take until they are sent, in bytes, over all workers.
    pub window_bytes_max: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            capacity: 16_384,
            shards: 4,
            overflow: Overflow::DropNewest,
            workers: 2,
            rest_max: Duration::from_millis(5),
            flush_interval: Duration::from_secs(1),
            distributions: Distributions::Sketch,
            window_bytes_max: 1 << 20,
        }
    }
}
