//! HTTP/2 to origins, and gRPC from end to end, with the h2 crate at both ends.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::certificates::{self, Authority};
use crate::support::{Gateway, PATIENCE};

/// A gateway whose listener speaks HTTP/2, with an upstream `up` of these keys.
pub(super) fn gateway(keys: &str, route: &str) -> Gateway {
    let yaml = super::upstream(keys)
        .replace("address: 127.0.0.1:0 }\nadmin", "address: 127.0.0.1:0, h2c: true }\nadmin")
        .replace("forward: { upstream: up }", route);
    Gateway::start_single(&yaml)
}

pub(super) fn forwarding(keys: &str) -> Gateway {
    gateway(keys, "forward: { upstream: up }")
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(crate) fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await.expect("in time") })
}

/// What an origin saw of a request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) headers: HeaderMap,
    authority: String,
}

/// An origin that speaks HTTP/2, with TLS if it has a certificate.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Origin {
    pub(crate) fn start<F>(
        runtime: &Runtime,
        tls: Option<Arc<ServerConfig>>,
        streams: u32,
        handler: impl Fn(usize, RecvStream, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            seen: Arc::default(),
        };
        let (connections, seen) = (origin.connections.clone(), origin.seen.clone());
        let handler = Arc::new(handler);
        let _entered = runtime.enter();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (seen, handler, tls) = (seen.clone(), handler.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, streams, &seen, &*handler).await,
                        Some(config) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(config);
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve(stream, streams, &seen, &*handler).await;
                        }
                    }
                });
            }
        });
        origin
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request")
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve<F: Future<Output = ()> + Send + 'static>(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    streams: u32,
    seen: &Mutex<Vec<Seen>>,
    handler: &(impl Fn(usize, RecvStream, SendResponse<Bytes>) -> F + Send + Sync),
) {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(streams);
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(Seen { headers: parts.headers, authority });
            seen.len()
        };
        tokio::spawn(handler(number, body, respond));
    }
}

pub(super) fn head(status: u16) -> Response<()> {
    Response::builder().status(status).header("content-type", "application/grpc").body(()).unwrap()
}

pub(super) fn trailers(status: &'static str) -> HeaderMap {
    [("grpc-status", status), ("x-trailer", "kept")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

/// Sends back each part of the request's body as it comes, and a status behind it.
pub(super) async fn echo(_: usize, mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let Ok(mut send) = respond.send_response(head(200), false) else { return };
    while let Some(Ok(part)) = body.data().await {
        body.flow_control().release_capacity(part.len()).ok();
        if send.send_data(part, false).is_err() {
            return;
        }
    }
    send.send_trailers(trailers("0")).ok();
}

pub(crate) async fn connect(address: SocketAddr) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(async move { connection.await.ok() });
    client.ready().await.unwrap()
}

fn call(path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://api.internal{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// What a whole call came to.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Called {
    /// The status of gRPC, wherever it stands.
    pub(super) fn grpc(&self) -> Option<&str> {
        let all = self.trailers.iter().chain([&self.headers]);
        all.filter_map(|fields| fields.get("grpc-status")?.to_str().ok()).next()
    }
}

pub(super) async fn unary(
    client: &mut client::SendRequest<Bytes>,
    request: Request<()>,
    message: &'static [u8],
) -> Called {
    let (response, mut send) = client.send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(message), true).unwrap();
    let (parts, mut received) = response.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(part) = received.data().await {
        let part = part.unwrap();
        received.flow_control().release_capacity(part.len()).unwrap();
        body.extend_from_slice(&part);
    }
    let trailers = received.trailers().await.unwrap();
    Called { status: parts.status, headers: parts.headers, body, trailers }
}

pub(super) fn endpoint(origin: &Origin) -> String {
    format!("protocol: http2\nendpoints: [ {{ address: \"{}\" }} ]", origin.address)
}

#[test]
fn a_unary_call_keeps_te_and_trailers() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    let called = in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        unary(&mut client, call("/echo.Echo/Unary", &[]), b"hello").await
    });
    assert_eq!((called.status, &*called.body), (StatusCode::OK, &b"hello"[..]));
    assert_eq!(
        (called.grpc(), &called.trailers.as_ref().unwrap()["x-trailer"]),
        (Some("0"), &HeaderValue::from_static("kept"))
    );
    let seen = origin.seen();
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["content-type"], "application/grpc+proto");
    assert_eq!(seen.authority, "api.internal");
    assert!(seen.headers.contains_key("x-forwarded-for"));
}

#[test]
fn both_directions_stream_at_once() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, echo);
    let gateway = forwarding(&endpoint(&origin));
    in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        let (response, mut send) = client.send_request(call("/e.E/Both", &[]), false).unwrap();
        // The head comes before anything is sent.
        let mut received = response.await.unwrap().into_body();
        for number in 0..100_u32 {
            send.send_data(Bytes::from(number.to_string()), false).unwrap();
            let part = received.data().await.unwrap().unwrap();
            received.flow_control().release_capacity(part.len()).unwrap();
            assert_eq!(part, number.to_string());
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert!(received.data().await.is_none());
        assert_eq!(received.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn requests_share_a_connection_up_to_both_limits() {
    for (origins_limit, own_limit, connections) in [(100, 100, 1), (100, 4, 2), (4, 100, 2)] {
        let runtime = runtime();
        let origin = Origin::start(&runtime, None, origins_limit, echo);
        let keys = format!("{}\nhttp2: {{ max_streams: {own_limit} }}", endpoint(&origin));
        let gateway = forwarding(&keys);
        in_time(&runtime, async {
            let mut client = connect(gateway.web()).await;
            let mut open = Vec::new();
            for _ in 0..8 {
                let (response, send) = client.send_request(call("/e.E/Both", &[]), false).unwrap();
                client = client.ready().await.unwrap();
                open.push((response.await.unwrap(), send));
            }
        });
        assert_eq!(origin.connections(), connections, "{origins_limit} {own_limit}");
    }
}

#[test]
fn what_the_gateway_answers_is_a_status_of_grpc() {
    let runtime = runtime();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = gateway(
        &format!("protocol: http2\nendpoints: [ {{ address: \"{closed}\" }} ]"),
        "match: { path: { prefix: /there } }, forward: { upstream: up }",
    );
    let (unreachable, unknown, plain) = in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        let unreachable = unary(&mut client, call("/there", &[]), b"x").await;
        let unknown = unary(&mut client, call("/nowhere", &[]), b"x").await;
        let plain = Request::post("http://api.internal/there").body(()).unwrap();
        (unreachable, unknown, unary(&mut client, plain, b"x").await)
    });
    assert_eq!((unreachable.status, unreachable.grpc()), (StatusCode::OK, Some("14")));
    assert_eq!(unreachable.headers["x-sallyport-error"], "connect");
    assert_eq!(unreachable.headers["content-type"], "application/grpc");
    assert!(unreachable.headers["grpc-message"].to_str().unwrap().contains("connect"));
    assert_eq!((unknown.status, unknown.grpc()), (StatusCode::OK, Some("12")));
    assert_eq!((plain.status, plain.grpc()), (StatusCode::BAD_GATEWAY, None));
}

#[test]
fn a_deadline_of_the_client_holds() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, |_, body, respond| async move {
        // Silent for as long as anybody listens.
        let _held = (body, respond);
        std::future::pending::<()>().await;
    });
    let gateway = forwarding(&endpoint(&origin));
    let began = std::time::Instant::now();
    let called = in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        unary(&mut client, call("/e.E/Slow", &[("grpc-timeout", "300m")]), b"x").await
    });
    assert_eq!((called.status, called.grpc()), (StatusCode::OK, Some("4")));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(origin.seen().headers["grpc-timeout"], "300m");
}

#[test]
fn a_body_that_is_refused_is_answered_although_the_origin_waits_for_the_rest() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, |_, mut body, respond| async move {
        while let Some(Ok(_)) = body.data().await {}
        drop(respond);
    });
    let gateway = forwarding(&endpoint(&origin));
    let yaml = std::fs::read_to_string(&gateway.config).unwrap();
    gateway.replace(&format!("{}\nlimits: {{ request_body_bytes: 1KiB }}\n", yaml.trim_end()));
    let mut client = crate::support::Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.send(format!("200\r\n{}\r\n", "x".repeat(0x200)));
    }
    assert_eq!(client.receive().status, 413);
}

#[test]
fn a_stream_that_is_refused_is_sent_again() {
    let runtime = runtime();
    let origin = Origin::start(&runtime, None, 100, |number, body, mut respond| async move {
        if number == 1 {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        } else {
            echo(number, body, respond).await;
        }
    });
    let other = Origin::start(&runtime, None, 100, echo);
    let keys = format!(
        "protocol: http2\nendpoints: [ {{ address: \"{}\" }}, {{ address: \"{}\" }} ]",
        origin.address, other.address
    );
    let gateway = forwarding(&keys);
    let called = in_time(&runtime, async {
        let mut client = connect(gateway.web()).await;
        let mut called = Vec::new();
        for _ in 0..4 {
            called.push(unary(&mut client, call("/e.E/Unary", &[]), b"hello").await);
        }
        called
    });
    for called in called {
        assert_eq!((called.grpc(), &*called.body), (Some("0"), &b"hello"[..]));
    }
}

#[test]
fn the_protocol_is_agreed_on_by_alpn() {
    let authority = Authority::new();
    let pair = authority.issue(&["127.0.0.1"]);
    let tls = format!("tls: {{ ca: {} }}", authority.file().display());
    let runtime = runtime();
    for protocol in ["http2", "auto"] {
        let config = certificates::server(&pair, None, &["h2", "http/1.1"]);
        let origin = Origin::start(&runtime, Some(config), 100, echo);
        let keys = format!(
            "protocol: {protocol}\n{tls}\nendpoints: [ {{ address: \"{}\" }} ]",
            origin.address
        );
        let gateway = forwarding(&keys);
        for _ in 0..2 {
            let called = in_time(&runtime, async {
                let mut client = connect(gateway.web()).await;
                unary(&mut client, call("/e.E/Unary", &[]), b"hello").await
            });
            assert_eq!((called.grpc(), &*called.body), (Some("0"), &b"hello"[..]), "{protocol}");
        }
        assert_eq!(origin.connections(), 1, "{protocol}");
    }
}

#[test]
fn grpc_services_are_probed() {
    let runtime = runtime();
    // SERVING, and then NOT_SERVING.
    let serving = Arc::new(AtomicUsize::new(1));
    let says = serving.clone();
    let origin = Origin::start(&runtime, None, 100, move |number, body, mut respond| {
        let says = says.load(Ordering::Relaxed) as u8;
        async move {
            if number % 2 == 0 {
                drop(body);
            }
            let Ok(mut send) = respond.send_response(head(200), false) else { return };
            send.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, says]), false).ok();
            send.send_trailers(trailers("0")).ok();
        }
    });
    let keys = format!(
        "{}\nhealth_check: {{ grpc: {{ service: shop.Cart }}, interval: 50ms, unhealthy: 1 }}\n\
         outlier_detection: {{ panic_below: 0% }}",
        endpoint(&origin)
    );
    let gateway = forwarding(&keys);
    let healthy = || {
        let view = crate::support::get(gateway.admin(), "admin", "/upstreams").body;
        let view: serde_json::Value = serde_json::from_str(&view).unwrap();
        let endpoint = &view[0]["endpoints"][0];
        (endpoint["healthy"].as_bool().unwrap(), endpoint["reason"].as_str().map(str::to_owned))
    };
    crate::support::eventually("probes", || (origin.connections() > 2).then_some(()));
    assert_eq!(healthy(), (true, None));
    assert_eq!(origin.seen().headers["content-type"], "application/grpc");
    serving.store(2, Ordering::Relaxed);
    let reason = "the service is not serving".to_owned();
    crate::support::eventually("an unhealthy endpoint", || {
        (healthy() == (false, Some(reason.clone()))).then_some(())
    });
    serving.store(1, Ordering::Relaxed);
    crate::support::eventually("a healthy endpoint", || (healthy() == (true, None)).then_some(()));
}
