#![doc = include_str!("push/README.md")]

mod batch;
mod breaker;
mod catalog;
mod clock;
mod config;
mod core;
#[cfg(any(feature = "remote-write", feature = "otlp-http", feature = "otlp-grpc"))]
mod edges;
#[cfg(feature = "emf")]
pub mod emf;
mod exporter;
#[cfg(any(feature = "remote-write", feature = "otlp-http"))]
pub mod http;
mod meter;
mod metric;
#[cfg(any(feature = "statsd", feature = "emf"))]
pub mod net;
#[cfg(any(feature = "otlp-http", feature = "otlp-grpc"))]
pub mod otlp;
mod outbox;
mod pace;
mod pipeline;
mod recorder;
#[cfg(feature = "remote-write")]
pub mod remote_write;
mod ring;
mod runner;
mod sample;
mod sampler;
mod series;
mod sketch;
mod snapshot;
#[cfg(feature = "statsd")]
pub mod statsd;
mod sync;
mod unit;
mod window;

pub use batch::{Alert, Batch, Event, Point, Value};
pub use breaker::{Breaker, BreakerConfig, BreakerState};
pub use catalog::{Catalog, CatalogLimits};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::PipelineConfig;
pub use exporter::{BuildExporter, ExportError, Exporter, ExporterSpec, Tally};
pub use meter::LossReason;
pub use metric::{
    ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, MetricBuilder, NAME_BYTES_MAX, RegisterError,
};
pub use pipeline::{Lost, Monitor, Pipeline, StartError};
pub use recorder::{MemoryRecorder, NoopRecorder, PushRecorder, Recorded, Recorder};
pub use ring::Overflow;
pub use sample::Rate;
pub use sampler::{Reading, Sampler};
pub use series::{Attribute, Counter, Gauge, Histogram, Kind, Series, Timing};
pub use sketch::Sketch;
pub use snapshot::{ExporterSnapshot, PushSnapshot};
pub use unit::Unit;
pub use window::Distributions;
