//! Keys that are fetched: kept over whatever the issuer's endpoint does, and replaced when it
//! publishes others.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::issuer::{Issuer, claims};
use crate::support::{Gateway, Origin, Response, config, eventually, request};

/// An issuer's endpoint, which does as it is told. On an address where no other test takes its port
/// while it does not listen.
struct Endpoint {
    address: SocketAddr,
    answer: Arc<Mutex<String>>,
    origin: Option<Origin>,
}

impl Endpoint {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.77:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut endpoint = Self { address, answer: Arc::default(), origin: None };
        endpoint.listen(listener);
        endpoint
    }

    fn listen(&mut self, listener: TcpListener) {
        let answer = self.answer.clone();
        self.origin = Some(Origin::start_on(listener, move |request, stream| {
            assert!(request.request_line().starts_with("GET /keys "));
            // A connection for each fetch, so that one that is refused is refused.
            drop(stream.write_all(answer.lock().unwrap().as_bytes()));
            false
        }));
    }

    fn answers(&mut self, status: &str, body: &str) {
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if self.origin.is_none() {
            let address = self.address;
            self.listen(eventually("a free port", || TcpListener::bind(address).ok()));
        }
    }

    fn publishes(&mut self, issuer: &Issuer) {
        self.answers("200 OK", &json!({ "keys": [issuer.jwk()] }).to_string());
    }

    fn refuses(&mut self) {
        self.origin = None;
        eventually("refusal", || TcpStream::connect(self.address).is_err().then_some(()));
    }
}

/// What endpoints do when they fail, and what such a fetch is counted as.
const FAILURES: [(&str, &str); 4] =
    [("error", "status"), ("garbage", "invalid"), ("empty", "invalid"), ("refusal", "failed")];

/// A route for each failure, whose keys come as `jwks` says of the endpoint.
struct Scene {
    gateway: Gateway,
    endpoints: Vec<Endpoint>,
}

impl Scene {
    fn start(jwks: fn(&str, SocketAddr) -> String) -> Self {
        let endpoints: Vec<_> = FAILURES.map(|_| Endpoint::new()).into();
        let (mut upstreams, mut routes) = (String::new(), String::new());
        for ((name, _), endpoint) in FAILURES.iter().zip(&endpoints) {
            let address = endpoint.address;
            upstreams +=
                &format!("  - {{ name: {name}, endpoints: [{{ address: \"{address}\" }}] }}\n");
            routes += &format!(
                "      - name: {name}
        match: {{ path: {{ prefix: /{name} }} }}
        filters: [{{ name: {name}, jwt: {{ jwks: {}, issuer: me, audience: [shop] }} }}]
        respond: {{ status: 200 }}\n",
                jwks(name, address)
            );
        }
        let yaml = config(&format!(
            "upstreams:\n{upstreams}virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n{routes}"
        ));
        let mut scene = Self { endpoints, gateway: Gateway::start(&yaml) };
        for endpoint in &mut scene.endpoints {
            endpoint.answers("500 No", "");
        }
        scene
    }

    fn send(&self, name: &str, token: &str) -> Response {
        let head = format!("GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close");
        request(self.gateway.web(), &format!("{head}\r\nAuthorization: Bearer {token}\r\n\r\n"))
    }

    fn fetches(&self, name: &str, result: &str) -> f64 {
        let labels = format!("{{filter=\"{name}\",result=\"{result}\"}}");
        self.gateway.metric(&format!("sallyport_jwks_fetches_total{labels}")).unwrap_or(0.0)
    }

    /// Waits until this many more fetches had this result, in which `token` must pass all the time.
    fn outlasts(&self, (name, result): (&str, &str), before: f64, token: &str) {
        eventually(&format!("failures by {name}"), || {
            assert_eq!(self.send(name, token).status, 200, "{name}");
            (self.fetches(name, result) > before).then_some(())
        });
        assert_eq!(self.send(name, token).status, 200, "{name}");
    }

    /// Waits until `token` passes everywhere.
    fn come_to_accept(&self, token: &str) {
        for (name, _) in FAILURES {
            let accepted = || (self.send(name, token).status == 200).then_some(());
            eventually(&format!("keys of {name}"), accepted);
        }
    }

    /// Every endpoint fails in its own way.
    fn fail(&mut self) {
        let [error, garbage, empty, refusal] = &mut *self.endpoints else { panic!() };
        error.answers("500 No", "");
        garbage.answers("200 OK", "<html>come back later</html>");
        empty.answers("200 OK", "{ \"keys\": [] }");
        refusal.refuses();
    }

    fn run(mut self) {
        let (old, new) = (Issuer::new("old"), Issuer::new("new"));
        let (old_token, new_token) = (old.token(&claims()), new.token(&claims()));
        for (name, _) in FAILURES {
            let early = self.send(name, &old_token);
            assert_eq!((early.status, early.error().as_deref()), (503, Some("jwt_keys")), "{name}");
        }
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.publishes(&old));
        self.come_to_accept(&old_token);

        let before = FAILURES.map(|(name, result)| self.fetches(name, result));
        self.fail();
        for (failure, before) in FAILURES.into_iter().zip(before) {
            self.outlasts(failure, before, &old_token);
        }
        let yaml = std::fs::read_to_string(&self.gateway.config).unwrap();
        self.gateway.replace(
            &yaml.replace("respond: { status: 200 }", "respond: { status: 200, body: x }"),
        );
        self.come_to_accept(&old_token);

        self.endpoints.iter_mut().for_each(|endpoint| endpoint.publishes(&new));
        self.come_to_accept(&new_token);
        for (name, _) in FAILURES {
            let removed = self.send(name, &old_token);
            assert_eq!((removed.status, removed.error().as_deref()), (401, Some("jwt")), "{name}");
        }
    }
}

#[test]
fn keys_of_an_upstream_outlast_its_failures_and_rotate() {
    Scene::start(|name, _| {
        format!("{{ upstream: {name}, path: /keys, host: idp.example, refresh: 10s }}")
    })
    .run();
}

#[test]
fn keys_of_an_address_outlast_its_failures_and_rotate() {
    Scene::start(|_, address| format!("{{ url: \"http://{address}/keys\", refresh: 10s }}")).run();
}
