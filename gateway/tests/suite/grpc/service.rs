//! `grpc.testing.TestService` on tonic, as the list of interoperability tests describes it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::messages::{
    EchoStatus, Empty, Payload, SimpleRequest, SimpleResponse, StreamingInputCallRequest,
    StreamingInputCallResponse, StreamingOutputCallRequest, StreamingOutputCallResponse, bytes,
};
use crate::origins::certificates::Pair;

/// A field that comes back in the head of the response, and one that comes back behind it.
pub(super) const ECHO_INITIAL: HeaderName = HeaderName::from_static("x-grpc-test-echo-initial");
pub(super) const ECHO_TRAILING: HeaderName =
    HeaderName::from_static("x-grpc-test-echo-trailing-bin");

/// An origin.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    under_way: Arc<AtomicUsize>,
}

impl Server {
    /// Serves, with TLS if there is a certificate, for as long as `runtime` is there.
    pub(crate) fn start(runtime: &Runtime, certificate: Option<&Pair>) -> Self {
        let _entered = runtime.enter();
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let under_way = Arc::<AtomicUsize>::default();
        let mut builder = tonic::transport::Server::builder();
        if let Some(certificate) = certificate {
            let [cert, key] = [&certificate.cert, &certificate.key_file];
            let read = |path| std::fs::read(path).unwrap();
            let identity = Identity::from_pem(read(cert), read(key));
            builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let serving =
            builder.add_service(TestService(under_way.clone())).serve_with_incoming(incoming);
        tokio::spawn(serving);
        Self { address, under_way }
    }

    /// Calls that have begun and not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// A streamed call under way.
struct Call(Arc<AtomicUsize>);

impl Call {
    fn begin(under_way: &Arc<AtomicUsize>) -> Self {
        under_way.fetch_add(1, Ordering::Relaxed);
        Self(under_way.clone())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
struct TestService(Arc<AtomicUsize>);

impl NamedService for TestService {
    const NAME: &'static str = "grpc.testing.TestService";
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Responses = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

impl tower::Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let under_way = self.0.clone();
        Box::pin(async move {
            let echo = request.headers().clone();
            Ok(echoing(serve(request, &under_way).await, &echo))
        })
    }
}

async fn serve(request: http::Request<Body>, under_way: &Arc<AtomicUsize>) -> http::Response<Body> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    match &*method {
        "EmptyCall" => {
            let answer = service_fn(|_: Request<Empty>| async { Ok(Response::new(Empty {})) });
            Grpc::new(ProstCodec::default()).unary(answer, request).await
        }
        "UnaryCall" => {
            let answer = service_fn(|request: Request<SimpleRequest>| async {
                let asked = request.into_inner();
                said(asked.response_status.as_ref())?;
                let payload = Payload::of(asked.response_size as usize);
                Ok(Response::new(SimpleResponse { payload }))
            });
            Grpc::new(ProstCodec::default()).unary(answer, request).await
        }
        "StreamingInputCall" => {
            let answer = service_fn(|request: Request<Streaming<StreamingInputCallRequest>>| {
                sum(request.into_inner(), Call::begin(under_way))
            });
            Grpc::new(ProstCodec::default()).client_streaming(answer, request).await
        }
        "StreamingOutputCall" => {
            let answer = service_fn(|request: Request<StreamingOutputCallRequest>| async {
                let responses: Responses = Box::pin(iter(responses(&request.into_inner())));
                Ok(Response::new(responses))
            });
            Grpc::new(ProstCodec::default()).server_streaming(answer, request).await
        }
        "FullDuplexCall" => {
            let answer = service_fn(|request: Request<Streaming<StreamingOutputCallRequest>>| {
                let responses = converse(request.into_inner(), Call::begin(under_way));
                async { Ok(Response::new(responses)) }
            });
            Grpc::new(ProstCodec::default()).streaming(answer, request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

/// The status that a request asks for, if it is another than success.
fn said(asked: Option<&EchoStatus>) -> Result<(), Status> {
    match asked {
        Some(asked) if asked.code != 0 => Err(Status::new(asked.code.into(), &*asked.message)),
        _ => Ok(()),
    }
}

async fn sum(
    requests: Streaming<StreamingInputCallRequest>,
    _call: Call,
) -> Result<Response<StreamingInputCallResponse>, Status> {
    let add = async |sum, request: StreamingInputCallRequest| {
        Ok(sum + bytes(request.payload.as_ref()) as i32)
    };
    let aggregated_payload_size = requests.try_fold(0, add).await?;
    Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size }))
}

fn responses(
    asked: &StreamingOutputCallRequest,
) -> Vec<Result<StreamingOutputCallResponse, Status>> {
    if let Err(status) = said(asked.response_status.as_ref()) {
        return vec![Err(status)];
    }
    let of = |size| StreamingOutputCallResponse { payload: Payload::of(size) };
    asked.response_parameters.iter().map(|it| Ok(of(it.size as usize))).collect()
}

/// Answers each request as it comes.
fn converse(requests: Streaming<StreamingOutputCallRequest>, call: Call) -> Responses {
    let each = requests.map(|asked| match asked {
        Ok(asked) => iter(responses(&asked)),
        Err(status) => iter(vec![Err(status)]),
    });
    // It lasts as long as the stream of answers does.
    let end = futures::stream::once(async {
        drop(call);
        iter(Vec::new())
    });
    Box::pin(each.chain(end).flatten())
}

/// `response` with the fields of the request that come back.
fn echoing(mut response: http::Response<Body>, asked: &HeaderMap) -> http::Response<Body> {
    if let Some(initial) = asked.get(ECHO_INITIAL) {
        response.headers_mut().insert(ECHO_INITIAL, initial.clone());
    }
    let Some(trailing) = asked.get(ECHO_TRAILING).cloned() else { return response };
    response.map(|body| Body::new(behind(body, trailing)))
}

fn behind(
    body: Body,
    trailing: HeaderValue,
) -> impl http_body::Body<Data = bytes::Bytes, Error = Status> + Send + 'static {
    body.map_frame(move |mut frame| {
        if let Some(trailers) = frame.trailers_mut() {
            trailers.insert(ECHO_TRAILING, trailing.clone());
        }
        frame
    })
}
