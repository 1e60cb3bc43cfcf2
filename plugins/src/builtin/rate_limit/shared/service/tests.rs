use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::super::super::KIND;
use crate::chain::Step;
use crate::filter::BoxFuture;
use crate::host::{Call, CallError, Calls, Host, Reply};
use crate::testing::Tried;

const FILTER: &str = "{ shared: { service: { upstream: limits, domain: edge, \
    descriptors: [[{ key: tenant, value: \"${header.x-tenant}\" }]], on_failure: closed } } }";

/// Answers every call with the same.
#[derive(Debug)]
struct Always {
    reply: Mutex<Result<Reply, CallError>>,
    calls: Mutex<Vec<Call>>,
}

impl Calls for Always {
    fn call(&self, _upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        self.calls.lock().unwrap().push(call);
        Box::pin(std::future::ready(self.reply.lock().unwrap().clone()))
    }
}

fn reply(body: &'static [u8]) -> Result<Reply, CallError> {
    let body = Bytes::from_static(body);
    Ok(Reply { status: StatusCode::OK, headers: HeaderMap::new(), body })
}

fn tried(reply: Result<Reply, CallError>) -> (Tried, Arc<Always>) {
    let calls = Arc::new(Always { reply: Mutex::new(reply), calls: Mutex::default() });
    let host = Host { calls: calls.clone(), ..Host::idle() };
    let mut tried = Tried::with_host(&KIND, FILTER, host);
    tried.header("x-tenant", "ann");
    (tried, calls)
}

/// The status that a request is refused with.
fn refused(tried: &mut Tried) -> Option<u16> {
    match tried.request() {
        Step::Answer(answer) => Some(answer.status.as_u16()),
        _ => None,
    }
}

#[test]
fn the_answer_decides_and_nothing_else_passes_for_one() {
    let (mut fine, calls) = tried(reply(b"\0\0\0\0\x02\x08\x01"));
    assert_eq!(refused(&mut fine), None);
    let call = calls.calls.lock().unwrap().pop().unwrap();
    assert_eq!(&*call.path, "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    assert_eq!(
        (&*call.authority, &call.headers["grpc-timeout"]),
        ("limits", &"50m".parse().unwrap())
    );
    assert_eq!(&call.body[5..], b"\x0a\x04edge\x12\x0f\x0a\x0d\x0a\x06tenant\x12\x03ann\x18\x01");

    assert_eq!(refused(&mut tried(reply(b"\0\0\0\0\x02\x08\x02")).0), Some(429));
    let ill = |status: u16| {
        let mut reply = reply(b"\0\0\0\0\x02\x08\x01").unwrap();
        reply.status = StatusCode::from_u16(status).unwrap();
        Ok(reply)
    };
    let mut failed = reply(b"\0\0\0\0\x02\x08\x01").unwrap();
    failed.headers.insert("grpc-status", "14".parse().unwrap());
    for reply in [
        reply(b""),
        reply(b"\0\0\0\0\0"),
        reply(b"\0\0\0\0\x02\x08\x07"),
        ill(503),
        Ok(failed),
        Err(CallError::Timeout),
        Err(CallError::NoEndpoint),
    ] {
        assert_eq!(refused(&mut tried(reply).0), Some(429));
    }
}

#[test]
fn a_request_that_no_descriptor_fits_is_not_asked_about() {
    let (mut tried, calls) = tried(Err(CallError::Timeout));
    tried.request.headers.remove("x-tenant");
    assert_eq!(refused(&mut tried), None);
    assert!(calls.calls.lock().unwrap().is_empty());
}

#[test]
fn a_service_is_asked_again_after_a_failure_or_a_few() {
    let (mut tried, calls) = tried(Err(CallError::Timeout));
    for _ in 0..5 {
        assert_eq!(refused(&mut tried), Some(429));
        tried.run = crate::Run::default();
    }
    assert_eq!(calls.calls.lock().unwrap().len(), 5);
}

#[test]
fn the_limit_that_is_closest_is_told() {
    // A status with 7 of 10 a second left, and one with 3 of 60 a minute, reset in 2 s.
    let body = b"\0\0\0\0\x1e\x08\x01\
        \x12\x0a\x08\x01\x12\x04\x08\x0a\x10\x01\x18\x07\
        \x12\x0e\x08\x01\x12\x04\x08\x3c\x10\x02\x18\x03\x22\x02\x08\x02";
    let (mut tried, _) = tried(reply(body));
    assert_eq!(refused(&mut tried), None);
    let mut response = Response::new(()).into_parts().0;
    tried.response(&mut response);
    assert_eq!(response.headers["ratelimit-policy"], "\"rate_limit\";q=60;w=60");
    assert_eq!(response.headers["ratelimit"], "\"rate_limit\";r=3;t=2");
}
