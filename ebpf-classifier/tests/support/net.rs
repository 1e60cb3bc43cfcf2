//! Two network namespaces with a veth pair between them, and what runs in them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Long enough for a loaded machine; a test that waits this long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The gateway's address.
pub(crate) const GATEWAY: &str = "10.77.0.1";
/// Addresses that the client has.
pub(crate) const CLIENTS: [&str; 4] = ["10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5"];
/// The gateway's end of the pair.
pub(crate) const INTERFACE: &str = "sp0";

/// Waits until `condition` yields something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "did not come true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command that must succeed.
pub(crate) fn must(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A namespace for the gateway and one for its clients; gone with this value.
pub(crate) struct Net {
    pub(crate) gateway: String,
    pub(crate) client: String,
}

impl Net {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("sallyport-{role}-{}-{number}", std::process::id());
        let net = Self { gateway: name("gw"), client: name("cl") };
        must(&format!("ip netns add {}", net.gateway));
        must(&format!("ip netns add {}", net.client));
        let (gateway, client) = (&net.gateway, &net.client);
        must(&format!(
            "ip link add {INTERFACE} netns {gateway} type veth peer name sp1 netns {client}"
        ));
        must(&format!("ip -n {gateway} addr add {GATEWAY}/24 dev {INTERFACE}"));
        for address in CLIENTS {
            must(&format!("ip -n {client} addr add {address}/24 dev sp1"));
        }
        for (namespace, device) in [(gateway, INTERFACE), (gateway, "lo"), (client, "sp1")] {
            must(&format!("ip -n {namespace} link set {device} up"));
        }
        net
    }

    /// Starts `command` in the gateway's namespace.
    pub(crate) fn start(&self, command: &[&str]) -> Process {
        Process::start(&self.gateway, command)
    }

    /// Runs `action` on a thread of the client's namespace.
    pub(crate) fn at_client<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        at(&self.client, action)
    }

    /// The same in the gateway's namespace.
    pub(crate) fn at_gateway<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        at(&self.gateway, action)
    }

    /// One GET from `source`, on a connection of its own.
    pub(crate) fn get(
        &self,
        source: &'static str,
        address: SocketAddr,
        path: &'static str,
    ) -> Option<String> {
        self.at_client(move || get(source, address, path)).join().unwrap()
    }
}

fn at<T: Send + 'static>(
    namespace: &str,
    action: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let path = format!("/run/netns/{namespace}");
    thread::spawn(move || {
        let namespace = std::fs::File::open(path).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        action()
    })
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [&self.gateway, &self.client] {
            drop(Command::new("ip").args(["netns", "del", namespace]).status());
        }
    }
}

/// A connection from `source`; called on a thread of the client's namespace.
pub(crate) fn connect(source: &str, address: SocketAddr, wait: Duration) -> Option<TcpStream> {
    let source: IpAddr = source.parse().unwrap();
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect_timeout(&address.into(), wait).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(wait)).unwrap();
    Some(stream)
}

/// One GET; the response, if there was one. Called on a thread of the client's namespace.
pub(crate) fn get(source: &str, address: SocketAddr, path: &str) -> Option<String> {
    get_within(source, address, path, Duration::from_secs(1))
}

/// As [`get`], with another time for the connection, and for each part of the answer.
pub(crate) fn get_within(
    source: &str,
    address: SocketAddr,
    path: &str,
    wait: Duration,
) -> Option<String> {
    let mut stream = connect(source, address, wait)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    (!response.is_empty()).then_some(response)
}

/// A process of this test; ended with this value.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    fn start(namespace: &str, command: &[&str]) -> Self {
        // `ip netns exec` becomes the command, so its id is the command's.
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = log.clone();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains `text`.
    pub(crate) fn logged(&self, text: &str) -> String {
        eventually(&format!("a log line with {text:?}; the log: {:#?}", self.log()), || {
            self.log().into_iter().find(|line| line.contains(text))
        })
    }

    /// How many log lines contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn signal(&self, signal: &str) {
        must(&format!("kill {signal} {}", self.child.id()));
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        eventually("the process to end", || self.child.try_wait().unwrap())
    }

    /// User and system time spent, in clock ticks.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let rest = stat.rsplit(')').next().unwrap();
        rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("the log of {}: {:#?}", self.child.id(), self.log());
        }
    }
}

/// The loader's binary.
pub(crate) const CLASSIFIER: &str = env!("CARGO_BIN_EXE_sallyport-classifier");

/// The gateway's binary, which Cargo builds beside the loader's with the workspace.
pub(crate) fn gateway_binary() -> PathBuf {
    let path = Path::new(CLASSIFIER).with_file_name("sallyport");
    assert!(path.exists(), "{} is missing: cargo build -p sallyport", path.display());
    path
}

/// `sallyport-classifier` with these arguments, run to its end.
pub(crate) fn classifier(arguments: &[&str]) -> Output {
    Command::new(CLASSIFIER).args(arguments).output().unwrap()
}
