//! The requests of `plugins/examples/recorded.yaml` through the gateway and through Envoy, with the
//! same files as guests: the origin, the upstream that `auth` asks and the client must see the same.

#[path = "envoy/process.rs"]
mod process;
#[path = "envoy/recorded.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use self::process::Envoy;
use self::recorded::{Case, Reply};
use super::{LANGUAGES, guest};
use crate::support::{Client, Gateway, Origin, Received, config, missing};

const GUESTS: [&str; 3] = ["header", "body", "auth"];

/// What a proxy adds of its own, and what frames a message rather than being said in it. A name that
/// ends in `-` stands for all that begin with it.
const NOT_COMPARED: [&str; 9] = [
    "date",
    "server",
    "via",
    "x-request-id",
    "x-forwarded-",
    "x-envoy-",
    "content-length",
    "transfer-encoding",
    "connection",
];

/// A guest that both proxies run.
struct Served {
    name: String,
    guest: &'static str,
    module: PathBuf,
    configuration: &'static str,
}

#[test]
fn origins_and_clients_see_what_they_see_with_envoy() {
    let Some(program) = process::program() else { return missing("Envoy") };
    let Some(served) = served() else { return };
    let cases = recorded::cases();
    assert!(cases.len() >= 50, "only {} requests", cases.len());
    let stage = Stage::start();
    let gateway = Gateway::start(&stage.sallyport(&served));
    let envoy = Envoy::start(&program, &served, &stage.upstreams());
    let (mut compared, mut differences) = (0, Vec::new());
    for guest in &served {
        let listener = envoy.address(&guest.name);
        for case in cases.iter().filter(|case| case.guest == guest.guest) {
            let ours = stage.see(gateway.web(), case, guest);
            let theirs = stage.see(listener, case, guest);
            differences
                .extend(ours.differences(&theirs, &format!("{}, {}", guest.name, case.name)));
            compared += 1;
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert_eq!(compared, cases.len() * LANGUAGES.len());
    println!("{compared} requests compared");
}

fn served() -> Option<Vec<Served>> {
    let all = GUESTS.into_iter().flat_map(|guest| LANGUAGES.map(|language| (guest, language)));
    all.map(|(kind, language)| {
        let module = guest(&format!("{kind}_{language}"))?;
        let configuration = if kind == "auth" { "auth" } else { "" };
        Some(Served { name: format!("{kind}-{language}"), guest: kind, module, configuration })
    })
    .collect()
}

/// The upstreams of both proxies, which answer what the case says.
struct Stage {
    up: Scripted,
    auth: Scripted,
}

struct Scripted {
    origin: Origin,
    reply: Arc<Mutex<Option<Reply>>>,
}

impl Scripted {
    fn start() -> Self {
        let reply = Arc::<Mutex<Option<Reply>>>::default();
        let current = reply.clone();
        let origin = Origin::start(move |request, stream| {
            let method = request.request_line().split(' ').next().unwrap_or_default();
            let Some(reply) = current.lock().unwrap().clone() else { return false };
            stream.write_all(&reply.response(method)).is_ok()
        });
        Self { origin, reply }
    }

    fn next(&self, reply: Option<&Reply>) {
        self.origin.received.lock().unwrap().clear();
        *self.reply.lock().unwrap() = reply.cloned();
    }

    fn received(&self) -> Vec<Message> {
        let message = |got: Received| Message::new(got.request_line(), &got.head, got.body.clone());
        self.origin.requests().into_iter().map(message).collect()
    }
}

impl Stage {
    fn start() -> Self {
        Self { up: Scripted::start(), auth: Scripted::start() }
    }

    fn upstreams(&self) -> [(&'static str, SocketAddr); 2] {
        [("up", self.up.origin.address), ("auth", self.auth.origin.address)]
    }

    /// A virtual host for each guest.
    fn sallyport(&self, guests: &[Served]) -> String {
        let upstreams = self.upstreams().map(|(name, at)| {
            format!("  - {{ name: {name}, endpoints: [{{ address: \"{at}\" }}] }}\n")
        });
        let hosts: String = guests.iter().map(virtual_host).collect();
        config(&format!("upstreams:\n{}virtual_hosts:\n{hosts}", upstreams.concat()))
    }

    /// Sends the case's request to the proxy at `address`.
    fn see(&self, address: SocketAddr, case: &Case, guest: &Served) -> Seen {
        self.up.next(case.reply.as_ref());
        self.auth.next(case.check.as_ref());
        let mut client = Client::connect(address);
        let got = client.send(case.request(&guest.name)).try_receive(case.method == "HEAD");
        let got = got.unwrap_or_else(|| panic!("{}, {}: no response", guest.name, case.name));
        let status = got.status.to_string();
        Seen {
            origin: self.up.received(),
            auth: self.auth.received(),
            client: vec![Message::new(&status, &got.head, got.body.into_bytes())],
        }
    }
}

fn virtual_host(guest: &Served) -> String {
    let Served { name, module, configuration, .. } = guest;
    let module = module.display();
    // The host is not optimised here, and its share of a call counts.
    format!(
        "  - name: {name}
    domains: [{name}]
    routes:
      - name: {name}
        filters:
          - wasm: {{ module: {module}, deadline: 5s, upstreams: [auth], configuration: \"{configuration}\" }}
        forward: {{ upstream: up }}
"
    )
}

/// What came of one request, at each that saw anything of it.
struct Seen {
    origin: Vec<Message>,
    auth: Vec<Message>,
    client: Vec<Message>,
}

impl Seen {
    /// What is not as in `theirs`, a line each.
    fn differences(&self, theirs: &Self, what: &str) -> Vec<String> {
        let seen = [
            ("origin", &self.origin, &theirs.origin),
            ("auth", &self.auth, &theirs.auth),
            ("client", &self.client, &theirs.client),
        ];
        let mut found = Vec::new();
        for (who, ours, theirs) in seen {
            if ours.len() != theirs.len() {
                found.push(format!("{what}: {who} got {} and {}", ours.len(), theirs.len()));
            }
            for (ours, theirs) in ours.iter().zip(theirs) {
                let differences = ours.differences(theirs);
                found.extend(differences.map(|difference| format!("{what}: {who}: {difference}")));
            }
        }
        found
    }
}

/// A message, whichever way it went.
struct Message {
    /// The request line, or the status.
    line: String,
    /// By name in lower case; the values of one name in the order they came.
    fields: BTreeMap<String, Vec<String>>,
    body: Vec<u8>,
}

impl Message {
    fn new(line: &str, head: &str, body: Vec<u8>) -> Self {
        let mut fields = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
            let name = name.to_ascii_lowercase();
            if is_compared(&name) {
                fields.entry(name).or_default().push(value.trim().to_owned());
            }
        }
        Self { line: line.to_owned(), fields, body }
    }

    fn differences(&self, theirs: &Self) -> impl Iterator<Item = String> {
        let parts = [
            (self.line != theirs.line).then(|| format!("{:?}, not {:?}", self.line, theirs.line)),
            (self.fields != theirs.fields)
                .then(|| format!("{:?}, not {:?}", self.fields, theirs.fields)),
            (self.body != theirs.body).then(|| {
                format!("body {}, not {}", beginning(&self.body), beginning(&theirs.body))
            }),
        ];
        parts.into_iter().flatten()
    }
}

fn is_compared(name: &str) -> bool {
    !NOT_COMPARED.iter().any(|not| *not == name || not.ends_with('-') && name.starts_with(not))
}

fn beginning(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    format!("{shown:?} of {} bytes", body.len())
}
