//! Envoy's configuration: its files, and control planes that speak xDS.

#[path = "xds/convert.rs"]
mod convert;
