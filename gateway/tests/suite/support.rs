//! What the tests stand on: the gateway, origins, and a client that sends exactly what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Long enough for a loaded machine; a test that waits this long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary under test.
pub(crate) fn sallyport() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    // Compiled modules are shared by all tests, and not with whoever runs them.
    command.env_remove("CACHE_DIRECTORY").env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Waits until `condition` yields something.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, Duration::from_millis(5), what, condition)
}

/// As [`eventually`], with another patience and this pause between two looks: for what is much work
/// for the gateway, which looking is as well.
pub(crate) fn eventually_within<T>(
    patience: Duration,
    pause: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not come true: {what}");
        thread::sleep(pause);
    }
}

/// Whether a tool that is not part of the build is here. Where all must be, its absence fails.
pub(crate) fn tool(name: &str) -> bool {
    let found = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join(name).exists());
    if !found {
        missing(name);
    }
    found
}

/// Says loudly that `what` is not here. Where everything must be, that fails.
pub(crate) fn missing(what: &str) {
    assert!(
        std::env::var_os("SALLYPORT_REQUIRE_TOOLS").is_none(),
        "{what} is needed: `make test` provides it"
    );
    eprintln!("SKIPPED: {what} is not here; `make test` provides it");
}

/// A running gateway; ended with this value.
pub(crate) struct Gateway {
    /// Removed when the gateway has ended.
    _folder: TempDir,
    pub(crate) config: PathBuf,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// Starts the gateway on `yaml` and waits until every listener accepts.
    pub(crate) fn start(yaml: &str) -> Self {
        Self::start_with(yaml, sallyport())
    }

    /// As [`Gateway::start`], on a file that is already there.
    pub(crate) fn start_in(folder: TempDir, config: PathBuf) -> Self {
        Self::spawn(folder, config, sallyport(), 2)
    }

    /// As [`Gateway::start`], logging what `filter` lets through.
    pub(crate) fn start_logging(yaml: &str, filter: &str) -> Self {
        let mut command = sallyport();
        command.env("SALLYPORT_LOG", filter);
        Self::start_with(yaml, command)
    }

    /// As [`Gateway::start`], with another program.
    pub(crate) fn start_with(yaml: &str, program: Command) -> Self {
        let (folder, config) = written(yaml);
        Self::spawn(folder, config, program, 2)
    }

    /// As [`Gateway::start`], with one worker. Between two, Pingora's pool may now and then fail to hand
    /// out a connection: its watcher, on the other thread, has unlocked it and not let go of it yet.
    pub(crate) fn start_single(yaml: &str) -> Self {
        let (folder, config) = written(yaml);
        Self::spawn(folder, config, sallyport(), 1)
    }

    fn spawn(folder: TempDir, config: PathBuf, mut command: Command, threads: usize) -> Self {
        command.args(["run", "--threads", &threads.to_string(), "--config"]).arg(&config);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = log.clone();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let gateway = Self { _folder: folder, config, child, log };
        gateway.address("web");
        gateway
    }

    /// Where the listener called `name` listens.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let mark = format!("name={name} address=");
        let line = self.logged(&mark);
        let address = line.split(&mark).nth(1).unwrap();
        address.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn web(&self) -> SocketAddr {
        self.address("web")
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line that contains `text`.
    pub(crate) fn logged(&self, text: &str) -> String {
        eventually(&format!("a log line with {text:?}; the log: {:#?}", self.log()), || {
            self.log().into_iter().find(|line| line.contains(text))
        })
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Replaces the configuration by a rename and waits until it is in force.
    pub(crate) fn replace(&self, yaml: &str) {
        let before = self.version();
        write_by_rename(&self.config, &on_engine(yaml));
        eventually("a new version", || (self.version() > before).then_some(()));
    }

    pub(crate) fn version(&self) -> u64 {
        self.config_view()["version"].as_u64().unwrap()
    }

    pub(crate) fn config_view(&self) -> serde_json::Value {
        serde_json::from_str(&get(self.admin(), "localhost", "/config").body).unwrap()
    }

    /// The value of `sample`, a name with labels in any order.
    pub(crate) fn metric(&self, sample: &str) -> Option<f64> {
        let wanted = parts(sample);
        let body = get(self.admin(), "localhost", "/metrics").body;
        let samples = body.lines().filter_map(|line| line.rsplit_once(' '));
        let mut found = samples.filter(|(found, _)| parts(found) == wanted);
        found.next().and_then(|(_, value)| value.parse().ok())
    }

    /// Waits until `sample` has this value: what a request counts may come after its answer.
    pub(crate) fn counts(&self, sample: &str, value: f64) {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        while last != Some(value) {
            assert!(Instant::now() < deadline, "{sample}: {last:?}, not {value}");
            last = self.metric(sample);
        }
    }

    /// CPU time of its workers and other threads so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap());
        // Linux shows user space ticks of 10 ms, whatever it counts in.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        eventually("the gateway to end", || self.child.try_wait().unwrap())
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// A folder with `yaml` in it as a file.
fn written(yaml: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sallyport.yaml");
    std::fs::write(&config, on_engine(yaml)).unwrap();
    (folder, config)
}

/// `yaml` with the engine that `SALLYPORT_TEST_ENGINE` names, so that all tests can be run with either.
fn on_engine(yaml: &str) -> String {
    let says = yaml.lines().any(|line| line.starts_with("insecure:"));
    match std::env::var("SALLYPORT_TEST_ENGINE") {
        Ok(engine) if !says && yaml.starts_with("listeners:") => {
            format!("{}\ninsecure: {{ engine: {engine} }}\n", yaml.trim_end_matches('\n'))
        }
        _ => yaml.to_owned(),
    }
}

/// The name and the labels of a sample, in one order.
fn parts(sample: &str) -> std::collections::BTreeSet<&str> {
    sample.split(['{', '}', ',']).filter(|part| !part.is_empty()).collect()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the gateway's log: {:#?}", self.log());
        }
    }
}

/// Writes `text` beside `path` and renames it into place.
pub(crate) fn write_by_rename(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// Listeners on free ports, and `rest`.
pub(crate) fn config(rest: &str) -> String {
    format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0 }}\nadmin: {{ address: 127.0.0.1:0 }}\n{rest}"
    )
}

/// One virtual host that sends everything to `upstream`, whose endpoints are given.
pub(crate) fn forward_all(endpoints: &[SocketAddr]) -> String {
    let endpoints: String =
        endpoints.iter().map(|address| format!("      - {{ address: \"{address}\" }}\n")).collect();
    config(&format!(
        "upstreams:\n  - name: up\n    endpoints:\n{endpoints}\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: everything, forward: {{ upstream: up }} }}\n"
    ))
}

/// `sallyport check` on `yaml`.
pub(crate) fn check(yaml: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, yaml).unwrap();
    sallyport().arg("check").arg(&file).output().unwrap()
}

/// A request as an origin received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    /// Every value of the field `name`.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }
}

type Handler = dyn Fn(&Received, &mut TcpStream) -> bool + Send + Sync;

/// An origin in this process. It keeps what it received.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    ended: Arc<AtomicBool>,
}

impl Origin {
    /// Answers everything with 200 and `name`.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_, stream| {
            let response = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nKeep-Alive: timeout=5\r\nX-Origin: {name}\r\n\r\n{name}",
                name.len()
            );
            stream.write_all(response.as_bytes()).is_ok()
        })
    }

    /// Hands every request to `handler`, which writes the response and says whether to go on with
    /// the connection.
    pub(crate) fn start(
        handler: impl Fn(&Received, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    /// As [`Origin::start`], on a socket that is already bound.
    pub(crate) fn start_on(
        listener: TcpListener,
        handler: impl Fn(&Received, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (received, connections) = (Arc::default(), Arc::new(Mutex::new(0)));
        let ended = Arc::new(AtomicBool::new(false));
        let origin = Self {
            address,
            received: Arc::clone(&received),
            connections: connections.clone(),
            ended: ended.clone(),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                *connections.lock().unwrap() += 1;
                let (handler, received) = (handler.clone(), received.clone());
                thread::spawn(move || serve(stream, &*handler, &received));
            }
        });
        origin
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Received {
        self.requests().pop().expect("the origin received a request")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, handler: &Handler, received: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(head) = read_head(&mut reader) {
        let Some(body) = read_body(&mut reader, &head, false) else { return };
        let request = Received { head, body };
        received.lock().unwrap().push(request.clone());
        if !handler(&request, &mut stream) {
            return;
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn read_body(reader: &mut impl BufRead, head: &str, response: bool) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if fields(head, "transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let bytes = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
            if bytes == 0 {
                return skip_trailers(reader).map(|()| body);
            }
            let chunk = read_announced(reader, bytes.checked_add(2)?)?;
            body.extend_from_slice(&chunk[..bytes]);
        }
    }
    if let Some(length) = fields(head, "content-length").first() {
        body = read_announced(reader, length.parse().ok()?)?;
    } else if response {
        // Ends with the connection, however that ends.
        drop(reader.read_to_end(&mut body));
    }
    Some(body)
}

/// Reads to the empty line that ends a chunked body.
fn skip_trailers(reader: &mut impl BufRead) -> Option<()> {
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line).ok()? {
            0 => return None,
            _ if line == "\r\n" => return Some(()),
            _ => {}
        }
    }
}

/// Reads `bytes` bytes, for which room is made as they come: what is announced may be anything.
fn read_announced(reader: &mut impl BufRead, bytes: usize) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    reader.take(bytes as u64).read_to_end(&mut read).ok()?;
    (read.len() == bytes).then_some(read)
}

fn fields(head: &str, name: &str) -> Vec<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

/// A response as the client received it.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields(name).into_iter().next()
    }

    /// Every value of the field `name`.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        fields(&self.head, name)
    }

    /// The cause that the gateway names.
    pub(crate) fn error(&self) -> Option<String> {
        self.field("x-sallyport-error")
    }
}

/// A connection that is used as the test says.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).unwrap())
    }

    /// As [`Client::connect`], from the address `source` of this host.
    pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((source, 0))).unwrap();
        connect(&socket, &address).unwrap();
        Self::on(socket.into())
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // The gateway may have answered and closed before it read everything.
        drop(self.stream().write_all(bytes.as_ref()));
        self
    }

    /// The next response, if one comes.
    pub(crate) fn try_receive(&mut self, head_only: bool) -> Option<Response> {
        loop {
            let head = read_head(&mut self.reader)?;
            let status: u16 = head.split_whitespace().nth(1)?.parse().ok()?;
            if status == 100 {
                continue;
            }
            let bodiless = head_only || status == 101 || status == 204 || status == 304;
            let body =
                if bodiless { Vec::new() } else { read_body(&mut self.reader, &head, true)? };
            return Some(Response {
                status,
                head,
                body: String::from_utf8_lossy(&body).into_owned(),
            });
        }
    }

    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive(false).expect("a response")
    }

    /// Reads as many bytes as asked for.
    pub(crate) fn read_exact(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = vec![0; bytes];
        self.reader.read_exact(&mut buffer).unwrap();
        buffer
    }

    /// What comes until the connection ends, however it does.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop(self.reader.read_to_end(&mut bytes));
        bytes
    }

    /// Whether the gateway has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.reader.fill_buf(), Ok([]) | Err(_))
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, host: &str, path: &str) -> Response {
    // The admin listener is asked for under no name of its own.
    let host = if host == "admin" { "localhost" } else { host };
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// One request, written as it stands, on a connection of its own.
pub(crate) fn request(address: SocketAddr, text: &str) -> Response {
    Client::connect(address).send(text).receive()
}
