//! The calls of `grpc.testing.TestService`, and what came of them as text that can be compared.

use std::net::SocketAddr;

use futures::Stream;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{IntoStreamingRequest, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::{
    Empty, SimpleRequest, SimpleResponse, StreamingInputCallRequest, StreamingInputCallResponse,
    StreamingOutputCallRequest, StreamingOutputCallResponse, bytes,
};
use super::service::{ECHO_INITIAL, ECHO_TRAILING};
use crate::origins::certificates::Authority;

/// A connection that calls are made by.
#[derive(Clone)]
pub(super) struct Calls(Channel);

fn at(method: &str) -> PathAndQuery {
    let path = if method.contains('/') {
        method.to_owned()
    } else {
        format!("/grpc.testing.TestService/{method}")
    };
    path.try_into().unwrap()
}

impl Calls {
    /// Connects to `address` for `host`, by TLS if the authority is told.
    pub(super) async fn connect(
        address: SocketAddr,
        host: &str,
        authority: Option<&Authority>,
    ) -> Self {
        let scheme = if authority.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
        let mut endpoint = endpoint.origin(format!("{scheme}://{host}").try_into().unwrap());
        if let Some(authority) = authority {
            let ca = Certificate::from_pem(std::fs::read(authority.file()).unwrap());
            let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        Self(endpoint.connect().await.unwrap())
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        Ok(grpc)
    }

    pub(super) async fn empty(&self, method: &str) -> Result<Response<Empty>, Status> {
        let codec = ProstCodec::<Empty, Empty>::default();
        self.grpc().await?.unary(Request::new(Empty {}), at(method), codec).await
    }

    pub(super) async fn unary(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        self.grpc().await?.unary(request, at("UnaryCall"), ProstCodec::default()).await
    }

    pub(super) async fn input(
        &self,
        requests: impl Stream<Item = StreamingInputCallRequest> + Send + 'static,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let (method, codec) = (at("StreamingInputCall"), ProstCodec::default());
        let requests = requests.into_streaming_request();
        self.grpc().await?.client_streaming(requests, method, codec).await
    }

    pub(super) async fn output(
        &self,
        request: StreamingOutputCallRequest,
    ) -> Result<Streaming<StreamingOutputCallResponse>, Status> {
        let (method, codec) = (at("StreamingOutputCall"), ProstCodec::default());
        let request = Request::new(request);
        let response = self.grpc().await?.server_streaming(request, method, codec).await?;
        Ok(response.into_inner())
    }

    pub(super) async fn duplex<S>(
        &self,
        requests: Request<S>,
    ) -> Result<Response<Streaming<StreamingOutputCallResponse>>, Status>
    where
        S: Stream<Item = StreamingOutputCallRequest> + Send + 'static,
    {
        let (method, codec) = (at("FullDuplexCall"), ProstCodec::default());
        self.grpc().await?.streaming(requests, method, codec).await
    }
}

/// A failure as text: its code, its message, and what it says besides.
pub(super) fn failure(status: &Status) -> String {
    let echoed = echoed(status.metadata());
    format!("{:?}: {:?} {:?} {echoed}", status.code(), status.message(), status.details())
}

/// The fields that came back.
pub(super) fn echoed(metadata: &MetadataMap) -> String {
    let headers = metadata.clone().into_headers();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    format!("{:?} {:?}", text(&ECHO_INITIAL), text(&ECHO_TRAILING))
}

/// The rest of the responses: their sizes, and the trailers or the failure behind them.
pub(super) async fn rest(mut stream: Streaming<StreamingOutputCallResponse>) -> String {
    let mut sizes = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(response)) => sizes.push(bytes(response.payload.as_ref())),
            Ok(None) => break,
            Err(status) => return format!("{sizes:?} {}", failure(&status)),
        }
    }
    let trailers = stream.trailers().await.map(|it| it.map(MetadataMap::into_headers));
    match trailers {
        Ok(trailers) => format!("{sizes:?} {:?}", trailers.unwrap_or_default()),
        Err(status) => format!("{sizes:?} {}", failure(&status)),
    }
}
