//! Prometheus: what was written to it, and what it scrapes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use sallyport_stats::{
    Format, Registry,
    push::{
        Catalog, Distributions, NoopRecorder, Pipeline, PipelineConfig, Recorder, http::HttpConfig,
        remote_write::RemoteWriteConfig,
    },
};
use serde_json::Value as Json;

use crate::{
    LATENCIES_MS, OPEN, REQUESTS, push,
    tools::{Guard, free_port, is_there, missing, wait_for},
};

struct Prometheus {
    port: u16,
    _guard: Guard,
}

impl Prometheus {
    fn start(folder: &Path, config: &str) -> Option<Self> {
        if !is_there("prometheus") {
            missing("prometheus (Debian)");
            return None;
        }
        let (port, file) = (free_port(), folder.join("prometheus.yml"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver");
        let prometheus = Self { port, _guard: Guard::start(&mut command) };
        wait_for("Prometheus", || ureq::get(prometheus.url("/-/ready")).call().ok());
        Some(prometheus)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The value of a query with one answer.
    fn value(&self, query: &str) -> Option<f64> {
        let request = ureq::get(self.url("/api/v1/query")).query("query", query);
        let text = request.call().ok()?.body_mut().read_to_string().ok()?;
        let answer: Json = serde_json::from_str(&text).ok()?;
        let found = answer["data"]["result"].as_array()?;
        assert!(found.len() <= 1, "{query}: {text}");
        found.first()?["value"][1].as_str()?.parse().ok()
    }
}

#[test]
fn prometheus_takes_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let Some(prometheus) = Prometheus::start(folder.path(), "{}") else { return };
    let mut config = RemoteWriteConfig::new(HttpConfig::new(prometheus.url("/api/v1/write")));
    config.labels = vec![("job".into(), "edge".into())];
    config.interval = Duration::ZERO;
    push(config.spec("prometheus"), Distributions::Sketch);

    // Its exporter has ended, and its series with it: they are found by looking back.
    wait_for("stale markers", || prometheus.value("connections").is_none().then_some(()));
    let value = |query: &str| {
        let query = format!("last_over_time({query}[1h])");
        wait_for(&query, || prometheus.value(&query))
    };
    assert_eq!(value("requests_total{route=\"a\",job=\"edge\"}"), REQUESTS[0] as f64);
    assert_eq!(value("requests_total{route=\"b|c:1\\nevil:1|c\"}"), REQUESTS[1] as f64);
    assert_eq!(value("connections"), OPEN);
    assert_eq!(value("latency_seconds_count"), LATENCIES_MS.len() as f64);
    let sum = LATENCIES_MS.iter().sum::<u64>() as f64 / 1e3;
    assert!((value("latency_seconds_sum") - sum).abs() < 1e-9);
    for (edge, expected) in [("0.001953125", 1.0), ("0.25", 4.0), ("4", 5.0), ("+Inf", 5.0)] {
        assert_eq!(value(&format!("latency_seconds_bucket{{le=\"{edge}\"}}")), expected, "{edge}");
    }
}

#[test]
fn prometheus_scrapes_the_registry_and_the_pipelines_own_figures() {
    let registry = Registry::new(1);
    let routes = registry.routes(&[("shop".into(), "checkout".into())]);
    for _ in 0..7 {
        routes[0].begin();
        routes[0].finish(200, None, Duration::from_millis(3));
    }
    let catalog = std::sync::Arc::new(Catalog::default());
    let counter = catalog.metric("c").counter().unwrap();
    let pipeline = Pipeline::start(&PipelineConfig::default(), catalog, Vec::new()).unwrap();
    assert!(!NoopRecorder.count(counter, 1));
    (0..11).for_each(|_| assert!(pipeline.recorder().count(counter, 1)));
    let text = registry.render_with(pipeline.snapshot().families());
    let target = serve(text);

    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "scrape_configs:\n- job_name: edge\n  scrape_interval: 1s\n  static_configs:\n  \
         - targets: ['127.0.0.1:{target}']\n"
    );
    let Some(prometheus) = Prometheus::start(folder.path(), &config) else { return };
    let requests = "sallyport_route_requests_total{route=\"checkout\",code_class=\"2xx\"}";
    for (query, expected) in [(requests, 7.0), ("sallyport_push_samples_total", 11.0)] {
        assert_eq!(wait_for(query, || prometheus.value(query)), expected);
    }
}

/// Answers every request with `text`, for as long as the test runs.
fn serve(text: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (content_type, length) = (Format::Text.content_type(), text.len());
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n"
            );
            let mut room = [0; 4_096];
            // Whoever hangs up asks again; what is asked does not matter.
            let _asked = stream.read(&mut room);
            stream.write_all(head.as_bytes()).ok();
            stream.write_all(text.as_bytes()).ok();
        }
    });
    port
}
