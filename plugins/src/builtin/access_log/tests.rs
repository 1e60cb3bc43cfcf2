use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::KIND;
use super::config::tally;
use super::sink::{Sink, Target};
use super::writer::{Line, Tally, Writer, flush};
use crate::exchange::Outcome;
use crate::host::{Host, Metrics};
use crate::testing::{Tried, problems};

/// A folder of this test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("sallyport-access-log-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn outcome() -> Outcome<'static> {
    Outcome {
        status: Some(StatusCode::OK),
        response: None,
        cause: None,
        duration: Duration::from_micros(1500),
        request_bytes: 7,
        response_bytes: 11,
    }
}

/// Waits until `done`, at most ten seconds.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::yield_now();
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A log to `file`, with what else its configuration says.
fn log_to(file: &Path, rest: &str) -> Tried {
    Tried::new(&KIND, &format!("{{ to: {{ file: '{}' }}{rest} }}", file.display()))
}

/// The line that a log writes of a request that `change` makes.
fn line(rest: &str, change: impl FnOnce(&mut Tried)) -> String {
    let folder = Folder::new(&format!("line-{}", fastrand::u64(..)));
    let file = folder.file("a.log");
    let mut tried = log_to(&file, rest);
    change(&mut tried);
    tried.log(&outcome());
    until("a line is written", || !lines(&file).is_empty());
    lines(&file).remove(0)
}

#[test]
fn a_json_line_has_numbers_strings_and_nulls() {
    let text = line("", |tried| {
        tried.request.uri = "/a?b=1".parse().unwrap();
        tried.header("user-agent", "curl");
        tried.about.client = Some(Ipv4Addr::new(192, 0, 2, 7).into());
    });
    let line: HashMap<String, Value> = serde_json::from_str(&text).unwrap();
    let shown = |name: &str| line[name].to_string();
    for (name, expected) in [
        ("method", "\"GET\""),
        ("path", "\"/a?b=1\""),
        ("host", "null"),
        ("status", "200"),
        ("duration_ms", "1.500"),
        ("request_bytes", "7"),
        ("response_bytes", "11"),
        ("client", "\"192.0.2.7\""),
        ("route", "\"none\""),
        ("upstream", "null"),
        ("user_agent", "\"curl\""),
        ("network", "null"),
    ] {
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(shown(name), expected.to_string(), "{name}");
    }
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert!(text.starts_with("{\"time\":"), "{text}");
}

#[test]
fn no_client_can_forge_json() {
    let forged = b"\"},{\"status\":500,\"a\":\"\\\t\x80\xff\xc2\x85";
    let text = line(
        ", fields: { 'a\"': 'ua ${header.user-agent}', b: '${header.user-agent}' }",
        |tried| {
            let value = HeaderValue::from_bytes(forged).unwrap();
            tried.request.headers.insert("user-agent", value);
        },
    );
    assert!(!text.contains(char::is_control));
    let line: HashMap<String, Value> = serde_json::from_str(&text).unwrap();
    let expected = String::from_utf8_lossy(forged);
    assert_eq!(line.len(), 2);
    assert_eq!(line["b"].as_str(), Some(&*expected));
    assert_eq!(line["a\""].as_str().unwrap(), format!("ua {expected}"));
}

#[test]
fn no_client_can_forge_a_template() {
    let format = ", format: { template: \"${method}\\t\\\"${header.user-agent}\\\" ${status}\" }";
    let text = line(format, |tried| {
        let forged = HeaderValue::from_bytes(b"x\" 200\t\\\xc2\x85ok\xc3\xa9").unwrap();
        tried.request.headers.insert("user-agent", forged);
    });
    assert_eq!(text, "GET\t\"x\\x22 200\\x09\\x5C\\xC2\\x85oké\" 200");
}

#[test]
fn long_values_are_cut() {
    let text = line(", format: { template: '${header.a}|' }", |tried| {
        let long = "é".repeat(5000);
        let value = HeaderValue::from_bytes(long.as_bytes()).unwrap();
        tried.request.headers.insert("a", value);
    });
    assert_eq!(text.len(), 2049);
}

#[test]
fn a_log_that_is_moved_away_is_opened_again() {
    let folder = Folder::new("rotation");
    let (file, moved) = (folder.file("a.log"), folder.file("a.log.1"));
    let mut tried = log_to(&file, ", format: { template: '${path}' }");
    let mut log = |path: &str| {
        tried.request.uri = path.parse().unwrap();
        tried.log(&outcome());
    };
    log("/1");
    until("the first line", || lines(&file) == ["/1"]);
    std::fs::rename(&file, &moved).unwrap();
    log("/2");
    until("a line to the moved file", || lines(&moved) == ["/1", "/2"]);
    signal_hook::low_level::raise(signal_hook::consts::SIGUSR1).unwrap();
    // Without a line, too.
    until("the new file", || file.exists());
    log("/3");
    until("a line to the new file", || lines(&file) == ["/3"]);
    assert_eq!(lines(&moved), ["/1", "/2"]);
}

#[test]
fn two_places_share_the_writer_of_a_file() {
    let folder = Folder::new("shared");
    let target = |name: &str| Target::File(folder.file(name));
    let one = Writer::of(&target("a.log"), 10).unwrap();
    assert!(Arc::ptr_eq(&one, &Writer::of(&target("a.log"), 10).unwrap()));
    assert!(!Arc::ptr_eq(&one, &Writer::of(&target("b.log"), 10).unwrap()));
}

#[test]
fn what_is_queued_is_written_after_the_last_place_is_gone() {
    let folder = Folder::new("end");
    let file = folder.file("a.log");
    let mut tried = log_to(&file, ", format: { template: '${method}' }");
    for _ in 0..1000 {
        tried.log(&outcome());
    }
    drop(tried);
    until("all lines", || lines(&file).len() == 1000);
    assert!(flush(Duration::from_secs(10)));
}

/// A sink that says when it writes, and then waits to be let go.
struct Stuck(Sender<usize>, Receiver<io::Result<()>>);

impl Sink for Stuck {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        self.0.send(lines.len()).unwrap();
        match self.1.recv().unwrap_or(Ok(())) {
            Ok(()) => Ok(lines.len()),
            Err(error) => Err((0, error)),
        }
    }
}

fn counts(tally: &Tally) -> (u64, u64) {
    (tally.written.get(), tally.dropped.get())
}

#[test]
fn a_sink_that_is_stuck_holds_nobody_up_and_what_is_lost_is_counted() {
    let (writes, written) = channel();
    let (go, let_go) = channel();
    let stuck = Mutex::new(Some(Stuck(writes, let_go)));
    let open = move || {
        let stuck = stuck.lock().unwrap().take().ok_or_else(|| io::Error::other("opened twice"))?;
        Ok(Box::new(stuck) as Box<dyn Sink>)
    };
    let writer = Writer::start(open, 4).unwrap();
    let tally = Arc::new(tally(&Metrics::default(), "log"));
    let write = || writer.write("line".into(), &tally);
    write();
    assert_eq!(written.recv().unwrap(), 1);
    (0..7).for_each(|_| write());
    assert_eq!(counts(&tally), (0, 3));
    go.send(Ok(())).unwrap();
    assert_eq!(written.recv().unwrap(), 4);
    go.send(Err(io::Error::other("full"))).unwrap();
    until("the failed batch is counted", || counts(&tally) == (1, 7));
    // It goes on afterwards.
    write();
    assert_eq!(written.recv().unwrap(), 1);
    go.send(Ok(())).unwrap();
    until("a line after the failure", || counts(&tally) == (2, 7));
}

#[test]
fn counts_are_by_filter() {
    let (folder, metrics) = (Folder::new("counts"), Metrics::default());
    let config = format!("{{ to: {{ file: '{}' }} }}", folder.file("a.log").display());
    let host = Host { metrics: metrics.clone(), ..Host::idle() };
    let mut tried = Tried::with_host(&KIND, &config, host);
    tried.log(&outcome());
    let tally = tally(&metrics, "access_log");
    until("the line is counted", || counts(&tally) == (1, 0));
}

/// What a datagram must be: RFC 5424, 6.
fn is_message(datagram: &[u8], priority: u8) {
    let text = std::str::from_utf8(datagram).unwrap();
    let fields: Vec<_> = text.splitn(8, ' ').collect();
    assert_eq!(fields[0], format!("<{priority}>1"));
    assert!(fields[1].len() == 24 && fields[1].ends_with('Z'), "{text}");
    let pid = std::process::id().to_string();
    assert_eq!(fields[3..], ["sallyport", &pid, "access", "-", "GET /a"], "{text}");
}

const SHORT: &str = "format: { template: '${method} ${path}' }";

#[test]
fn syslog_over_udp() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = daemon.local_addr().unwrap();
    let config = format!("{{ to: {{ syslog: {{ address: 'udp://{address}' }} }}, {SHORT} }}");
    let mut tried = Tried::new(&KIND, &config);
    tried.request.uri = "/a".parse().unwrap();
    tried.log(&outcome());
    let mut datagram = [0; 2048];
    let length = daemon.recv(&mut datagram).unwrap();
    is_message(&datagram[..length], 16 * 8 + 6);
}

#[test]
fn syslog_over_a_unix_socket() {
    let folder = Folder::new("syslog");
    let path = folder.file("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let syslog = format!("{{ address: 'unix:{}', facility: local7 }}", path.display());
    let config = format!("{{ to: {{ syslog: {syslog} }}, {SHORT} }}");
    let mut tried = Tried::new(&KIND, &config);
    tried.request.uri = "/a".parse().unwrap();
    tried.log(&outcome());
    let mut datagram = [0; 2048];
    let length = daemon.recv(&mut datagram).unwrap();
    is_message(&datagram[..length], 23 * 8 + 6);
}

#[test]
fn a_folder_that_is_not_there_is_a_problem() {
    let folder = Folder::new("missing");
    let said = problems(&KIND, "{ to: { file: no/such/a.log } }", &folder.0);
    assert!(said.contains("does not exist"), "{said}");
    assert_eq!(problems(&KIND, "{ to: { file: a.log } }", &folder.0), "");
    assert!(!folder.file("a.log").exists(), "a check writes nothing");
}

/// What a line costs the worker: `cargo test --release -- --ignored --nocapture access_log`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    let folder = Folder::new("cost");
    let mut tried = log_to(&folder.file("a.log"), ", queue: 1048576");
    tried.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101");
    let begun = Instant::now();
    for _ in 0..200_000 {
        tried.log(&outcome());
    }
    eprintln!("{:?} a line, with the writer beside it", begun.elapsed() / 200_000);
    flush(Duration::from_secs(30));
    eprintln!("{:?} a line until it is in the file", begun.elapsed() / 200_000);
}
