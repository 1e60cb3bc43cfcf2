//! `HttpConnectionManager`: what a listener does with HTTP.

use std::sync::Arc;

use prost_reflect::DynamicMessage;
use sallyport_config::Value;

use super::filters::Chain;
use super::listener::config_source;
use super::{Scope, access_log};
use crate::fields::Fields;
use crate::output::{self, Map, number};
use crate::resources::ResourceKind;

/// What a connection manager asks of its listener.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manager {
    /// Keys of the listener.
    pub(super) settings: Map,
    /// Entries of `filters` before those of the chain.
    pub(super) logs: Vec<Value>,
    pub(super) chain: Chain,
    pub(super) codec: Codec,
    pub(super) routes: Routes,
}

/// Which protocols are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Auto,
    Http1,
    Http2,
}

/// A route configuration and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    pub(super) name: String,
    pub(super) message: Arc<DynamicMessage>,
    pub(super) place: String,
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        let is_one = Arc::ptr_eq(&self.message, &other.message);
        self.name == other.name && (is_one || self.message == other.message)
    }
}

/// Reads the connection manager of listener `listener`.
pub(super) fn read(scope: &Scope<'_>, fields: &Fields<'_>, listener: &str) -> Option<Manager> {
    fields.text("stat_prefix");
    ignored(fields);
    refused(fields);
    let codec = match fields.choice("codec_type").as_deref() {
        None => Codec::Auto,
        Some("HTTP1") => Codec::Http1,
        Some("HTTP2") => Codec::Http2,
        Some(other) => return fields.reject(format!("speaks {other}, write AUTO, HTTP1 or HTTP2")),
    };
    let settings = settings(fields);
    let logs = access_log::entries(fields, "access_log");
    let chain = Chain::read(scope, fields);
    let routes = routes(scope, fields, listener)?;
    Some(Manager { settings, logs, chain, codec, routes })
}

/// Keys of the listener: times and bounds.
fn settings(fields: &Fields<'_>) -> Map {
    let mut timeouts = Map::new();
    let mut http2 = Map::new();
    if let Some(common) = fields.message("common_http_protocol_options") {
        timeouts.put_some("idle", common.time("idle_timeout").and_then(output::time));
        http2.put_some("max_age", common.time("max_connection_duration").and_then(output::time));
        common
            .ignore("max_connection_duration_jitter", "connections do not end all at once anyway");
        common.ignore("max_headers_count", "`limits.request_headers` bounds it for all listeners");
        common.ignore("max_response_headers_kb", "heads of responses are bounded by the codec");
        common.ignore("max_requests_per_connection", "connections end by their age");
        common.ignore(
            "headers_with_underscores_action",
            "`limits.header_names` says it for all listeners; by default such fields are left out",
        );
        common.refuse("max_stream_duration", "write max_stream_duration on routes");
    }
    if let Some(options) = fields.message("http2_protocol_options") {
        let streams = options.uint("max_concurrent_streams");
        http2.put_some("max_streams", streams.map(|streams| number(streams.clamp(1, 10_000))));
        options.ignore_all(
            &[
                "hpack_table_size",
                "initial_stream_window_size",
                "initial_connection_window_size",
                "max_header_field_size_kb",
                "enable_huffman_encoding",
                "use_oghttp2_codec",
            ],
            "windows and tables have the codec's sizes",
        );
        options.ignore_all(
            &[
                "max_outbound_frames",
                "max_outbound_control_frames",
                "max_consecutive_inbound_frames_with_empty_payload",
                "max_inbound_priority_frames_per_stream",
                "max_inbound_window_update_frames_per_data_frame_sent",
                "stream_reset_burst",
                "stream_reset_rate",
                "max_metadata_size",
            ],
            "`http2` of the listener bounds frames and resets",
        );
        options.ignore_all(
            &[
                "stream_error_on_invalid_http_messaging",
                "override_stream_error_on_invalid_http_message",
                "disallow_obs_text",
            ],
            "a malformed request ends its stream",
        );
        options.ignore("connection_keepalive", "`http2.max_age` and idle times end connections");
        options.refuse("allow_connect", "CONNECT is not routed");
        options.refuse("allow_metadata", "METADATA frames are not passed on");
        options.refuse("custom_settings_parameters", "settings are the codec's");
    }
    // Both bound how long a client may be silent while something is expected of it.
    let silent = fields.time("request_headers_timeout").filter(|time| !time.is_zero());
    let stream = fields.time("stream_idle_timeout").filter(|time| !time.is_zero());
    let read = match (silent, stream) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    timeouts.put_some("read", read.and_then(output::time));
    let write = fields.time("stream_flush_timeout");
    timeouts.put_some("write", write.and_then(output::time));
    let mut out = Map::new();
    out.put_some("http2", http2.filled());
    out.put_some("timeouts", timeouts.filled());
    out
}

/// What nobody needs here.
fn ignored(fields: &Fields<'_>) {
    fields.ignore_all(
        &["server_name", "server_header_transformation"],
        "the origin's Server field is passed on",
    );
    fields.ignore_all(
        &["use_remote_address", "skip_xff_append", "internal_address_config",
            "represent_ipv4_remote_address_as_ipv4_mapped_ipv6"],
        "the client is the peer, unless `trusted_proxies` of the listener name it; X-Forwarded-For is \
         written anew",
    );
    fields.ignore_all(
        &[
            "generate_request_id",
            "preserve_external_request_id",
            "always_set_request_id_in_response",
        ],
        "a request has an id in any case; the filter `request_id` says whose",
    );
    fields.ignore_all(
        &["normalize_path", "path_with_escaped_slashes_action", "path_normalization_options"],
        "paths are normalised once, or refused",
    );
    fields.ignore_all(
        &["strip_matching_host_port", "strip_any_host_port", "strip_trailing_host_dot"],
        "hosts are matched without port and final dot",
    );
    fields.ignore_all(
        &[
            "drain_timeout",
            "drain_timeout_jitter",
            "delayed_close_timeout",
            "request_timeout",
            "http1_safe_max_connection_duration",
        ],
        "`shutdown`, the timeouts and the least rate of bodies bound the same",
    );
    fields.ignore_all(
        &["access_log_flush_interval", "flush_access_log_on_new_request", "access_log_options"],
        "a request has one line, when it ends",
    );
    fields.ignore("tracing", "`tracing` says it for all listeners");
    fields.ignore(
        "max_request_headers_kb",
        "`limits.request_header_bytes` bounds it for all listeners",
    );
    fields.ignore("proxy_100_continue", "interim responses are passed on");
    fields.ignore("stream_error_on_invalid_http_message", "a malformed request ends its exchange");
    fields.ignore("append_x_forwarded_port", "X-Forwarded-Port is always sent");
    fields.ignore("append_local_overload", "x-envoy-* has no meaning here");
    fields.ignore("http_protocol_options", "HTTP/1.0 is served, names of fields keep their case");
    fields.ignore("http3_protocol_options", "HTTP/3 is not spoken");
    fields.ignore("add_user_agent", "User-Agent is the client's");
    fields.ignore("add_proxy_protocol_connection_state", "what PROXY says is the connection's");
    fields.ignore("forward_proto_config", "X-Forwarded-Proto is the connection's");
    fields.ignore("via", "Via is passed on as it is");
    fields.ignore("proxy_status_config", "X-Sallyport-Error says what failed");
}

/// What would be missed.
fn refused(fields: &Fields<'_>) {
    if fields.uint("xff_num_trusted_hops").unwrap_or(0) > 0 {
        fields.remark(
            crate::Outcome::Refused,
            "xff_num_trusted_hops counts proxies; here they are known by address, write \
             `trusted_proxies` of the listener in a file",
        );
    }
    if fields.flag("merge_slashes").unwrap_or(false) {
        fields.remark(crate::Outcome::Refused, "merge_slashes: `//` in paths is kept as it is");
    }
    fields.refuse("original_ip_detection_extensions", "clients are the peers of trusted proxies");
    fields.refuse("early_header_mutation_extensions", "filters run once a route is known");
    fields.refuse("local_reply_config", "write `error_pages` in a file");
    fields.refuse("request_id_extension", "ids are made here, the filter `request_id` says how");
    fields.refuse("scheme_header_transformation", "the scheme is the connection's");
    fields.refuse("typed_header_validation_config", "heads are checked by RFC 9112");
    fields.refuse("forward_client_cert_matcher", "certificates are sent by RFC 9440");
    fields.refuse("set_current_client_cert_details", "certificates are sent by RFC 9440");
    match fields.choice("forward_client_cert_details").as_deref() {
        None => {}
        Some(other) => fields.remark(
            crate::Outcome::Refused,
            format!(
                "forward_client_cert_details is {other}; X-Forwarded-Client-Cert is not written, set \
                 `forward_client_certificate` (RFC 9440) in a file"
            ),
        ),
    }
    for upgrade in fields.messages("upgrade_configs") {
        upgrade.refuse("filters", "an upgrade has the filters of its request");
        let kind = upgrade.text("upgrade_type").unwrap_or_default();
        match (upgrade.flag("enabled"), kind.eq_ignore_ascii_case("connect")) {
            (Some(false), _) => upgrade.remark(
                crate::Outcome::Ignored,
                "upgrades are passed on to origins, which may refuse them",
            ),
            (_, true) => upgrade.remark(crate::Outcome::Refused, "CONNECT is not routed"),
            _ => {}
        }
    }
}

fn routes(scope: &Scope<'_>, fields: &Fields<'_>, listener: &str) -> Option<Routes> {
    if let Some(inline) = fields.message("route_config") {
        // It is read with the virtual hosts, where other listeners may share it.
        inline.pass_over();
        let message = inline.owned();
        let name = message.get_field_by_name("name");
        let name = name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let name = if name.is_empty() { listener.to_owned() } else { name };
        let place = inline.place().to_owned();
        return Some(Routes { name, message: Arc::new(message), place });
    }
    if let Some(rds) = fields.message("rds") {
        config_source(&rds, "config_source");
        let name = rds.text("route_config_name").unwrap_or_default();
        return match scope.resources.find(ResourceKind::RouteConfiguration, &name) {
            Some(resource) => Some(Routes {
                name,
                message: resource.message.clone(),
                place: resource.place.clone(),
            }),
            None => rds.miss(ResourceKind::RouteConfiguration, &name),
        };
    }
    fields.refuse("scoped_routes", "a listener has one route configuration, write rds");
    None
}
