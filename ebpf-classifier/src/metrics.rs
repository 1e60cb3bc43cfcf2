//! What the classifier counts, for Prometheus.
//!
//! Read from the pinned maps at each scrape; nothing is kept here. What cannot be read is left out of
//! the answer and logged: a figure of 0 would say that all is quiet.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use classifier_abi::{Counter, Reason};

use crate::control::Control;
use crate::pinned::{self, Fill, Maps};

/// The text format of Prometheus.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the figures come from.
#[derive(Debug)]
pub struct Metrics {
    /// The maps, open for reading.
    pub maps: Maps,
    /// The classifier.
    pub control: Arc<Control>,
}

/// Serves `/metrics` and `/healthz` until the runtime ends.
///
/// # Errors
/// If the socket fails.
pub async fn serve(socket: tokio::net::TcpListener, metrics: Metrics) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .with_state(Arc::new(metrics));
    axum::serve(socket, router).await
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, FORMAT)], metrics.text())
}

impl Metrics {
    /// Every figure, in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.counters(&mut text);
        self.control(&mut text);
        self.lists(&mut text);
        self.fill(&mut text);
        text
    }

    /// A full map refuses what is written to it, or forgets what was not used for longest: either is to
    /// be seen before it happens.
    fn fill(&self, text: &mut String) {
        let maps = self.maps.fill(pinned::ktime_ns());
        let family = "sallyport_classifier_map_entries_max";
        head(text, family, "gauge", "Entries that a map can hold.");
        for Fill { map, entries_max, .. } in &maps {
            line(text, family, &[("map", map)], u64::from(*entries_max));
        }
        let family = "sallyport_classifier_map_entries";
        head(text, family, "gauge", "Entries that a map holds, or its slots in use.");
        for Fill { map, entries, .. } in &maps {
            match entries {
                Ok(entries) => line(text, family, &[("map", map)], *entries as u64),
                Err(error) => tracing::warn!(%error, map, "the map could not be counted"),
            }
        }
    }

    fn counters(&self, text: &mut String) {
        let mut counted: Vec<(Reason, [Counter; 2])> = Vec::new();
        for reason in Reason::ALL {
            match self.maps.counted(*reason) {
                Ok(counters) => counted.push((*reason, counters)),
                Err(error) => tracing::warn!(%error, "the counters could not be read"),
            }
        }
        let mut family = |name, help, pick: fn(&[Counter; 2]) -> u64| {
            head(text, name, "counter", help);
            for (reason, counters) in &counted {
                line(text, name, &[("reason", reason.label())], pick(counters));
            }
        };
        let help = "Packets that went on, by reason; `passed` has each of them once.";
        family("sallyport_classifier_packets_total", help, |[on, _]| on.packets);
        let help = "Bytes of packets that went on, by reason; `passed` has each of them once.";
        family("sallyport_classifier_bytes_total", help, |[on, _]| on.bytes);
        let help = "Packets dropped, by reason.";
        family("sallyport_classifier_dropped_packets_total", help, |[_, dropped]| dropped.packets);
        let help = "Bytes of packets dropped, by reason.";
        family("sallyport_classifier_dropped_bytes_total", help, |[_, dropped]| dropped.bytes);
    }

    fn control(&self, text: &mut String) {
        let name = "sallyport_classifier_generation";
        head(text, name, "gauge", "The generation of the configuration in force.");
        line(text, name, &[], u64::from(self.control.generation()));
        let name = "sallyport_classifier_reloads_total";
        head(text, name, "counter", "Edits of the file by what became of them.");
        let reloads = self.control.reloads();
        line(text, name, &[("result", "success")], reloads.applied.load(Ordering::Relaxed));
        line(text, name, &[("result", "failure")], reloads.refused.load(Ordering::Relaxed));
        let interfaces = self.control.interfaces();
        let name = "sallyport_classifier_up";
        head(text, name, "gauge", "1 while the program is on at least one interface, else 0.");
        let is_up = interfaces.iter().any(|interface| interface.attached.is_some());
        line(text, name, &[], u64::from(is_up));
        let name = "sallyport_classifier_attached";
        let help =
            "Interfaces of the configuration: 1 where the program is on it, with its mode, else 0.";
        head(text, name, "gauge", help);
        for interface in interfaces {
            let mode = interface.attached.as_ref().map(|attached| attached.mode.to_string());
            let labels =
                [("interface", &*interface.name), ("mode", mode.as_deref().unwrap_or("none"))];
            line(text, name, &labels, u64::from(mode.is_some()));
        }
    }

    fn lists(&self, text: &mut String) {
        match self.maps.network_counted() {
            Ok(counted) => {
                let mut family = |name, help, pick: fn(&Counter) -> u64| {
                    head(text, name, "counter", help);
                    for (network, counter) in &counted {
                        line(text, name, &[("network", network)], pick(counter));
                    }
                };
                let help = "Packets from sources of a list, whatever became of them.";
                family("sallyport_classifier_list_packets_total", help, |counter| counter.packets);
                let help = "Bytes of packets from sources of a list.";
                family("sallyport_classifier_list_bytes_total", help, |counter| counter.bytes);
            }
            Err(error) => tracing::warn!(%error, "the counters of lists could not be read"),
        }
        let lists = self.control.lists();
        let name = "sallyport_classifier_list_prefixes";
        head(text, name, "gauge", "Prefixes of a list; 0 once it has expired.");
        for list in &lists {
            line(text, name, &[("network", &list.network)], list.prefixes as u64);
        }
        let name = "sallyport_classifier_list_modified_timestamp_seconds";
        head(text, name, "gauge", "When a list's file was written.");
        for list in &lists {
            let modified = list.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            line(text, name, &[("network", &list.network)], modified.as_secs());
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    text.push_str(name);
    for (index, (label, of)) in labels.iter().enumerate() {
        let before = if index == 0 { '{' } else { ',' };
        let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(text, "{before}{label}=\"{of}\"").ok();
    }
    let end = if labels.is_empty() { "" } else { "}" };
    writeln!(text, "{end} {value}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        line(&mut text, "a", &[], 1);
        line(&mut text, "b", &[("x", "q\"\\"), ("y", "z")], 2);
        assert_eq!(text, "a 1\nb{x=\"q\\\"\\\\\",y=\"z\"} 2\n");
    }
}
