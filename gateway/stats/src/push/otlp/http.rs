//! OTLP over HTTP, as binary protobuf.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message;

use super::{OtlpConfig, Requests};
use crate::push::{
    batch::Batch,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
    http::{Http, HttpConfig},
};

/// A receiver of OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct OtlpHttpConfig {
    /// Where it is, with its path, as `http://collector:4318/v1/metrics`.
    pub http: HttpConfig,
    /// What is told, and how.
    pub otlp: OtlpConfig,
}

impl OtlpHttpConfig {
    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            let http = Http::new(&self.http)?;
            Ok(Box::new(OtlpHttpExporter { http, requests: Requests::new(&self.otlp) }))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

#[derive(Debug)]
struct OtlpHttpExporter {
    http: Http,
    requests: Requests,
}

const HEADERS: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

impl Exporter for OtlpHttpExporter {
    fn observe(&mut self, batch: &Batch) {
        self.requests.observe(batch);
    }

    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { http, requests } = self;
        requests.send(batch, tally, |request, tally| post(http, &request, tally))
    }

    fn finish(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { http, requests } = self;
        requests.finish(tally, |request, tally| post(http, &request, tally))
    }
}

fn post(
    http: &mut Http,
    request: &ExportMetricsServiceRequest,
    tally: &mut Tally,
) -> Result<ExportMetricsServiceResponse, ExportError> {
    let body = request.encode_to_vec();
    let answer = http.post(&HEADERS, &body, |status| matches!(status, 429 | 502..=504))?;
    tally.bytes += body.len() as u64;
    // It was taken; what cannot be read of the answer says nothing else.
    Ok(ExportMetricsServiceResponse::decode(&*answer).unwrap_or_default())
}
