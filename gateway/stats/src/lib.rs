//! Per-route and per-endpoint statistics: sharded cells, latency histograms, Prometheus exposition.
