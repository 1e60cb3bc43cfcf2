//! How a table is written and run: the gateway between three backends that keep what they got, and
//! each case sent over both protocols.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::support::{Client, Gateway, Origin, PATIENCE, Received};

/// The host of requests that name none, as a client of port 80 sends it.
const HOST: &str = "gw.test";

/// The one listener of most tables.
const WEB: &str = "  - { name: web, address: 127.0.0.1:0, h2c: true }\n";

/// Field of a request by which a case tells the backend to send a field: `Name: value`.
const SEND: &str = "x-backend-send";

/// A request and what has to come of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    listener: &'static str,
    method: &'static str,
    host: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, String)>,
    status: Vec<u16>,
    backend: Option<&'static str>,
    seen_target: Option<&'static str>,
    seen_host: Option<&'static str>,
    seen: Vec<(&'static str, &'static str)>,
    unseen: Vec<&'static str>,
    answered: Vec<(&'static str, Vec<&'static str>)>,
    unanswered: Vec<&'static str>,
    location: Option<&'static str>,
}

/// A request with this method.
pub(super) fn send(method: &'static str, path: &'static str) -> Case {
    Case {
        listener: "web",
        method,
        host: HOST,
        path,
        fields: Vec::new(),
        status: vec![200],
        backend: None,
        seen_target: None,
        seen_host: None,
        seen: Vec::new(),
        unseen: Vec::new(),
        answered: Vec::new(),
        unanswered: Vec::new(),
        location: None,
    }
}

pub(super) fn get(path: &'static str) -> Case {
    send("GET", path)
}

impl Case {
    pub(super) fn on(self, listener: &'static str) -> Self {
        Self { listener, ..self }
    }

    pub(super) fn host(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// With this field.
    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    /// The backend's answer has this field.
    pub(super) fn backend_sends(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((SEND, format!("{name}: {value}")));
        self
    }

    /// It is answered with 200 by this backend, which sees the target as it was sent unless
    /// [`Case::sees_target`] says otherwise.
    pub(super) fn by(self, backend: &'static str) -> Self {
        let seen_target = self.seen_target.or(Some(self.path));
        Self { backend: Some(backend), seen_target, ..self }
    }

    pub(super) fn sees_target(self, target: &'static str) -> Self {
        Self { seen_target: Some(target), ..self }
    }

    pub(super) fn sees_host(self, host: &'static str) -> Self {
        Self { seen_host: Some(host), ..self }
    }

    /// The backend sees this value, where the lines of the field are joined by commas.
    pub(super) fn sees(mut self, name: &'static str, value: &'static str) -> Self {
        self.seen.push((name, value));
        self
    }

    pub(super) fn sees_no(mut self, name: &'static str) -> Self {
        self.unseen.push(name);
        self
    }

    /// The client gets one of these values, where the lines of the field are joined by commas and
    /// spaces do not count.
    pub(super) fn answers(mut self, name: &'static str, values: &[&'static str]) -> Self {
        self.answered.push((name, values.to_vec()));
        self
    }

    pub(super) fn answers_no(mut self, name: &'static str) -> Self {
        self.unanswered.push(name);
        self
    }

    pub(super) fn status(self, status: u16) -> Self {
        self.statuses(&[status])
    }

    /// It is answered with one of these.
    pub(super) fn statuses(self, status: &[u16]) -> Self {
        Self { status: status.to_vec(), ..self }
    }

    pub(super) fn redirects(self, status: u16, location: &'static str) -> Self {
        Self { location: Some(location), ..self }.status(status)
    }
}

/// One of a rule's matches; what is not asked for is left empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Match {
    exact: Option<&'static str>,
    prefix: Option<&'static str>,
    method: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
    query: Vec<(&'static str, &'static str)>,
}

pub(super) fn any() -> Match {
    Match::default()
}

pub(super) fn exact(path: &'static str) -> Match {
    Match { exact: Some(path), ..any() }
}

pub(super) fn prefix(path: &'static str) -> Match {
    Match { prefix: Some(path), ..any() }
}

impl Match {
    pub(super) fn method(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: &'static str) -> Self {
        self.query.push((name, value));
        self
    }

    /// Smaller for what the Gateway API prefers.
    fn precedence(&self) -> impl Ord {
        let less = |count: usize| usize::MAX - count;
        (
            self.exact.is_none(),
            less(self.prefix.map_or(1, |prefix| prefix.trim_end_matches('/').len())),
            self.method.is_none(),
            less(self.headers.len()),
            less(self.query.len()),
        )
    }

    fn yaml(&self) -> String {
        let mut parts = Vec::new();
        if let Some(path) = self.exact {
            parts.push(format!("path: {{ exact: {path:?} }}"));
        }
        // The Gateway API takes no notice of a slash at the end.
        if let Some(path) = self.prefix.map(|path| path.trim_end_matches('/')) {
            let path = if path.is_empty() { "/" } else { path };
            parts.push(format!("path: {{ prefix: {path:?} }}"));
        }
        if let Some(method) = self.method {
            parts.push(format!("methods: [{method}]"));
        }
        for (key, pairs) in [("headers", &self.headers), ("query", &self.query)] {
            let pairs =
                pairs.iter().map(|(name, value)| format!("{{ name: {name:?}, exact: {value:?} }}"));
            let pairs: Vec<_> = pairs.collect();
            if !pairs.is_empty() {
                parts.push(format!("{key}: [ {} ]", pairs.join(", ")));
            }
        }
        format!("{{ {} }}", parts.join(", "))
    }
}

/// The rules of a route of the Gateway API.
#[derive(Debug, Default)]
pub(super) struct Rules {
    rules: Vec<(Match, String)>,
}

impl Rules {
    /// Adds a rule; `then` is what a route of ours has beside its name and match.
    pub(super) fn rule(mut self, matches: &[Match], then: &str) -> Self {
        self.rules.extend(matches.iter().map(|found| (found.clone(), then.to_owned())));
        self
    }

    /// Adds a rule that forwards to a backend.
    pub(super) fn to(self, matches: &[Match], backend: &str) -> Self {
        self.rule(matches, &format!("forward: {{ upstream: {backend} }}"))
    }

    /// The routes as a list, in the order that the Gateway API's precedence asks for.
    pub(super) fn routes(&self) -> String {
        let mut sorted: Vec<_> = self.rules.iter().collect();
        // Stable, so that what is equal stays in the order of the rules.
        sorted.sort_by_cached_key(|(found, _)| found.precedence());
        let mut routes = String::from("[");
        for (index, (found, then)) in sorted.into_iter().enumerate() {
            write!(routes, " {{ name: r{index}, match: {}, {then} }},", found.yaml()).unwrap();
        }
        routes.push(']');
        routes
    }

    /// One virtual host with these domains.
    pub(super) fn host(&self, name: &str, domains: &[&str]) -> String {
        let routes = self.routes();
        format!("  - {{ name: {name}, domains: {domains:?}, routes: {routes} }}\n")
    }

    /// One virtual host for all domains.
    pub(super) fn everywhere(&self) -> String {
        self.host("all", &["*"])
    }
}

/// A gateway before the backends `v1`, `v2` and `v3`.
pub(super) struct Table {
    gateway: Gateway,
    backends: Vec<(&'static str, Origin)>,
}

impl Table {
    /// With one listener and these virtual hosts.
    pub(super) fn new(virtual_hosts: &str) -> Self {
        Self::with_listeners(WEB, virtual_hosts)
    }

    /// With these listeners, `web` among them.
    pub(super) fn with_listeners(listeners: &str, virtual_hosts: &str) -> Self {
        Self::start(listeners, &[], virtual_hosts)
    }

    /// With these keys in the upstreams named.
    pub(super) fn with_upstream(keys: &[(&str, &str)], virtual_hosts: &str) -> Self {
        Self::start(WEB, keys, virtual_hosts)
    }

    fn start(listeners: &str, keys: &[(&str, &str)], virtual_hosts: &str) -> Self {
        let backends = ["v1", "v2", "v3"].map(|name| {
            (name, Origin::start(move |request, stream| answer(name, request, stream)))
        });
        let mut upstreams = String::new();
        for (name, origin) in &backends {
            let address = origin.address;
            let keys = keys.iter().find(|(upstream, _)| upstream == name).map_or("", |keys| keys.1);
            let endpoints = format!("endpoints: [ {{ address: \"{address}\" }} ]");
            writeln!(upstreams, "  - {{ name: {name}, {keys} {endpoints} }}").unwrap();
        }
        let yaml = format!(
            "listeners:\n{listeners}upstreams:\n{upstreams}virtual_hosts:\n{virtual_hosts}"
        );
        Self { gateway: Gateway::start(&yaml), backends: backends.into() }
    }

    /// Sends every case over both protocols.
    pub(super) fn check(&self, cases: &[Case]) {
        for case in cases {
            let address = self.gateway.address(case.listener);
            self.judge("HTTP/1.1", case, &over_http1(address, case));
            self.judge("HTTP/2", case, &over_http2(address, case));
        }
    }

    /// How many of `count` requests each backend answers.
    pub(super) fn shares(&self, count: usize) -> [usize; 3] {
        let mut client = Client::connect(self.gateway.web());
        let mut shares = [0; 3];
        for _ in 0..count {
            let answer = client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).receive();
            let backend = self.backends.iter().position(|(name, _)| *name == answer.body);
            shares[backend.unwrap_or_else(|| panic!("{answer:?}"))] += 1;
        }
        shares
    }

    fn judge(&self, protocol: &str, case: &Case, answer: &Answer) {
        let shown = format!("{protocol} {case:#?}\n{answer:#?}");
        let received: Vec<(&str, Received)> = self
            .backends
            .iter()
            .flat_map(|(name, origin)| {
                let received: Vec<_> = origin.received.lock().unwrap().drain(..).collect();
                received.into_iter().map(move |received| (*name, received))
            })
            .collect();
        assert!(case.status.contains(&answer.status), "{shown}");
        for (name, values) in &case.answered {
            let plain = |text: &str| text.replace(' ', "");
            let found = answer.joined(name).unwrap_or_else(|| panic!("no {name}: {shown}"));
            let fits = |value: &&str| plain(value) == plain(&found);
            assert!(values.iter().any(fits), "{name} is {found:?}: {shown}");
        }
        for name in &case.unanswered {
            assert_eq!(answer.joined(name), None, "{name}: {shown}");
        }
        if let Some(location) = case.location {
            assert_eq!(answer.joined("location").as_deref(), Some(location), "{shown}");
        }
        let Some(backend) = case.backend else {
            assert!(received.is_empty() || answer.status == 200 || answer.status == 504, "{shown}");
            return;
        };
        let [(name, seen)] = &received[..] else { panic!("not one request arrived: {shown}") };
        assert_eq!(*name, backend, "{shown}");
        let mut line = seen.request_line().split(' ');
        assert_eq!(line.next(), Some(case.method), "{shown}");
        assert_eq!(line.next(), case.seen_target, "{shown}");
        let joined = |name: &str| {
            let fields = seen.fields(name);
            (!fields.is_empty()).then(|| fields.join(","))
        };
        let host = case.seen_host.unwrap_or(case.host);
        assert_eq!(joined("host").as_deref(), Some(host), "{shown}");
        for (name, value) in &case.seen {
            assert_eq!(joined(name).as_deref(), Some(*value), "{name}: {shown}");
        }
        for name in &case.unseen {
            assert_eq!(joined(name), None, "{name}: {shown}");
        }
    }
}

/// The backend: 200, with what the request asks for. `delay=1s` in the query is a second,
/// `delay=ever` until the gateway gives up.
fn answer(name: &str, request: &Received, stream: &mut std::net::TcpStream) -> bool {
    let line = request.request_line();
    if line.contains("delay=ever") {
        return std::io::Read::read(stream, &mut [0]).is_ok_and(|read| read > 0);
    }
    if line.contains("delay=1s") {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    let fields = request.fields(SEND).join("\r\n");
    let fields = if fields.is_empty() { fields } else { format!("{fields}\r\n") };
    let body = if line.starts_with("HEAD") { "" } else { name };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", name.len());
    stream.write_all(format!("{head}{body}").as_bytes()).is_ok()
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Answer {
    fn joined(&self, name: &str) -> Option<String> {
        let found = self.fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }
}

fn over_http1(address: SocketAddr, case: &Case) -> Answer {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        case.method, case.path, case.host
    );
    if matches!(case.method, "POST" | "PUT" | "PATCH") {
        text.push_str("Content-Length: 0\r\n");
    }
    for (name, value) in &case.fields {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    text.push_str("\r\n");
    let answer = Client::connect(address).send(text).try_receive(case.method == "HEAD").unwrap();
    let lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    let fields = lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Answer { status: answer.status, fields }
}

fn over_http2(address: SocketAddr, case: &Case) -> Answer {
    let mut request = http::Request::builder()
        .version(http::Version::HTTP_2)
        .method(case.method)
        .uri(format!("http://{}{}", case.host, case.path));
    for (name, value) in &case.fields {
        request = request.header(*name, value);
    }
    let request = request.body(()).unwrap();
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (response, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        while let Some(data) = body.data().await {
            let bytes = data.unwrap().len();
            body.flow_control().release_capacity(bytes).unwrap();
        }
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        Answer { status: head.status.as_u16(), fields: head.headers.iter().map(field).collect() }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.unwrap() })
}
