//! The example as its user runs it: a gateway of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const CONFIG: &str = r#"
listeners:
  - { name: web, address: 127.0.0.1:0, filters: [{ refuse_agents: [curl] }] }
virtual_hosts:
  - name: all
    domains: ["*"]
    routes: [{ name: hello, respond: { status: 200, body: hello } }]
"#;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn get(address: &str, agent: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close";
    write!(stream, "{head}\r\nUser-Agent: {agent}\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn a_filter_of_ones_own_is_configured_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_native-example"));
    command.args(["run", "--threads", "1", "--config"]).arg(&file);
    let mut gateway = Ended(command.stderr(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(gateway.0.stderr.take().unwrap());
    let mut lines = log.lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("name=web address=")).unwrap();
    let address = line.rsplit_once("address=").unwrap().1;

    assert!(get(address, "curl/8").starts_with("HTTP/1.1 403 "));
    assert!(get(address, "firefox").ends_with("hello"));
}
