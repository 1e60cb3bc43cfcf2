//! Traces: a collector finds what the origin was told, for whom it should, and one that is not
//! there is felt by nobody.

#[path = "tracing/collector.rs"]
mod collector;
#[path = "tracing/context.rs"]
mod context;
#[path = "tracing/sending.rs"]
mod sending;
#[path = "tracing/spans.rs"]
mod spans;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use crate::support::{Gateway, Origin, Response, forward_all, request};

/// An address at which nobody listens, and nobody else can, for as long as the socket is held.
fn nobody() -> (OwnedFd, SocketAddr) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = getsockname(&socket).unwrap().try_into().unwrap();
    (socket, address)
}

/// `tracing:` to `url`, and whatever else.
fn tracing(url: &str, more: &str) -> String {
    format!("tracing:\n  otlp: {{ url: \"{url}\" }}\n{more}")
}

/// A gateway that forwards everything to `origin` and traces it to `url`.
fn gateway(origin: &Origin, url: &str, more: &str) -> Gateway {
    Gateway::start(&(forward_all(&[origin.address]) + &tracing(url, more)))
}

/// A GET with these fields, each a line.
fn ask(gateway: &Gateway, path: &str, fields: &[&str]) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    request(gateway.web(), &head)
}

/// Trace, span and flags of the one `traceparent` that an origin was sent.
fn told(origin: &Origin) -> (String, String, String) {
    let fields = origin.last().fields("traceparent");
    assert_eq!(fields.len(), 1, "{fields:?}");
    let parts: Vec<&str> = fields[0].split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{fields:?}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned())
}

/// The trace of tests that bring one, and the caller's span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{CALLER}-{flags}")
}
