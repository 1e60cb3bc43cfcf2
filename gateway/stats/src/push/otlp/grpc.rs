//! OTLP over gRPC. Tonic wants a runtime, so the exporter has one, on its own thread and for itself.

use std::{io, sync::Arc, time::Duration};

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_client::MetricsServiceClient,
};
use prost::Message;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tonic::{
    Code, Request, Response, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{OtlpConfig, Requests};
use crate::push::{
    batch::Batch,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
};

/// A receiver of OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpGrpcConfig {
    /// Where it is, as `http://collector:4317`; with `https` the system's root certificates hold.
    pub url: String,
    /// Metadata of every request, as for authorisation. ASCII, names in lower case.
    pub metadata: Vec<(String, String)>,
    /// How long connecting, and then a request, may take.
    pub deadline: Duration,
    /// What is told, and how.
    pub otlp: OtlpConfig,
}

impl OtlpGrpcConfig {
    /// The defaults, and a URL: five seconds a request.
    pub fn new(url: impl Into<String>) -> Self {
        let (metadata, otlp) = (Vec::new(), OtlpConfig::default());
        Self { url: url.into(), metadata, deadline: Duration::from_secs(5), otlp }
    }

    /// The exporter, ready for a pipeline.
    pub fn spec(self, name: impl Into<Arc<str>>) -> ExporterSpec {
        let identity = format!("{self:?}");
        let build = move || -> Result<Box<dyn Exporter>, ExportError> {
            Ok(Box::new(OtlpGrpcExporter::new(&self)?))
        };
        ExporterSpec::new(name, build).identity(identity)
    }
}

#[derive(Debug)]
struct OtlpGrpcExporter {
    requests: Requests,
    link: Link,
}

/// A connection to a receiver, made when it is needed.
#[derive(Debug)]
pub(super) struct Link {
    endpoint: Endpoint,
    channel: Option<Channel>,
    metadata: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    deadline: Duration,
    /// Dropped last: the channel has a task on it.
    runtime: Runtime,
}

impl OtlpGrpcExporter {
    fn new(config: &OtlpGrpcConfig) -> Result<Self, ExportError> {
        Ok(Self { requests: Requests::new(&config.otlp), link: Link::new(config)? })
    }
}

impl Exporter for OtlpGrpcExporter {
    fn observe(&mut self, batch: &Batch) {
        self.requests.observe(batch);
    }

    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { requests, link } = self;
        requests.send(batch, tally, |request, tally| post(link, request, tally))
    }

    fn finish(&mut self, tally: &mut Tally) -> Result<(), ExportError> {
        let Self { requests, link } = self;
        requests.finish(tally, |request, tally| post(link, request, tally))
    }
}

fn post(
    link: &mut Link,
    request: ExportMetricsServiceRequest,
    tally: &mut Tally,
) -> Result<ExportMetricsServiceResponse, ExportError> {
    tally.bytes += request.encoded_len() as u64;
    link.call(request, |channel, request| async move {
        MetricsServiceClient::new(channel).export(request).await
    })
}

impl Link {
    pub(super) fn new(config: &OtlpGrpcConfig) -> Result<Self, ExportError> {
        Self::set_up(config).map_err(ExportError::SetUp)
    }

    fn set_up(config: &OtlpGrpcConfig) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut endpoint = Endpoint::from_shared(config.url.clone())?;
        endpoint = endpoint.connect_timeout(config.deadline).tcp_nodelay(true);
        if config.url.starts_with("https:") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let mut metadata = Vec::new();
        for (key, value) in &config.metadata {
            metadata.push((key.parse()?, value.parse()?));
        }
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { endpoint, channel: None, metadata, deadline: config.deadline, runtime })
    }

    /// Sends `message` by `ask` and waits for the answer. After an error the connection, and with it
    /// the name's address, is forgotten.
    pub(super) fn call<M, A, F>(
        &mut self,
        message: M,
        ask: impl FnOnce(Channel, Request<M>) -> F,
    ) -> Result<A, ExportError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => self.runtime.block_on(self.connect())?,
        };
        let mut request = Request::new(message);
        for (key, value) in &self.metadata {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        let asked = ask(channel.clone(), request);
        let answer = self.runtime.block_on(async { timeout(self.deadline, asked).await });
        match answer {
            Ok(Ok(answer)) => {
                self.channel = Some(channel);
                Ok(answer.into_inner())
            }
            Ok(Err(status)) => Err(failure(&status)),
            Err(_late) => Err(ExportError::Send(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn connect(&self) -> Result<Channel, ExportError> {
        let failed =
            |source| ExportError::Connect { address: self.endpoint.uri().to_string(), source };
        match timeout(self.deadline, self.endpoint.connect()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(failed(io::Error::other(error))),
            Err(_late) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Which may be tried again is OTLP's own list, less those after which it may have been taken: a
/// sum counted twice is worse than one that is missing.
fn failure(status: &Status) -> ExportError {
    let code = status.code();
    let number = code as i32 as u16;
    match code {
        Code::Unavailable | Code::Aborted | Code::OutOfRange | Code::DataLoss => {
            ExportError::Busy { status: number, retry_after: None }
        }
        Code::Cancelled | Code::DeadlineExceeded => {
            ExportError::Send(io::Error::new(io::ErrorKind::TimedOut, status.clone()))
        }
        _ => {
            let reason = status.message().chars().take(200).collect();
            ExportError::Refused { status: number, reason }
        }
    }
}
