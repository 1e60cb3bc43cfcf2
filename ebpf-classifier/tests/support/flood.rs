//! Floods of forged SYNs from the clients' namespace, bounded in count and time.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::net::{GATEWAY, INTERFACE, Net, must};

/// What a flood is.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    /// Forged addresses.
    pub(crate) sources: u32,
    pub(crate) packets_per_s: u32,
    pub(crate) span: Duration,
    /// The CPU that sends; any where there is none.
    pub(crate) cpu: Option<usize>,
}

/// A flood at work; it ends with this value.
pub(crate) struct Flooding {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Flood {
    /// Starts it, at port 8080 of the gateway; returns once it sends.
    pub(crate) fn start(self, net: &Net) -> Flooding {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/flood.py");
        let link = must(&format!("ip -n {} -br link show {INTERFACE}", net.gateway));
        let mac = link.split_whitespace().nth(2).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &net.client]);
        if let Some(cpu) = self.cpu {
            command.args(["taskset", "-c", &cpu.to_string()]);
        }
        command.args(["python3", script, "sp1", GATEWAY, "8080"]);
        command.args([self.sources.to_string(), self.packets_per_s.to_string()]);
        command.args([self.span.as_secs_f64().to_string().as_str(), mac]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        Flooding { child, said }
    }
}

impl Flooding {
    /// Ends it; returns how many SYNs were sent.
    pub(crate) fn end(mut self) -> u64 {
        must(&format!("kill -TERM {}", self.child.id()));
        let sent = self.said.next().unwrap().unwrap();
        assert!(self.child.wait().unwrap().success());
        sent.trim().parse().unwrap()
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
