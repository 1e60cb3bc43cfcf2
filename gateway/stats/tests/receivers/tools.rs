//! Finding the receivers, running them, and waiting for them.

use std::{
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Says that a test cannot run, or fails where it must.
pub(crate) fn missing(tool: &str) {
    let required = std::env::var_os("SALLYPORT_REQUIRE_TOOLS").is_some();
    assert!(!required, "{tool} is missing, and SALLYPORT_REQUIRE_TOOLS is set");
    eprintln!("SKIPPED: {tool} is missing here");
}

/// Whether a program can be started.
pub(crate) fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let started = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_ok()
}

/// StatsD's server, installed if it is not there yet.
pub(crate) fn statsd() -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let server = folder.join("node_modules/statsd/stats.js");
    if !server.exists() {
        std::fs::create_dir_all(&folder).ok()?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--omit=optional", "--prefix"]);
        npm.arg(&folder).arg("statsd@0.9.0").stdout(Stdio::null()).status().ok()?;
    }
    (is_there("node") && server.exists()).then_some(server)
}

/// A process that ends with the test.
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it was there a moment ago"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port that nobody has now, on both protocols.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "in vain for: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}
