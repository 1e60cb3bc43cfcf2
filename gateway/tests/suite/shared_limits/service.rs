//! Envoy's rate limit service, as a server of its own crate speaks it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration as Span;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};

use super::{counted, requests};
use crate::support::{Client, Gateway, Origin, Response, config, eventually, request};

/// What the service is to do.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// As its limit says.
    Well,
    /// Never answers.
    Silent,
    /// Answers with an error of gRPC's.
    Ill,
}

/// A service with a limit of `requests` an hour for each set of descriptors.
struct Fixture {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<RateLimitRequest>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Limits {
    requests: u32,
    used: Mutex<BTreeMap<String, u32>>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<RateLimitRequest>>>,
}

impl Fixture {
    fn start(requests: u32) -> Self {
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Well)), Arc::default());
        let limits = Limits {
            requests,
            used: Mutex::default(),
            mood: mood.clone(),
            asked: Arc::clone(&asked),
        };
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = runtime.block_on(async {
            TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap())
        });
        let server = Server::builder().add_service(RateLimitServiceServer::new(limits));
        runtime.spawn(server.serve_with_incoming(incoming));
        Self { address, mood, asked, runtime: Some(runtime) }
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> Vec<RateLimitRequest> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl RateLimitService for Limits {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<tonic::Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().push(request.clone());
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => {}
            Mood::Silent => std::future::pending().await,
            Mood::Ill => return Err(Status::unavailable("out of sorts")),
        }
        let key = format!("{:?}", request.descriptors);
        let mut used = self.used.lock().unwrap();
        let used = used.entry(key).or_default();
        let is_over = *used >= self.requests;
        *used += if is_over { 0 } else { request.hits_addend };
        let code = if is_over { Code::OverLimit } else { Code::Ok };
        let limit = RateLimit {
            requests_per_unit: self.requests,
            unit: Unit::Hour.into(),
            ..RateLimit::default()
        };
        let status = DescriptorStatus {
            code: code.into(),
            current_limit: Some(limit),
            limit_remaining: self.requests.saturating_sub(*used),
            duration_until_reset: Some(Span { seconds: 1799, nanos: 1 }),
            ..DescriptorStatus::default()
        };
        let field = |key: &str, value: &str| HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..HeaderValue::default()
        };
        Ok(tonic::Response::new(RateLimitResponse {
            overall_code: code.into(),
            statuses: vec![status],
            response_headers_to_add: vec![
                field("x-limited-by", "fixture"),
                field("content-length", "3"),
            ],
            request_headers_to_add: vec![field("x-tier", "gold"), field("host", "elsewhere")],
            raw_body: if is_over { b"enough for now".to_vec() } else { Vec::new() },
            ..RateLimitResponse::default()
        }))
    }
}

/// A gateway whose every request is described to the service.
fn gateway(fixture: &Fixture, origin: &Origin, rest: &str) -> Gateway {
    let descriptors = "[[{ key: path, value: \"${path}\" }, { key: tenant, value: \"${header.x-tenant}\" }], \
                       [{ key: generic_key, value: all }]]";
    Gateway::start(&config(&format!(
        "upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
  - {{ name: limits, protocol: http2, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters:
      - rate_limit:
          shared:
            service: {{ upstream: limits, domain: edge, descriptors: {descriptors}, {rest} }}
    routes: [{{ name: everything, forward: {{ upstream: up }} }}]
",
        origin.address, fixture.address
    )))
}

fn ask(gateway: &Gateway, tenant: &str) -> Response {
    let text =
        format!("GET /a?b HTTP/1.1\r\nHost: a\r\nX-Tenant: {tenant}\r\nConnection: close\r\n\r\n");
    request(gateway.web(), &text)
}

#[test]
fn the_service_is_told_of_requests_and_decides() {
    let (fixture, origin) = (Fixture::start(4), Origin::named("up"));
    let gateway = gateway(&fixture, &origin, "hits_addend: 2, deadline: 10s, on_failure: closed");
    let first = ask(&gateway, "ann");
    assert_eq!((first.status, &*first.body), (200, "up"));
    assert_eq!(first.field("ratelimit-policy").unwrap(), "\"rate_limit\";q=4;w=3600");
    assert_eq!(first.field("ratelimit").unwrap(), "\"rate_limit\";r=2;t=1800");
    assert_eq!(first.fields("x-limited-by"), ["fixture"]);
    // What frames a message is nobody's to add.
    assert_eq!(first.fields("content-length"), ["2"]);
    let received = origin.last();
    assert_eq!(received.fields("x-tier"), ["gold"]);
    assert_eq!(received.fields("host"), ["a"]);

    let asked = fixture.asked().pop().unwrap();
    assert_eq!((&*asked.domain, asked.hits_addend), ("edge", 2));
    let described: Vec<Vec<_>> = asked
        .descriptors
        .iter()
        .map(|one| one.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect())
        .collect();
    let expected = vec![vec![("path", "/a"), ("tenant", "ann")], vec![("generic_key", "all")]];
    assert_eq!(described, expected);

    assert_eq!(ask(&gateway, "ann").status, 200);
    let last = ask(&gateway, "ann");
    assert_eq!((last.status, &*last.body), (429, "enough for now"));
    assert_eq!(last.error().as_deref(), Some("rate_limited"));
    assert_eq!(last.field("retry-after").as_deref(), Some("1800"));
    assert_eq!(last.fields("x-limited-by"), ["fixture"]);
    assert_eq!(origin.requests().len(), 2);
    assert_eq!(ask(&gateway, "bob").status, 200);
    assert_eq!((requests(&gateway, &["admitted"]), requests(&gateway, &["refused"])), (3.0, 1.0));
    assert_eq!(counted(&gateway, "round_trips_total", "result=\"ok\""), 4.0);
    // All over one connection.
    let reused = "sallyport_connection_reuse_total{upstream=\"limits\",reused=\"true\"}";
    assert!(gateway.metric(reused).unwrap() >= 2.0);
}

#[test]
fn a_descriptor_without_a_value_is_left_out() {
    let (fixture, origin) = (Fixture::start(100), Origin::named("up"));
    let gateway = gateway(&fixture, &origin, "deadline: 10s");
    let response = request(gateway.web(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(response.status, 200);
    let asked = fixture.asked().pop().unwrap();
    let keys: Vec<_> = asked.descriptors.iter().map(|one| &*one.entries[0].key).collect();
    assert_eq!((keys, asked.hits_addend), (vec!["generic_key"], 1));
}

#[test]
fn a_service_that_is_silent_or_ill_costs_a_few_deadlines_and_is_used_again_once_it_is_well() {
    for (mood, failure, result) in
        [(Mood::Silent, "deadline", "timeout"), (Mood::Ill, "error", "error")]
    {
        for (on_failure, status) in [("open", 200), ("closed", 429)] {
            let (fixture, origin) = (Fixture::start(1_000_000), Origin::named("up"));
            let rest = format!("deadline: 100ms, on_failure: {on_failure}");
            let gateway = gateway(&fixture, &origin, &rest);
            fixture.be(mood);
            let (mut client, began) = (Client::connect(gateway.web()), Instant::now());
            for _ in 0..60 {
                let response = client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").receive();
                assert_eq!(response.status, status, "{on_failure} {failure}");
            }
            assert!(counted(&gateway, "fallbacks_total", &format!("reason=\"{failure}\"")) >= 1.0);
            // A few, then one a pause, unless the upstream has set its endpoint aside before.
            let failed = counted(&gateway, "round_trips_total", &format!("result=\"{result}\""));
            let most = 6.0 + began.elapsed().as_secs_f64() * 20.0;
            assert!((1.0..=most).contains(&failed), "{failed}, not up to {most}");
            assert!(counted(&gateway, "fallbacks_total", "reason=\"away\"") >= 1.0);

            fixture.be(Mood::Well);
            eventually("the service to be asked again", || {
                ask(&gateway, "ann");
                (requests(&gateway, &["admitted"]) >= 3.0).then_some(())
            });
        }
    }
}

#[test]
fn a_service_that_is_not_there_is_done_without() {
    let (fixture, origin) = (Fixture::start(1), Origin::named("up"));
    let gateway = gateway(&fixture, &origin, "deadline: 10s, on_failure: closed");
    assert_eq!(ask(&gateway, "ann").status, 200);
    drop(fixture);
    eventually("a refusal without the service", || {
        assert_eq!(ask(&gateway, "carl").status, 429);
        (requests(&gateway, &["fallback_refused"]) >= 1.0).then_some(())
    });
}
