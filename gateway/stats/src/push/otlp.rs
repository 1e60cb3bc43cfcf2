//! Statistics for OpenTelemetry: OTLP's metrics, as protobuf over HTTP or over gRPC.
//!
//! Points become what the data model has for them: sums, gauges, and histograms, exponential ones by
//! default, whose buckets are those of the sketch itself. Sums and histograms are told as what
//! changed since the last time, or, for receivers that want it, as what they have come to since the
//! exporter's start.
//!
//! Source: the OpenTelemetry protocol, version 1, and its metrics data model.

mod convert;
#[cfg(feature = "otlp-grpc")]
mod grpc;
#[cfg(feature = "otlp-http")]
mod http;
mod sums;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
mod traces;

#[cfg(feature = "otlp-grpc")]
pub use self::grpc::OtlpGrpcConfig;
#[cfg(feature = "otlp-http")]
pub use self::http::OtlpHttpConfig;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http"))]
pub use self::traces::{TraceClient, TraceReceiver};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};

use self::{
    convert::{Converter, DataPoint},
    sums::Sums,
};
use super::{
    batch::Batch,
    exporter::{ExportError, Tally},
};

/// Points of a request at most, so that it stays below the four megabytes gRPC takes by default.
const POINTS_MAX: usize = 2_000;

/// Since when sums are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Temporality {
    /// Since the last time. What is lost on the way is lost.
    #[default]
    Delta,
    /// Since the exporter's start, as Prometheus wants it. An outage costs no count.
    Cumulative,
}

/// How distributions are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Histograms {
    /// With the sketch's buckets, fine and of equal ratio.
    #[default]
    Exponential,
    /// With some twenty fixed edges, powers of two, for receivers that know no others.
    Explicit,
}

/// What is the same over HTTP and gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtlpConfig {
    /// What is measured, as `service.name`.
    pub resource: Vec<(String, String)>,
    /// Since when sums are told.
    pub temporality: Temporality,
    /// How distributions are told.
    pub histograms: Histograms,
}

/// What the two exporters share: from batches to requests.
#[derive(Debug)]
struct Requests {
    converter: Converter,
    sums: Option<Sums>,
    /// The end of the last batch.
    end_ms: u64,
}

impl Requests {
    fn new(config: &OtlpConfig) -> Self {
        let cumulative = config.temporality == Temporality::Cumulative;
        let sums = cumulative.then(Sums::default);
        Self { converter: Converter::new(config), sums, end_ms: 0 }
    }

    fn observe(&mut self, batch: &Batch) {
        self.end_ms = self.end_ms.max(batch.end_ms());
        if let Some(sums) = &mut self.sums {
            sums.observe(batch);
        }
    }

    /// Sends a batch, or the sums so far, in as many requests as it takes.
    fn send(
        &mut self,
        batch: &Batch,
        tally: &mut Tally,
        mut post: impl FnMut(
            ExportMetricsServiceRequest,
            &mut Tally,
        ) -> Result<ExportMetricsServiceResponse, ExportError>,
    ) -> Result<(), ExportError> {
        let start_ms = batch.start_ms();
        let fresh = |point| DataPoint { point, start_ms, has_ended: false };
        let points = match &self.sums {
            Some(sums) => sums.points(),
            None => batch.points().iter().map(fresh).collect(),
        };
        // Of the sums only those of this batch are new.
        let mut new = batch.points().len() as u64;
        for chunk in points.chunks(POINTS_MAX) {
            let request = self.converter.request(chunk, batch.end_ms());
            let answer = post(request, tally)?;
            let refused = answer.partial_success.map_or(0, |partial| partial.rejected_data_points);
            let refused = u64::try_from(refused).unwrap_or(0).min(chunk.len() as u64).min(new);
            let taken = (chunk.len() as u64 - refused).min(new - refused);
            tally.refused += refused;
            tally.points += taken;
            new -= refused + taken;
            tally.sends += 1;
        }
        // The protocol has no events among metrics.
        tally.unsayable += batch.events().len() as u64;
        if let Some(sums) = &mut self.sums {
            sums.sent();
        }
        Ok(())
    }

    /// Says of every sum that it has ended, where sums are told: a receiver would hold the last to
    /// be the present one.
    fn finish(
        &mut self,
        tally: &mut Tally,
        mut post: impl FnMut(
            ExportMetricsServiceRequest,
            &mut Tally,
        ) -> Result<ExportMetricsServiceResponse, ExportError>,
    ) -> Result<(), ExportError> {
        let Some(sums) = &mut self.sums else { return Ok(()) };
        sums.end_all();
        for chunk in sums.points().chunks(POINTS_MAX) {
            post(self.converter.request(chunk, self.end_ms + 1), tally)?;
            tally.sends += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
