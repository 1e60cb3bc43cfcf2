//! Spans for OpenTelemetry, by the connections that metrics go by.
//!
//! What is sent is made elsewhere; here is only how it leaves, and what the receiver says of it.

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
    trace::v1::ResourceSpans,
};
use prost::Message;

use super::grpc::{Link, OtlpGrpcConfig};
use crate::push::{
    exporter::ExportError,
    http::{Http, HttpConfig},
};

/// Where spans go, and over what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceReceiver {
    /// gRPC. What it says of metrics is not used.
    Grpc(OtlpGrpcConfig),
    /// HTTP with protobuf bodies, by the whole URL, as `http://collector:4318/v1/traces`.
    Http(HttpConfig),
}

/// A client of one receiver. It blocks, for as long as the receiver's deadline at most.
#[derive(Debug)]
pub struct TraceClient(Over);

#[derive(Debug)]
enum Over {
    Grpc(Box<Link>),
    Http(Box<Http>),
}

const HEADERS: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

impl TraceClient {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`ExportError::SetUp`] if the system has no root certificates, or no runtime can be had.
    pub fn new(receiver: &TraceReceiver) -> Result<Self, ExportError> {
        Ok(Self(match receiver {
            TraceReceiver::Grpc(config) => Over::Grpc(Box::new(Link::new(config)?)),
            TraceReceiver::Http(config) => Over::Http(Box::new(Http::new(config)?)),
        }))
    }

    /// Sends these spans in one request; returns how many of them the receiver refused.
    ///
    /// # Errors
    /// If the receiver did not take the request.
    pub fn send(&mut self, spans: Vec<ResourceSpans>) -> Result<u64, ExportError> {
        let request = ExportTraceServiceRequest { resource_spans: spans };
        let answer = match &mut self.0 {
            Over::Grpc(link) => link.call(request, |channel, request| async move {
                TraceServiceClient::new(channel).export(request).await
            })?,
            Over::Http(http) => {
                let is_busy = |status| matches!(status, 429 | 502..=504);
                let answer = http.post(&HEADERS, &request.encode_to_vec(), is_busy)?;
                // It was taken; what cannot be read of the answer says nothing else.
                ExportTraceServiceResponse::decode(&*answer).unwrap_or_default()
            }
        };
        let refused = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(refused).unwrap_or(0))
    }
}
