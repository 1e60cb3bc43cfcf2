//! Upgrades under clients that speak TLS and HTTP/2.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::{GET, Load, Requests, Upgradable, in_clear, is_running};
use crate::support::{Origin, eventually, forward_all};
use crate::tls::pki::{Pki, connect};

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Sends a request on `stream`; whether the connection stays open after its answer.
fn exchange(stream: &mut TlsStream) -> bool {
    stream.write_all(GET.as_bytes()).expect("an open connection");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\na") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).expect("an answer");
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    !answer.contains("connection: close")
}

fn over_tls(address: SocketAddr, config: Arc<ClientConfig>, keeps: bool) -> Requests {
    let mut kept = None;
    Box::new(move || {
        let open = || connect(&config, address, "a.example").expect("a handshake");
        let mut stream = kept.take().unwrap_or_else(open);
        let stays_open = exchange(&mut stream);
        kept = (keeps && stays_open).then_some(stream);
    })
}

/// A client of HTTP/2 that opens another connection when it is told to go away.
struct Http2 {
    runtime: Runtime,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    kept: Option<SendRequest<Bytes>>,
}

impl Http2 {
    fn requests(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Requests {
        let tls = tls.map(|config| {
            let mut config = Arc::unwrap_or_clone(config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let mut client = Self { runtime, address, tls, kept: None };
        Box::new(move || client.request())
    }

    fn request(&mut self) {
        let Self { runtime, address, tls, kept } = self;
        let exchange = async {
            let (client, answer) = loop {
                let client = match kept.take() {
                    Some(client) => client,
                    None => open(*address, tls.clone()).await,
                };
                let Ok(mut client) = client.ready().await else { continue };
                let request = http::Request::get("https://a.example/").body(()).unwrap();
                let Ok((answer, _)) = client.send_request(request, true) else { continue };
                match answer.await {
                    Ok(answer) => break (client, answer),
                    // RFC 9113, 6.8: sent after the GOAWAY, so nobody has begun it. That this is
                    // so, the origin's count shows.
                    Err(error)
                        if error.is_go_away() && error.reason() == Some(Reason::NO_ERROR) => {}
                    Err(error) => panic!("no answer: {error}"),
                }
            };
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            while let Some(part) = body.data().await {
                let part = part.expect("the whole body");
                body.flow_control().release_capacity(part.len()).unwrap();
            }
            *kept = Some(client);
        };
        runtime.block_on(exchange);
    }
}

async fn open(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let Some(config) = tls else { return begin(stream).await };
    let name = ServerName::try_from("a.example").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    begin(stream).await
}

async fn begin<S>(stream: S) -> SendRequest<Bytes>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = h2::client::handshake(stream).await.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    client
}

#[test]
fn twenty_upgrades_under_tls_and_http2_lose_nothing() {
    let (pki, origin) = (Pki::new("test"), Origin::named("a"));
    pki.issue("site", &["a.example"]);
    let listeners = format!(
        "  - {{ name: web, address: 127.0.0.1:0 }}\n  \
         - {{ name: h2c, address: 127.0.0.1:0, h2c: true }}\n  \
         - {{ name: tls, address: 127.0.0.1:0, tls: {{ certificates: [{}] }} }}\nadmin",
        pki.entry("site")
    );
    let yaml = forward_all(&[origin.address]);
    let with_tls = yaml.replacen("  - { name: web, address: 127.0.0.1:0 }\nadmin", &listeners, 1);
    assert_ne!(with_tls, yaml);
    let mut upgradable = Upgradable::start(&with_tls);
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let (h2c, tls) = (upgradable.gateway.address("h2c"), upgradable.gateway.address("tls"));
    let load = Load::of([
        in_clear(web, true),
        over_tls(tls, pki.client(None), true),
        over_tls(tls, pki.client(None), false),
        Http2::requests(tls, Some(pki.client(None))),
        Http2::requests(h2c, None),
    ]);
    for _ in 0..20 {
        upgradable.upgrade(&admin);
        load.goes_on();
    }
    let served = load.end();
    assert!(served > 100);
    assert_eq!(origin.requests().len(), served, "every request was served once");
    assert!(upgradable.gateway.wait().success(), "the first process has drained");
    let (last, others) = upgradable.processes.split_last().unwrap();
    for process in others {
        eventually("those between to end", || (!is_running(*process)).then_some(()));
    }
    assert!(is_running(*last));
}
