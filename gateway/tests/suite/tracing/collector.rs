//! OpenTelemetry collectors in this process: one that speaks gRPC, one that speaks HTTP.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::support::{Origin, eventually};

/// A span as tests look at it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) trace_id: String,
    pub(super) span_id: String,
    pub(super) parent_id: String,
    pub(super) name: String,
    /// 2 is a server's, 3 a client's.
    pub(super) kind: i32,
    pub(super) state: String,
    pub(super) is_error: bool,
    pub(super) flags: u32,
    pub(super) times: (u64, u64),
    attributes: BTreeMap<String, String>,
    /// Of the resource.
    pub(super) resource: BTreeMap<String, String>,
}

pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;

impl Seen {
    fn new(span: &Span, resource: &BTreeMap<String, String>) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            name: span.name.clone(),
            kind: span.kind,
            state: span.trace_state.clone(),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            flags: span.flags,
            times: (span.start_time_unix_nano, span.end_time_unix_nano),
            attributes: texts(&span.attributes),
            resource: resource.clone(),
        }
    }

    /// The attribute `key`, as text; empty where there is none.
    pub(super) fn at(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |it: &KeyValue| match it.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|it| (it.key.clone(), text(it))).collect()
}

/// What a collector took.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken(Arc<Mutex<Vec<Seen>>>);

impl Taken {
    fn note(&self, request: &ExportTraceServiceRequest) {
        let mut taken = self.0.lock().unwrap();
        for spans in &request.resource_spans {
            let attributes = spans.resource.as_ref().map(|resource| texts(&resource.attributes));
            let resource = attributes.unwrap_or_default();
            let all = spans.scope_spans.iter().flat_map(|scope| &scope.spans);
            taken.extend(all.map(|span| Seen::new(span, &resource)));
        }
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for `count` spans of requests, and returns all spans there are by then.
    pub(super) fn servers(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} spans of requests"), || {
            let all = self.all();
            let servers = all.iter().filter(|span| span.kind == SERVER).count();
            (servers >= count).then_some(all)
        })
    }

    /// The spans of one trace, once its request's is there.
    pub(super) fn trace(&self, trace_id: &str) -> Vec<Seen> {
        eventually(&format!("the trace {trace_id}"), || {
            let of = self.all().into_iter().filter(|span| span.trace_id == trace_id);
            let spans: Vec<_> = of.collect();
            spans.iter().any(|span| span.kind == SERVER).then_some(spans)
        })
    }
}

/// A collector that speaks gRPC.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    pub(super) taken: Taken,
    /// Whether it refuses every span.
    pub(super) refuses: Arc<AtomicBool>,
    /// The metadata of the latest request.
    pub(super) metadata: Arc<Mutex<MetadataMap>>,
    _runtime: tokio::runtime::Runtime,
}

struct Service {
    taken: Taken,
    refuses: Arc<AtomicBool>,
    metadata: Arc<Mutex<MetadataMap>>,
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.metadata.lock().unwrap() = request.metadata().clone();
        let request = request.into_inner();
        let mut answer = ExportTraceServiceResponse::default();
        if self.refuses.load(Ordering::Relaxed) {
            let spans = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
            let rejected_spans = spans.map(|scope| scope.spans.len() as i64).sum();
            let error_message = "full".to_owned();
            answer.partial_success =
                Some(ExportTracePartialSuccess { rejected_spans, error_message });
        } else {
            self.taken.note(&request);
        }
        Ok(Response::new(answer))
    }
}

impl Collector {
    pub(super) fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// On a socket that is already bound.
    pub(super) fn start_on(socket: TcpListener) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (taken, refuses, metadata) = (Taken::default(), Arc::default(), Arc::default());
        let service = Service {
            taken: taken.clone(),
            refuses: Arc::clone(&refuses),
            metadata: Arc::clone(&metadata),
        };
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(socket).unwrap());
            let server = Server::builder().add_service(TraceServiceServer::new(service));
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, taken, refuses, metadata, _runtime: runtime }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A collector that speaks HTTP, at `/v1/traces` only.
pub(super) fn over_http() -> (Origin, Taken) {
    let taken = Taken::default();
    let noted = taken.clone();
    let origin = Origin::start(move |request, stream| {
        let is_export = request.request_line() == "POST /v1/traces HTTP/1.1"
            && request.fields("content-type") == ["application/x-protobuf"];
        let status = match ExportTraceServiceRequest::decode(&*request.body) {
            Ok(message) if is_export => {
                noted.note(&message);
                "200 OK"
            }
            _ => "400 Bad Request",
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).is_ok()
    });
    (origin, taken)
}
