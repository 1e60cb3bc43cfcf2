//! Mutated requests against the running gateway: whatever comes, it lives on, logs little, holds little, answers or
//! closes, and an origin sees no request that the client did not frame as one.
//!
//! The seeds are in `tests/corpus/http1`; the mutations follow from a number, so that a run can be repeated. A few
//! seconds belong to the suite; `make fuzz-http SECONDS=1200` goes on.

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/reference.rs"]
mod reference;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::mutate::Mutator;
use self::reference::{Request, requests, responses};
use crate::support::{Gateway, Origin, PATIENCE, Received, get};

/// Listeners, each with an origin of its own, so that what arrives there is one client's doing.
const CLIENTS: usize = 8;
/// How long the suite's run takes, without the last exchanges.
const SHORT: Duration = Duration::from_secs(8);
/// What one exchange may log on average: an origin that breaks off is a line of the operator's.
const LOG_BYTES_MAX: u64 = 64;
/// What is beside that: the lines of the start.
const LOG_BYTES_START: u64 = 16 << 10;
/// Growth that is no leak: allocators keep what they once had.
const GROWTH_MAX_KIB: u64 = 96 << 10;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/http1");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn config(origins: &[Origin]) -> String {
    use std::fmt::Write as _;
    let mut yaml = "listeners:\n".to_owned();
    for client in 0..origins.len() {
        let name = if client == 0 { "web".to_owned() } else { format!("web{client}") };
        let timeouts = "timeouts: { idle: 150ms, read: 150ms }";
        let line = format!(
            "{{ name: {name}, address: 127.0.0.1:0, virtual_hosts: [v{client}], {timeouts} }}"
        );
        writeln!(yaml, "  - {line}").unwrap();
    }
    yaml.push_str("admin: { address: 127.0.0.1:0 }\nupstreams:\n");
    for (client, origin) in origins.iter().enumerate() {
        let endpoints = format!("endpoints: [{{ address: \"{}\" }}]", origin.address);
        writeln!(yaml, "  - {{ name: u{client}, {endpoints} }}").unwrap();
    }
    yaml.push_str("virtual_hosts:\n");
    for client in 0..origins.len() {
        let route = format!("{{ name: r, forward: {{ upstream: u{client} }} }}");
        writeln!(yaml, "  - {{ name: v{client}, domains: [\"*\"], routes: [{route}] }}").unwrap();
    }
    yaml
}

#[test]
fn mutated_requests_do_no_harm() {
    let seconds = number("SALLYPORT_FUZZ_SECONDS").map_or(SHORT, Duration::from_secs);
    let seed = number("SALLYPORT_FUZZ_SEED").unwrap_or(1);
    let origins: Vec<Origin> = (0..CLIENTS).map(|_| Origin::named("a")).collect();
    let gateway = Gateway::start(&config(&origins));
    let addresses: Vec<SocketAddr> = (0..CLIENTS)
        .map(|client| match client {
            0 => gateway.web(),
            client => gateway.address(&format!("web{client}")),
        })
        .collect();
    let corpus = corpus();
    for address in &addresses {
        get(*address, "a", "/warm");
    }
    let before_kib = gateway.resident_kib();
    let exchanges = AtomicU64::new(0);
    let until = Instant::now() + seconds;
    std::thread::scope(|scope| {
        for (client, (address, origin)) in addresses.iter().zip(&origins).enumerate() {
            let (corpus, exchanges) = (&corpus, &exchanges);
            scope.spawn(move || {
                let mut mutator = Mutator::new(seed * CLIENTS as u64 + client as u64);
                while Instant::now() < until {
                    let bytes = mutator.next(corpus);
                    exchange(*address, origin, &bytes, mutator.cut(bytes.len()));
                    exchanges.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let exchanges = exchanges.into_inner();
    eprintln!("{exchanges} exchanges from seed {seed}");
    assert_eq!(get(addresses[0], "a", "/alive").status, 200);
    let log = gateway.log();
    assert!(!log.iter().any(|line| line.contains("panicked")), "{log:#?}");
    let logged = log.iter().map(|line| line.len() as u64).sum::<u64>();
    assert!(logged < LOG_BYTES_START + exchanges * LOG_BYTES_MAX, "{logged} bytes of log");
    let grown = gateway.resident_kib().saturating_sub(before_kib);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB more than before {exchanges} exchanges");
}

/// Sends `bytes` in two pieces and reads what comes until everything is answered or the gateway closes.
fn exchange(address: SocketAddr, origin: &Origin, bytes: &[u8], cut: usize) {
    origin.received.lock().unwrap().clear();
    let sent = requests(bytes);
    let methods: Vec<&str> = sent.iter().map(|request| &*request.method).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The gateway may have refused the beginning and closed.
    drop(stream.write_all(&bytes[..cut]));
    drop(stream.write_all(&bytes[cut..]));
    let shown = || bytes.escape_ascii().to_string();
    let mut answer = Vec::new();
    let mut piece = [0; 4 << 10];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither an answer nor a close: {}", shown());
            }
            Err(_) => break,
        }
        let complete = responses(&answer, &methods).map_or(0, |responses| responses.len());
        if complete == sent.len() && complete > 0 {
            break;
        }
    }
    let responses = responses(&answer, &methods)
        .unwrap_or_else(|what| panic!("{what}: {} to {}", answer.escape_ascii(), shown()));
    // One more than there are requests is the refusal of what is none.
    assert!(responses.len() <= sent.len() + 1, "{} to {}", answer.escape_ascii(), shown());
    let seen = origin.requests();
    assert!(is_part_of(&seen, &sent), "the origin saw {seen:#?} of {}", shown());
}

/// Whether `seen` are requests of `sent`, in order.
fn is_part_of(seen: &[Received], sent: &[Request]) -> bool {
    let mut sent = sent.iter();
    seen.iter().all(|seen| {
        let method = seen.request_line().split(' ').next().unwrap_or_default();
        sent.any(|sent| sent.method == method && sent.body == seen.body)
    })
}
