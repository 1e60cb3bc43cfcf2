//! Large bodies: between two clear sockets the kernel moves them, where nobody looks at them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::{Client, Gateway, config, eventually};

/// More than the sockets and a pipe take at once.
const BODY_BYTES: usize = 3_000_017;

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

/// An origin that answers `/large` with noise, `/cut` with half of it and its end, and anything
/// else with `small`.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer_all(stream));
        }
    });
    address
}

fn answer_all(mut stream: TcpStream) {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(length) if length > 0 => bytes.extend_from_slice(&part[..length]),
                _ => return,
            }
        }
        let asks_for = |path: &str| bytes.starts_with(format!("GET {path} ").as_bytes());
        let body = if asks_for("/large") || asks_for("/cut") || asks_for("/looked-at") {
            noise(BODY_BYTES)
        } else {
            b"small".to_vec()
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let is_cut = asks_for("/cut");
        let body = &body[..if is_cut { BODY_BYTES / 2 } else { body.len() }];
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err()
            || is_cut
        {
            return;
        }
        bytes.clear();
    }
}

fn gateway(origin: SocketAddr) -> Gateway {
    Gateway::start(&config(&format!(
        "insecure: {{ engine: auto }}
upstreams: [ {{ name: up, endpoints: [ {{ address: \"{origin}\" }} ] }} ]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: looked-at
        match: {{ path: {{ exact: /looked-at }} }}
        filters: [ {{ compression: {{}} }} ]
        forward: {{ upstream: up }}
      - {{ name: rest, forward: {{ upstream: up }} }}
"
    )))
}

/// Ends of pipes that the gateway has open, beside those of its runtime.
fn pipes(gateway: &Gateway) -> usize {
    let folder = format!("/proc/{}/fd", gateway.pid());
    let links = fs::read_dir(folder).unwrap().flatten().map(|entry| fs::read_link(entry.path()));
    links.flatten().filter(|link| link.to_string_lossy().starts_with("pipe:")).count()
}

fn ask(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// Reads an answer whose head is followed by so many bytes, `part` of them at a time.
fn read_body(client: &mut Client, bytes: usize, part: usize) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_exact(1));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let mut body = Vec::new();
    while body.len() < bytes {
        body.extend(client.read_exact(part.min(bytes - body.len())));
    }
    body
}

#[test]
fn a_large_body_passes_whole_and_the_next_request_is_served() {
    let gateway = gateway(origin());
    let before = pipes(&gateway);
    let mut client = Client::connect(gateway.web());
    for (path, part) in [("/large", BODY_BYTES), ("/", 5), ("/large", 1000), ("/large", 65_537)] {
        let wanted = if path == "/" { b"small".to_vec() } else { noise(BODY_BYTES) };
        client.send(ask(path, ""));
        assert!(read_body(&mut client, wanted.len(), part) == wanted, "{path} by {part}");
    }
    // One pipe has served them all.
    assert_eq!(pipes(&gateway), before + 2);
    gateway.counts("sallyport_engine_requests_total{engine=\"http1\"}", 4.0);
    let sent = "sallyport_route_response_bytes_total{virtual_host=\"all\",route=\"rest\"}";
    gateway.counts(sent, (3 * BODY_BYTES + 5) as f64);
}

#[test]
fn a_body_that_a_filter_looks_at_is_not_left_to_the_kernel() {
    let gateway = gateway(origin());
    let before = pipes(&gateway);
    let mut client = Client::connect(gateway.web());
    client.send(ask("/looked-at", "Accept-Encoding: gzip\r\nConnection: close\r\n"));
    let answer = client.read_to_end();
    assert!(answer.len() < BODY_BYTES / 2 && answer.ends_with(b"\r\n0\r\n\r\n"));
    assert_eq!(pipes(&gateway), before);
}

#[test]
fn a_body_that_its_origin_cuts_off_is_cut_off_for_the_client() {
    let gateway = gateway(origin());
    let before = pipes(&gateway);
    let mut client = Client::connect(gateway.web());
    client.send(ask("/cut", ""));
    let half = noise(BODY_BYTES / 2);
    assert!(read_body(&mut client, half.len(), 65_536) == half);
    assert!(client.is_closed());
    // What the pipe held could be anybody's: it is not used again.
    assert_eq!(pipes(&gateway), before);
}

#[test]
fn a_client_that_leaves_a_large_body_is_noticed() {
    let gateway = gateway(origin());
    let before = pipes(&gateway);
    let mut client = Client::connect(gateway.web());
    client.send(ask("/large", ""));
    client.read_exact(100_000);
    drop(client);
    let active = "sallyport_connections_active{listener=\"web\"}";
    eventually("the connection is over", || (gateway.metric(active) == Some(0.0)).then_some(()));
    assert_eq!(pipes(&gateway), before);
}
