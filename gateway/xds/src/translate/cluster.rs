//! `Cluster` as an upstream.

mod balancing;
mod endpoints;
mod health;
mod resilience;

use sallyport_config::Value;

use super::tls::{self, Upstream};
use super::{HashWish, Scope};
use crate::fields::Fields;
use crate::output::{self, Map, entry, number, text};
use crate::resources::ResourceKind;

pub(super) use self::endpoints::host_names;
pub(crate) use self::endpoints::of_resource;

/// The time that Envoy gives a connection where nothing else is said.
const CONNECT_TIMEOUT_DEFAULT: std::time::Duration = std::time::Duration::from_secs(5);

/// Translates all clusters.
pub(super) fn all(scope: &Scope<'_>) -> Vec<Value> {
    let clusters = scope.resources.of(ResourceKind::Cluster);
    let translated = clusters.filter_map(|(name, resource)| {
        let wishes = scope.hashing.borrow().get(name).cloned().unwrap_or_default();
        scope.memo.cluster(scope, (name, resource), wishes, |wishes| {
            cluster(scope, &scope.fields(resource), name, wishes)
        })
    });
    translated.collect()
}

fn cluster(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    name: &str,
    wishes: &[HashWish],
) -> Option<Value> {
    fields.text("name");
    ignored(fields);
    refused(fields);
    let balancing = balancing::read(fields, &hashing(scope, wishes));
    let endpoints = endpoints::of_cluster(scope, fields, name);
    let socket = match fields.message("transport_socket") {
        Some(socket) => tls::upstream(scope, &socket),
        None => Some(Upstream::default()),
    };
    let spoken = protocol(fields);
    let health_check = health::read(fields);
    let limits = resilience::limits(fields);
    let panic = balancing.as_ref().and_then(|balancing| balancing.panic_below.clone());
    let has_health_check = matches!(health_check, Some(Some(_)));
    let outlier = resilience::outlier_detection(fields, panic, has_health_check);
    let connect = fields.time("connect_timeout").unwrap_or(CONNECT_TIMEOUT_DEFAULT);
    let (balancing, spoken, socket) = (balancing?, spoken?, socket?);
    let (place, endpoints) = endpoints?;
    let protocol = match spoken.protocol {
        // By ALPN, where both are offered.
        Protocol::Http1 if socket.offers_http2 => None,
        Protocol::Http1 => None,
        Protocol::Http2 => Some("http2"),
        Protocol::Auto => Some("auto"),
    };
    let timeouts =
        Map::new().with_some("connect", output::time(connect)).with_some("idle", spoken.idle);
    let out = Map::new()
        .with("name", text(name))
        .with_some("load_balancing", balancing.written)
        .with(place, endpoints)
        .with_some("protocol", protocol.map(text))
        .with_some("http2", spoken.http2.filter(|_| protocol.is_some()))
        .with_some("tls", socket.tls)
        .with_some("send_proxy_protocol", socket.proxy_protocol.map(text))
        .with_some("timeouts", timeouts.filled())
        .with_some("health_check", health_check?)
        .with_some("outlier_detection", outlier)
        .with_some("slow_start", balancing.slow_start)
        .with_some("limits", limits);
    Some(out.done())
}

/// What all routes of a cluster hash on; those that ask for something else are told.
fn hashing(scope: &Scope<'_>, wishes: &[HashWish]) -> Option<Value> {
    let first = wishes.first()?;
    for other in wishes.iter().filter(|wish| wish.on != first.on) {
        scope.findings.note(
            crate::Outcome::Refused,
            &other.place,
            "hashes on something else than another route of the same cluster, which hashes on one thing",
        );
    }
    Some(first.on.clone())
}

/// What nobody needs here.
fn ignored(fields: &Fields<'_>) {
    fields.ignore_all(
        &[
            "alt_stat_name",
            "stats_matcher",
            "track_timeout_budgets",
            "track_cluster_stats",
            "metadata",
            "lrs_server",
            "lrs_report_endpoint_metrics",
        ],
        "statistics are by the upstream's name",
    );
    fields.ignore_all(
        &["per_connection_buffer_limit_bytes", "per_connection_buffer_high_watermark_timeout"],
        "bodies stream, with bounds of the gateway",
    );
    fields.ignore_all(
        &[
            "dns_refresh_rate",
            "dns_jitter",
            "dns_failure_refresh_rate",
            "respect_dns_ttl",
            "dns_lookup_family",
            "dns_resolvers",
            "use_tcp_for_dns_lookups",
            "dns_resolution_config",
            "typed_dns_resolver_config",
        ],
        "names are resolved as `resolver` says: A and AAAA, followed by their TTL",
    );
    fields.ignore("max_requests_per_connection", "connections are kept while they are good");
    fields.ignore("wait_for_warm_on_init", "an upstream is there when the configuration is");
    fields.ignore("cleanup_interval", "endpoints end with their last request");
    fields
        .ignore("close_connections_on_host_health_failure", "requests under way end by themselves");
    fields.ignore("ignore_health_on_host_removal", "an endpoint that is gone takes no requests");
    fields.ignore("preconnect_policy", "connections are made when they are needed");
    fields.ignore("protocol_selection", "the protocol is the upstream's");
    fields.ignore("connection_pool_per_downstream_connection", "connections are shared by worker");
    if let Some(options) = fields.message("upstream_connection_options") {
        options.ignore_all(
            &[
                "tcp_keepalive",
                "set_local_interface_name_on_upstream_connections",
                "happy_eyeballs_config",
            ],
            "sockets are the gateway's",
        );
    }
}

/// What would be missed.
fn refused(fields: &Fields<'_>) {
    fields.refuse("transport_socket_matches", "all endpoints of an upstream have the same TLS");
    fields.refuse("transport_socket_matcher", "all endpoints of an upstream have the same TLS");
    fields.refuse("lb_subset_config", "endpoints have no metadata to choose by");
    fields.refuse("original_dst_lb_config", "endpoints are named");
    fields.refuse(
        "upstream_bind_config",
        "the system chooses the address that connections come from",
    );
    fields.refuse("filters", "an upstream has no network filters");
    fields.refuse("upstream_config", "connections are pooled by worker");
    fields.refuse("queuing_policies", "write `queue` of the upstream in a file");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
    Auto,
}

/// How the endpoints are spoken to.
struct Spoken {
    protocol: Protocol,
    http2: Option<Value>,
    idle: Option<Value>,
}

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn protocol(fields: &Fields<'_>) -> Option<Spoken> {
    let mut spoken = Spoken { protocol: Protocol::Http1, http2: None, idle: None };
    if let Some(common) = fields.message("common_http_protocol_options") {
        self::common(&common, &mut spoken);
    }
    if let Some(http2) = fields.message("http2_protocol_options") {
        spoken.protocol = Protocol::Http2;
        spoken.http2 = self::http2(&http2);
    }
    fields.ignore("http_protocol_options", "heads are written as they came");
    if let Some(options) = fields.message("upstream_http_protocol_options") {
        self::sni(&options);
    }
    for (name, options) in fields.entries("typed_extension_protocol_options") {
        let Some(options) = options.unpacked() else { continue };
        if name != OPTIONS {
            options.reject::<()>("are no options that are known here");
            continue;
        }
        typed(&options, &mut spoken)?;
    }
    Some(spoken)
}

fn typed(options: &Fields<'_>, spoken: &mut Spoken) -> Option<()> {
    if let Some(common) = options.message("common_http_protocol_options") {
        self::common(&common, spoken);
    }
    if let Some(upstream) = options.message("upstream_http_protocol_options") {
        sni(&upstream);
    }
    options.ignore("header_validation_config", "responses are checked by RFC 9112");
    for name in [
        "http_filters",
        "outlier_detection",
        "request_mirror_policies",
        "hash_policy",
        "retry_policy",
    ] {
        options.refuse(name, "it is said on routes");
    }
    for (name, protocol) in [
        ("explicit_http_config", Protocol::Http1),
        ("auto_config", Protocol::Auto),
        ("use_downstream_protocol_config", Protocol::Auto),
    ] {
        let Some(config) = options.message(name) else { continue };
        config.ignore("http_protocol_options", "heads are written as they came");
        if name == "auto_config" {
            config.ignore("alternate_protocols_cache_options", "HTTP/3 is not spoken to origins");
        }
        if name == "use_downstream_protocol_config" {
            return config.reject(
                "speaks what the client does; an upstream has its own protocol, write \
                 explicit_http_config or auto_config",
            );
        }
        match name {
            "explicit_http_config" => {
                config.refuse("http3_protocol_options", "HTTP/3 is not spoken to origins");
            }
            _ => config.ignore("http3_protocol_options", "HTTP/3 is not spoken to origins"),
        }
        spoken.protocol = protocol;
        if let Some(http2) = config.message("http2_protocol_options") {
            spoken.protocol =
                if protocol == Protocol::Auto { Protocol::Auto } else { Protocol::Http2 };
            spoken.http2 = self::http2(&http2);
        }
    }
    Some(())
}

fn common(common: &Fields<'_>, spoken: &mut Spoken) {
    spoken.idle = common.time("idle_timeout").and_then(output::time);
    common.ignore_all(
        &[
            "max_connection_duration",
            "max_connection_duration_jitter",
            "max_requests_per_connection",
        ],
        "connections are kept while they are good",
    );
    common.ignore_all(
        &["max_headers_count", "max_response_headers_kb", "headers_with_underscores_action"],
        "heads of responses are bounded by the codec",
    );
    common.refuse("max_stream_duration", "write max_stream_duration on routes");
}

fn http2(options: &Fields<'_>) -> Option<Value> {
    let streams = options.uint("max_concurrent_streams");
    options.ignore_all(
        &[
            "hpack_table_size",
            "initial_stream_window_size",
            "initial_connection_window_size",
            "max_outbound_frames",
            "max_outbound_control_frames",
            "max_header_field_size_kb",
            "max_consecutive_inbound_frames_with_empty_payload",
            "enable_huffman_encoding",
            "max_inbound_priority_frames_per_stream",
            "use_oghttp2_codec",
            "connection_keepalive",
            "max_inbound_window_update_frames_per_data_frame_sent",
            "max_metadata_size",
            "stream_error_on_invalid_http_messaging",
            "stream_reset_burst",
            "stream_reset_rate",
            "override_stream_error_on_invalid_http_message",
            "disallow_obs_text",
        ],
        "windows, tables and bounds are the codec's",
    );
    for name in ["allow_connect", "allow_metadata", "custom_settings_parameters"] {
        options.refuse(name, "requests and responses are all that is passed on");
    }
    streams.map(|streams| entry("max_streams", number(streams.clamp(1, 10_000))))
}

fn sni(options: &Fields<'_>) {
    options.ignore_all(
        &["auto_sni", "auto_san_validation", "override_auto_sni_header"],
        "the endpoint's own name is asked for and checked, unless the TLS context has `sni`",
    );
}
