//! The alert rules and the dashboard that are shipped: their queries are good, and name what there is.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Gateway, Origin, eventually, forward_all, get, tool};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/monitoring")
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(folder().join("grafana.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Each query of the dashboard, with what Grafana would put in for its variables.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let written = targets.map(|target| target["expr"].as_str().unwrap());
    let filled = written.map(|query| {
        query
            .replace("$instance", ".*")
            .replace("$virtual_host", ".*")
            .replace("$__rate_interval", "1m")
    });
    filled.collect()
}

/// The names of metrics in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let pattern = regex::Regex::new(r"\b(?:sallyport|process)_[a-z0-9_]+").unwrap();
    let found = pattern.find_iter(text).map(|name| name.as_str());
    found.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let rules = std::fs::read_to_string(folder().join("alerts.yaml")).unwrap();
    let documented = std::fs::read_to_string(folder().join("../../docs/metrics.md")).unwrap();
    let used: BTreeSet<String> =
        names(&rules).into_iter().chain(queries().iter().flat_map(|query| names(query))).collect();
    assert!(used.len() > 15, "{used:?}");
    for name in used {
        assert!(documented.contains(&format!("`{name}`")), "docs/metrics.md knows no {name}");
    }
}

#[test]
fn the_alert_rules_fire_when_they_should() {
    if !tool("promtool") {
        return;
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts-test.yaml"]] {
        let output =
            Command::new("promtool").args(arguments).current_dir(folder()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

/// A Prometheus that scrapes a gateway.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(gateway: &Gateway) -> Self {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("prometheus.yaml");
        let rules = folder().join("alerts.yaml").canonicalize().unwrap();
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: sallyport\n    static_configs: [ {{ targets: [\"{}\"] }} ]\n",
            rules.display(),
            gateway.admin()
        );
        std::fs::write(&file, text).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: data }
    }

    /// The samples that `query` finds.
    fn query(&self, query: &str) -> Option<Vec<Value>> {
        std::net::TcpStream::connect(self.address).ok()?;
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = get(self.address, "localhost", &format!("/api/v1/query?query={escaped}")).body;
        let answer: Value = serde_json::from_str(&body).ok()?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array()?.clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

#[test]
fn the_queries_of_the_dashboard_find_what_a_real_prometheus_scraped() {
    if !tool("prometheus") {
        return;
    }
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let prometheus = Prometheus::scraping(&gateway);
    let count = "sallyport_route_requests_total{code_class=\"2xx\",route=\"everything\"}";
    eventually("a rate of requests", || {
        get(gateway.web(), "a", "/");
        let rate = prometheus.query(&format!("rate({count}[1m]) > 0"))?;
        (!rate.is_empty()).then_some(())
    });
    for query in queries() {
        let found = prometheus.query(&query).unwrap();
        // What never happened here, and what is only shown above zero.
        let may_be_empty = query.ends_with("> 0") || query.contains("verdict");
        assert!(may_be_empty || !found.is_empty(), "nothing is found by {query}");
    }
    let alerts = prometheus.query("ALERTS{alertstate=\"firing\"}").unwrap();
    assert!(alerts.is_empty(), "{alerts:?}");
}
