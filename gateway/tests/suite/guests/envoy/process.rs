//! A running Envoy, with a listener for each guest.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Served;
use crate::support::{eventually, get};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// Where `loadtest/install-wheel.sh envoy` puts it.
pub(super) fn program() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("target/tools/envoy-1.40.0/envoy/_bin/envoy");
    path.exists().then_some(path)
}

/// Ended with this value.
pub(super) struct Envoy {
    folder: TempDir,
    child: Child,
}

impl Envoy {
    /// Starts it and waits until it serves. It ends by itself where it cannot start a guest.
    pub(super) fn start(
        program: &Path,
        guests: &[Served],
        upstreams: &[(&str, SocketAddr)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.yaml");
        fs::write(&file, configuration(guests, upstreams)).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart"]);
        command.arg("--admin-address-path").arg(folder.path().join("admin"));
        command.args(["--log-level", "warn", "--log-path"]).arg(folder.path().join("log"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut envoy = Self { folder, child };
        eventually("Envoy to be ready", || envoy.is_ready().then_some(()));
        envoy
    }

    fn admin(&self) -> Option<SocketAddr> {
        fs::read_to_string(self.folder.path().join("admin")).ok()?.parse().ok()
    }

    fn is_ready(&mut self) -> bool {
        assert_eq!(self.child.try_wait().unwrap(), None, "Envoy ended");
        self.admin().is_some_and(|admin| get(admin, "admin", "/ready").status == 200)
    }

    /// Where the listener called `name` listens.
    pub(super) fn address(&self, name: &str) -> SocketAddr {
        let listeners = get(self.admin().unwrap(), "admin", "/listeners").body;
        let mut lines = listeners.lines().filter_map(|line| line.split_once("::"));
        let found = lines.find(|(listener, _)| *listener == name);
        found.unwrap_or_else(|| panic!("no {name} in {listeners}")).1.parse().unwrap()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("Envoy's log: {}", log.unwrap_or_default());
        }
    }
}

fn configuration(guests: &[Served], upstreams: &[(&str, SocketAddr)]) -> String {
    let listeners: String = guests.iter().map(listener).collect();
    let clusters: String = upstreams.iter().map(|&(name, at)| cluster(name, at)).collect();
    let admin = socket_address("127.0.0.1:0".parse().unwrap());
    format!(
        "admin: {{ address: {admin} }}\nstatic_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}"
    )
}

/// Everything past the guest to the cluster `up`.
fn listener(guest: &Served) -> String {
    let Served { name, module, configuration, .. } = guest;
    let address = socket_address("127.0.0.1:0".parse().unwrap());
    let module = module.display();
    format!(
        r#"  - name: {name}
    address: {address}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config:
            virtual_hosts:
            - name: everyone
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: up }} }}]
          http_filters:
          - name: guest
            typed_config:
              "@type": {TYPES}.filters.http.wasm.v3.Wasm
              config:
                configuration: {{ "@type": type.googleapis.com/google.protobuf.StringValue, value: "{configuration}" }}
                vm_config:
                  vm_id: {name}
                  runtime: envoy.wasm.runtime.v8
                  code: {{ local: {{ filename: "{module}" }} }}
          - name: router
            typed_config: {{ "@type": {TYPES}.filters.http.router.v3.Router }}
"#
    )
}

fn cluster(name: &str, address: SocketAddr) -> String {
    let address = socket_address(address);
    format!(
        "  - name: {name}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {address} }} }}] }}]
"
    )
}

fn socket_address(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}")
}
