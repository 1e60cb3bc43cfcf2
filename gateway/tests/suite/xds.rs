//! Envoy's configuration: its files, and control planes that speak xDS.

#[path = "xds/client.rs"]
mod client;
#[path = "xds/control_plane.rs"]
mod control_plane;
#[path = "xds/convert.rs"]
mod convert;
#[path = "xds/tls.rs"]
mod tls;
