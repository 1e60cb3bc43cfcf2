//! Envoy's bootstrap: its static resources, and what else it says of a process.

use std::sync::Arc;

use prost_reflect::{DynamicMessage, Value as Field};
use sallyport_config::{Mapping, Value};

use super::EnvoyFile;
use crate::descriptors;
use crate::fields::Fields;
use crate::findings::Outcome;
use crate::output::{entry, text};
use crate::resources::{Resource, ResourceKind};

const TYPE: &str = "envoy.config.bootstrap.v3.Bootstrap";

const LISTS: [(&str, ResourceKind); 3] = [
    ("listeners", ResourceKind::Listener),
    ("clusters", ResourceKind::Cluster),
    ("secrets", ResourceKind::Secret),
];

/// Reads a bootstrap that stands at `place`.
pub(super) fn read(file: &mut EnvoyFile, tree: &Value, place: &str) {
    let Value::Mapping(root) = tree else { return };
    let at =
        |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    let mut rest = Mapping::default();
    for (key, value) in root.iter() {
        let key = key.as_str().unwrap_or_default();
        match key {
            "static_resources" | "staticResources" => resources(file, value, &at(key)),
            key => rest.insert(key, value.clone()),
        }
    }
    let Some(message) = file.message(TYPE, &Value::Mapping(rest), place) else { return };
    let layers = {
        let fields = Fields::new(&message, place, &file.findings);
        ignored(&fields);
        file.admin = fields.message("admin").and_then(|admin| self::admin(&admin));
        fields.message("layered_runtime").map(|runtime| layers(&runtime)).unwrap_or_default()
    };
    for (name, resource) in layers {
        file.resources.insert(ResourceKind::Runtime, name, resource);
    }
}

fn resources(file: &mut EnvoyFile, value: &Value, place: &str) {
    let Value::Mapping(map) = value else { return };
    for (key, items) in map.iter() {
        let key = key.as_str().unwrap_or_default();
        let Some((list, kind)) = LISTS.iter().find(|(list, _)| *list == key) else {
            let place = format!("{place}.{key}");
            file.findings.note(Outcome::Refused, &place, "is no field of StaticResources");
            continue;
        };
        for (index, item) in items.as_sequence().into_iter().flatten().enumerate() {
            file.add(*kind, item, &format!("{place}.{list}[{index}]"), false);
        }
    }
}

/// What our own file says, or nobody needs.
fn ignored(fields: &Fields<'_>) {
    fields
        .ignore_all(&["node", "node_context_params"], "a control plane is told by `providers.xds`");
    fields.ignore("dynamic_resources", "a control plane is set up by `providers.xds`");
    fields.ignore_all(
        &["stats_sinks", "stats_flush_interval", "stats_flush_on_admin"],
        "statistics are scraped from the admin listener, or sent as `push` says",
    );
    fields.ignore_all(
        &[
            "deferred_stat_options",
            "stats_config",
            "stats_eviction_interval",
            "enable_dispatcher_stats",
            "stats_server_version_override",
        ],
        "statistics have their own names and bounds",
    );
    fields.ignore_all(
        &[
            "watchdog",
            "watchdogs",
            "fatal_actions",
            "perf_tracing_file_path",
            "memory_allocator_manager",
            "enable_worker_cpu_affinity",
            "flags_path",
            "default_socket_interface",
            "listener_manager",
            "default_regex_engine",
            "grpc_async_client_manager_config",
            "inline_headers",
        ],
        "it is of Envoy's own process",
    );
    fields.ignore("overload_manager", "`limits` and the bounds of listeners hold without one");
    fields.ignore("tracing", "`tracing` says where spans go");
    fields.ignore("cluster_manager", "upstreams have their own outlier detection and addresses");
    fields.ignore("hds_config", "endpoints are probed for this gateway only");
    fields.ignore_all(
        &["use_tcp_for_dns_lookups", "dns_resolution_config", "typed_dns_resolver_config"],
        "names are resolved as `resolver` says",
    );
    fields.ignore_all(
        &[
            "config_sources",
            "default_config_source",
            "xds_delegate_extension",
            "xds_config_tracker_extension",
        ],
        "a control plane is set up by `providers.xds`",
    );
    fields.ignore("header_prefix", "x-envoy-* has no meaning here");
    fields.ignore("application_log_config", "`log` says what is logged");
}

/// `admin` of ours, where it is on a loopback address.
fn admin(fields: &Fields<'_>) -> Option<Value> {
    fields.ignore_all(
        &[
            "access_log",
            "access_log_path",
            "profile_path",
            "socket_options",
            "ignore_global_conn_limit",
            "allow_paths",
        ],
        "the admin listener has its own log and rights",
    );
    let address = fields.message("address")?;
    if let Some(pipe) = address.message("pipe") {
        pipe.ignore("mode", "write `mode` of `admin`");
        return pipe.text("path").map(|path| entry("address", text(format!("unix:{path}"))));
    }
    let socket = address.message("socket_address")?;
    let port = socket.uint("port_value").unwrap_or(0);
    let host = socket.text("address").unwrap_or_default();
    socket.pass_over();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_loopback() => {
            let port = u16::try_from(port).unwrap_or(0);
            Some(entry("address", text(std::net::SocketAddr::new(ip, port).to_string())))
        }
        _ => {
            fields.leave(format!(
                "listens on {host}, where requests must show a token: write `admin: {{ address: \
                 {host}:{port}, token_file: … }}`"
            ));
            None
        }
    }
}

/// The runtime's layers, named so that their order is kept.
fn layers(runtime: &Fields<'_>) -> Vec<(String, Resource)> {
    let mut layers = Vec::new();
    for (index, layer) in runtime.messages("layers").into_iter().enumerate() {
        let name = layer.text("name").unwrap_or_default();
        layer.ignore("disk_layer", "values are those of the configuration");
        layer.ignore("admin_layer", "values are those of the configuration");
        layer.ignore("rtds_layer", "a control plane is set up by `providers.xds`");
        let Some(values) = layer.message("static_layer") else { continue };
        values.pass_over();
        let Some(descriptor) = descriptors::message(ResourceKind::Runtime.type_name()) else {
            continue;
        };
        let mut message = DynamicMessage::new(descriptor);
        message.set_field_by_name("name", Field::String(name.clone()));
        message.set_field_by_name("layer", Field::Message(values.owned()));
        let place = values.place().to_owned();
        let resource = Resource { message: Arc::new(message), place };
        layers.push((format!("{index:04}-{name}"), resource));
    }
    layers
}
