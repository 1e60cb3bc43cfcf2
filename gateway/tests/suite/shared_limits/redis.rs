//! Redis servers that tests start, stop, kill and ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{PATIENCE, eventually};

/// A running server; killed with this value.
pub(super) struct Redis {
    folder: TempDir,
    child: Child,
    arguments: Vec<String>,
    /// What the first commands on a connection must be.
    login: Vec<String>,
}

impl Redis {
    /// Starts one that listens on a Unix socket only, so that no port can be taken by another.
    pub(super) fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// As [`Redis::start`], with more arguments, and with `login` before the commands of tests.
    pub(super) fn start_with(arguments: &[&str], login: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock").display().to_string();
        let at = folder.path().display().to_string();
        let mut all = vec!["--unixsocket", &socket, "--dir", &at, "--save", ""];
        if !arguments.contains(&"--port") {
            all.extend(["--port", "0"]);
        }
        all.extend(arguments);
        let arguments: Vec<_> = all.into_iter().map(str::to_owned).collect();
        let child = spawn(&arguments);
        let login = login.iter().map(|&text| text.to_owned()).collect();
        let redis = Self { folder, child, arguments, login };
        redis.wait();
        redis
    }

    /// As [`Redis::start_with`], on a TCP port: another process may take it between the look for a free
    /// one and the start, and then another is tried.
    pub(super) fn start_on_port(arguments: impl Fn(u16) -> Vec<String>) -> (Self, u16) {
        eventually("a server on a port of its own", || {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            // A cluster's nodes talk on a port 10,000 above.
            let port = if free > 50_000 { free - 20_000 } else { free };
            let all = arguments(port);
            let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
            let port_text = port.to_string();
            if !all.contains(&"--tls-port") {
                all.extend(["--port", &port_text]);
            }
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("redis.sock").display().to_string();
            let at = folder.path().display().to_string();
            all.extend([
                "--unixsocket",
                &socket,
                "--dir",
                &at,
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ]);
            let arguments: Vec<_> = all.into_iter().map(str::to_owned).collect();
            let child = spawn(&arguments);
            let mut redis = Self { folder, child, arguments, login: Vec::new() };
            eventually("the server to be up or gone", || {
                let is_gone = redis.child.try_wait().unwrap().is_some();
                let is_up = redis.try_say("PING").is_some_and(|answer| answer == "+PONG");
                (is_gone || is_up).then_some(is_up)
            })
            .then_some((redis, port))
        })
    }

    /// The socket, as an address of an endpoint is written.
    pub(super) fn address(&self) -> String {
        format!("\"unix:{}\"", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn wait(&self) {
        eventually("the server to answer", || {
            self.try_say("PING").filter(|answer| answer == "+PONG")
        });
    }

    /// The first line of the answer to a command, or the whole of a longer text.
    pub(super) fn say(&self, command: &str) -> String {
        self.try_say(command).unwrap_or_else(|| panic!("no answer to {command}"))
    }

    fn try_say(&self, command: &str) -> Option<String> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut stream = BufReader::new(stream);
        for login in &self.login {
            exchange(&mut stream, login)?;
        }
        exchange(&mut stream, command)
    }

    /// Microseconds of the server's own clock.
    pub(super) fn now_us(&self) -> u64 {
        let stream = UnixStream::connect(self.socket()).unwrap();
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(b"TIME\r\n").unwrap();
        let lines: Vec<String> = stream
            .lines()
            .take(5)
            .map(Result::unwrap)
            .filter(|line| !line.starts_with('$'))
            .collect();
        lines[1].parse::<u64>().unwrap() * 1_000_000 + lines[2].parse::<u64>().unwrap()
    }

    /// How often scripts were called, by either name.
    pub(super) fn script_calls(&self) -> u64 {
        let stats = self.say("INFO commandstats");
        let calls = |name: &str| -> u64 {
            let mark = format!("cmdstat_{name}:calls=");
            let rest = stats.split(&mark).nth(1);
            rest.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
        };
        calls("evalsha") + calls("eval")
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with nothing in it.
    pub(super) fn restart(&mut self) {
        drop(std::fs::remove_file(self.socket()));
        self.child = spawn(&self.arguments);
        self.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn exchange(stream: &mut BufReader<UnixStream>, command: &str) -> Option<String> {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let line = line.trim_end().to_owned();
    let Some(bytes) = line.strip_prefix('$').and_then(|bytes| bytes.parse().ok()) else {
        return (!line.is_empty()).then_some(line);
    };
    let mut text = vec![0; bytes];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}
