//! An edge in small: origin, gateway and classifier in one namespace, clients in the other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::net::{CLASSIFIER, GATEWAY, INTERFACE, Net, Process, eventually, gateway_binary};
use crate::program::BpfFs;

/// A screen that any sound client passes.
pub(crate) const SCREEN: &str = "land: drop\n    syn_fin: drop\n    no_flags: drop";

pub(crate) struct Edge {
    pub(crate) gateway: Option<Process>,
    pub(crate) classifier: Option<Process>,
    pub(crate) net: Net,
    pub(crate) pins: BpfFs,
    folder: TempDir,
}

impl Edge {
    /// The namespaces and folders; nothing runs yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { gateway: None, classifier: None, net: Net::new(), pins: BpfFs::mount(), folder }
    }

    pub(crate) fn pin_path(&self) -> PathBuf {
        self.pins.path().join("sallyport")
    }

    pub(crate) fn classifier_file(&self) -> PathBuf {
        self.folder.path().join("classifier.yaml")
    }

    /// Writes the classifier's file, by a rename.
    pub(crate) fn write_classifier(&self, networks: &str, screen: &str) {
        let text = format!(
            "pin_path: {}\nmetrics: {{ address: 127.0.0.1:0 }}\n\
             interfaces:\n  - {{ name: {INTERFACE}, zone: internet }}\n\
             zones:\n  - {{ name: internet, id: 1, screen: edge }}\n\
             networks: {networks}\nscreens:\n  - name: edge\n    {screen}\n\
             flows: {{ ports: [8080] }}\n",
            self.pin_path().display()
        );
        let new = self.folder.path().join("classifier.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.classifier_file()).unwrap();
    }

    /// Starts the classifier on its file and waits until it is attached.
    pub(crate) fn start_classifier(&mut self) {
        let file = self.classifier_file();
        let process = self.net.start(&[CLASSIFIER, "run", "--config", file.to_str().unwrap()]);
        process.logged("configuration in force");
        eventually("the program to be attached", || {
            let log = process.log();
            log.iter()
                .any(|line| line.contains("attached") || line.contains("taken over"))
                .then_some(())
        });
        self.classifier = Some(process);
    }

    /// Starts the gateway; `routes` are of the one virtual host, `rest` goes to the top level.
    pub(crate) fn start_gateway(&mut self, routes: &str, rest: &str) -> SocketAddr {
        let file = self.folder.path().join("sallyport.yaml");
        let text = format!(
            "listeners:\n  - {{ name: web, address: {GATEWAY}:8080 }}\n\
             admin: {{ address: 127.0.0.1:9901 }}\n\
             classifier: {{ pin_path: {}, upstream_headers: [network, zone, protocol, syn_rate] }}\n\
             virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n{routes}\n{rest}\n",
            self.pin_path().display()
        );
        std::fs::write(&file, text).unwrap();
        let binary = gateway_binary();
        let (binary, file) = (binary.to_str().unwrap(), file.to_str().unwrap());
        let process = self.net.start(&[binary, "run", "--threads", "1", "--config", file]);
        process.logged("name=web");
        self.gateway = Some(process);
        format!("{GATEWAY}:8080").parse().unwrap()
    }

    pub(crate) fn gateway(&self) -> &Process {
        self.gateway.as_ref().unwrap()
    }

    pub(crate) fn classifier(&self) -> &Process {
        self.classifier.as_ref().unwrap()
    }

    /// Waits until the gateway uses hints.
    pub(crate) fn hints_in_use(&self) {
        eventually("hints to be in use", || {
            (self.gateway_metric("sallyport_classifier_up") == Some(1.0)).then_some(())
        });
    }

    /// What the gateway's admin listener answers.
    pub(crate) fn admin(&self, method: &str, path: &str) -> String {
        let url = format!("http://127.0.0.1:9901{path}");
        let output = Command::new("ip")
            .args(["netns", "exec", &self.net.gateway, "curl", "-s", "-m", "5", "-X", method, &url])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The sum of the samples of the gateway whose name and labels begin with `name`.
    pub(crate) fn gateway_metric(&self, name: &str) -> Option<f64> {
        let body = self.admin("GET", "/metrics");
        let samples = body.lines().filter(|line| line.starts_with(name));
        let values: Vec<f64> =
            samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Packets counted for `reason`: those that went on, those that were dropped.
    pub(crate) fn counted(&self, reason: &str) -> (u64, u64) {
        let maps = sallyport_classifier::pinned::Maps::open(
            &self.pin_path(),
            sallyport_classifier::pinned::Access::Read,
        )
        .unwrap();
        let reason = classifier_abi::Reason::ALL
            .iter()
            .find(|candidate| candidate.label() == reason)
            .unwrap();
        let [on, dropped] = maps.counted(*reason).unwrap();
        (on.packets, dropped.packets)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Before the namespaces, which processes would keep alive.
        self.gateway.take();
        self.classifier.take();
    }
}
