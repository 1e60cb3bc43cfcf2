//! `Listener`: where requests are taken, with which certificates and filters.
//!
//! Envoy chooses a filter chain by what a connection begins with. Here a listener has one way for
//! all of its connections, certificates by SNI, and virtual hosts by Host. Chains that differ by
//! SNI are said as that: what is a chain's own stands on the virtual hosts of its names.

use std::sync::Arc;

use prost_reflect::DynamicMessage;
use sallyport_config::Value;

use super::filters::Chain;
use super::manager::{self, Codec, Manager};
use super::routes::Hosts;
use super::tls::{self, Downstream};
use super::{Scope, access_log};
use crate::fields::Fields;
use crate::output::{self, Map, entry, filled, list, text};
use crate::resources::ResourceKind;

/// A listener, but for its virtual hosts.
pub(super) struct Gate {
    name: String,
    addresses: Vec<String>,
    /// All keys but its name, its address and its virtual hosts.
    settings: Map,
    filters: Vec<Value>,
    uses: Vec<RouteUse>,
}

/// A route configuration as connections of one chain use it.
pub(super) struct RouteUse {
    pub(super) name: String,
    pub(super) message: Arc<DynamicMessage>,
    pub(super) place: String,
    pub(super) chain: Chain,
    /// The names that its connections ask for by SNI; all where there are none.
    pub(super) server_names: Vec<String>,
    /// What is asked of its clients, where that is not the listener's.
    pub(super) client_certificates: Option<Value>,
}

impl RouteUse {
    /// Whether both come to the same virtual hosts.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_one = Arc::ptr_eq(&self.message, &other.message);
        self.name == other.name
            && self.server_names == other.server_names
            && self.client_certificates == other.client_certificates
            && self.chain == other.chain
            && (is_one || self.message == other.message)
    }
}

impl Gate {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its route configurations, by chain.
    pub(super) fn uses(&self) -> impl Iterator<Item = &RouteUse> {
        self.uses.iter()
    }

    /// Its entries in `listeners`, one for each address.
    pub(super) fn written(self, index: usize, hosts: &Hosts) -> Vec<Value> {
        let mut served = Vec::new();
        for chain in 0..self.uses.len() {
            for name in hosts.of(index, chain) {
                let name = text(&**name);
                if !served.contains(&name) {
                    served.push(name);
                }
            }
        }
        let one = |(number, address): (usize, &String)| {
            let name =
                if number == 0 { self.name.clone() } else { format!("{}@{address}", self.name) };
            let mut out = Map::new().with("name", text(name)).with("address", text(&**address));
            out.put("virtual_hosts", list(served.clone()));
            out.extend(&self.settings);
            out.put_some("filters", filled(self.filters.clone()));
            out.done()
        };
        self.addresses.iter().enumerate().map(one).collect()
    }
}

/// Translates all listeners.
pub(super) fn all(scope: &Scope<'_>) -> Vec<Gate> {
    let listeners = scope.resources.of(ResourceKind::Listener);
    listeners.filter_map(|(_, resource)| gate(scope, &scope.fields(resource))).collect()
}

/// Takes a source of configuration for read: whatever it is, resources come from where these came
/// from.
pub(super) fn config_source(fields: &Fields<'_>, name: &str) {
    let Some(source) = fields.message(name) else { return };
    source.refuse("path", "resources come with the others, not from a file of their own");
    source.refuse(
        "path_config_source",
        "resources come with the others, not from a file of their own",
    );
    source.pass_over();
}

/// One filter chain.
struct Way {
    server_names: Vec<String>,
    tls: Option<Downstream>,
    manager: Manager,
}

fn gate(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Gate> {
    ignored(fields);
    let mut addresses = Vec::new();
    if let Some(address) = fields.message("address") {
        addresses.push(listen_address(&address)?);
    }
    for more in fields.messages("additional_addresses") {
        more.ignore_all(
            &["socket_options", "tcp_keepalive"],
            "options of sockets are the gateway's",
        );
        addresses.push(listen_address(&more.message("address")?)?);
    }
    let name = fields.text("name");
    let Some(name) = name.or_else(|| addresses.first().cloned()) else {
        return fields.reject("has no address, write `address: { socket_address: … }`");
    };
    let proxy_protocol = listener_filters(fields);
    let logs = access_log::entries(fields, "access_log");
    let mut ways = Vec::new();
    let chains = fields.messages("filter_chains").into_iter().map(Some);
    let mut is_good = true;
    for chain in chains.chain([fields.message("default_filter_chain")]).flatten() {
        match way(scope, &chain, &name) {
            Some(way) => ways.push(way),
            None => is_good = false,
        }
    }
    if !is_good {
        return None;
    }
    if ways.is_empty() {
        return fields.reject("has no filter chain");
    }
    if addresses.is_empty() {
        return fields.reject("has no address, write `address: { socket_address: … }`");
    }
    let mut settings = Map::new();
    settings.put_some("proxy_protocol", proxy_protocol);
    let gate = Gate { name, addresses, settings, filters: logs, uses: Vec::new() };
    joined(fields, gate, ways)
}

/// What nobody needs here, or what cannot be done.
fn ignored(fields: &Fields<'_>) {
    fields.ignore_all(
        &["stat_prefix", "stats_matcher", "traffic_direction", "metadata"],
        "statistics are by the listener's name",
    );
    fields.ignore_all(
        &["per_connection_buffer_limit_bytes", "per_connection_buffer_high_watermark_timeout"],
        "`limits.client_unread_bytes` bounds it for all listeners",
    );
    fields.ignore_all(
        &["drain_type", "listener_filters_timeout", "continue_on_listener_filters_timeout"],
        "a handshake and a head have their own time",
    );
    fields.ignore_all(
        &[
            "freebind",
            "socket_options",
            "tcp_fast_open_queue_length",
            "connection_balance_config",
            "reuse_port",
            "enable_reuse_port",
            "tcp_backlog_size",
            "enable_mptcp",
            "tcp_keepalive",
            "max_connections_to_accept_per_socket_event",
            "ignore_global_conn_limit",
            "bypass_overload_manager",
        ],
        "sockets are the gateway's: one for each worker, with its own bounds",
    );
    for name in ["use_original_dst", "transparent"] {
        fields.refuse(name, "connections are for the listener's own address");
    }
    fields.refuse("filter_chain_matcher", "chains are chosen by server_names");
    fields.refuse("fcds_config", "filter chains come with their listener");
    fields.refuse("udp_listener_config", "HTTP/3 is not spoken");
    fields.refuse("api_listener", "a listener has an address");
    fields.refuse("internal_listener", "a listener has an address");
    if fields.flag("bind_to_port") == Some(false) {
        fields.remark(
            crate::Outcome::Refused,
            "bind_to_port is false, and a listener binds its port",
        );
    }
    if let Some(old) = fields.message("deprecated_v1") {
        old.refuse("bind_to_port", "a listener binds its port");
    }
}

/// An `Address` to listen on, as IP:PORT.
fn listen_address(fields: &Fields<'_>) -> Option<String> {
    let Some(socket) = fields.message("socket_address") else {
        fields.pass_over();
        return fields.reject("is no IP address and port, write `socket_address`");
    };
    let (host, port) = socket_address(&socket)?;
    socket.ignore("ipv4_compat", "[::] takes IPv4 as well where the system says so");
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => Some(std::net::SocketAddr::new(ip, port).to_string()),
        Err(_) => socket.reject(format!("{host:?} is no IP address")),
    }
}

/// The host and the port of a `SocketAddress`.
pub(super) fn socket_address(fields: &Fields<'_>) -> Option<(String, u16)> {
    if fields.choice("protocol").is_some() {
        return fields.reject("is UDP, and HTTP is served over TCP");
    }
    fields.refuse("named_port", "ports are numbers, write port_value");
    fields.refuse("network_namespace_filepath", "sockets are of the gateway's own namespace");
    fields.ignore("resolver_name", "`resolver` says how names are resolved");
    let host = fields.text("address").unwrap_or_default();
    let port = fields.uint("port_value").and_then(|port| u16::try_from(port).ok());
    Some((host, port.unwrap_or(0)))
}

/// What stands before filter chains; returns `proxy_protocol`.
fn listener_filters(fields: &Fields<'_>) -> Option<Value> {
    let mut proxy_protocol = None;
    for filter in fields.messages("listener_filters") {
        filter.text("name");
        filter.refuse("filter_disabled", "what a connection begins with is read for all of them");
        filter.refuse("config_discovery", "listener filters come with their listener");
        let Some(config) = filter.any("typed_config") else { continue };
        match config.type_name().rsplit('.').next() {
            Some("TlsInspector" | "HttpInspector") => config.pass_over(),
            Some("ProxyProtocol") => {
                let everybody = list(["0.0.0.0/0", "::/0"].map(text));
                config.refuse(
                    "allow_requests_without_proxy_protocol",
                    "whose networks send a header, must",
                );
                config.ignore_all(
                    &["rules", "pass_through_tlvs", "disallowed_versions", "stat_prefix"],
                    "the address is taken of a header of either version, and nothing else",
                );
                proxy_protocol = Some(entry("from", everybody));
            }
            _ => {
                config.reject::<()>("is no listener filter that is known here");
            }
        }
    }
    proxy_protocol
}

fn way(scope: &Scope<'_>, fields: &Fields<'_>, listener: &str) -> Option<Way> {
    fields.text("name");
    fields.ignore("metadata", "nothing here asks for it");
    fields.refuse("use_proxy_proto", "is deprecated, write the listener filter proxy_protocol");
    let timeout = fields.time("transport_socket_connect_timeout").and_then(output::time);
    let is_tls = fields.has("transport_socket");
    let server_names = match fields.message("filter_chain_match") {
        Some(matches) => chain_match(&matches, is_tls),
        None => Some(Vec::new()),
    };
    let tls = fields.message("transport_socket").map(|socket| tls::downstream(scope, &socket));
    let tls = match tls {
        None => Some(None),
        Some(tls) => tls,
    };
    let mut managers = Vec::new();
    for filter in fields.messages("filters") {
        filter.text("name");
        filter.refuse("config_discovery", "network filters come with their listener");
        let Some(config) = filter.any("typed_config") else { continue };
        match config.type_name().rsplit('.').next() {
            Some("HttpConnectionManager") => {
                managers.push(manager::read(scope, &config, listener)?)
            }
            Some("TcpProxy") => {
                return config.reject("passes bytes on; a listener serves HTTP here");
            }
            _ => return config.reject("is no network filter that is known here"),
        }
    }
    let Some(manager) = managers.pop() else {
        return fields.reject("has no HttpConnectionManager among its filters");
    };
    let tls = tls?.map(|tls| Downstream { handshake_timeout: timeout, ..tls });
    Some(Way { server_names: server_names?, tls, manager })
}

/// The names by SNI that a chain is for; what else it is chosen by cannot be said.
fn chain_match(fields: &Fields<'_>, is_tls: bool) -> Option<Vec<String>> {
    let protocol = fields.text("transport_protocol");
    let fits = match protocol.as_deref() {
        None => true,
        Some("tls") => is_tls,
        Some(_) => !is_tls,
    };
    fields.ignore("application_protocols", "a listener speaks what all of its chains do, by ALPN");
    fields.ignore("address_suffix", "Envoy does not use it");
    fields.ignore("suffix_len", "Envoy does not use it");
    let names = fields.texts("server_names");
    let mut is_good = true;
    for name in [
        "destination_port",
        "prefix_ranges",
        "direct_source_prefix_ranges",
        "source_type",
        "source_prefix_ranges",
        "source_ports",
    ] {
        is_good &= !fields.has(name);
        fields.refuse(
            name,
            "chains are chosen by server_names; a filter `ip_access` decides by address",
        );
    }
    if !fits {
        return fields.reject("is for the other transport than its own transport_socket");
    }
    is_good.then_some(names)
}

/// One listener of all its chains.
fn joined(fields: &Fields<'_>, mut gate: Gate, ways: Vec<Way>) -> Option<Gate> {
    let is_tls = ways[0].tls.is_some();
    if ways.iter().any(|way| way.tls.is_some() != is_tls) {
        return fields.reject("speaks TLS on some of its chains and clear text on others");
    }
    let first = &ways[0].manager;
    if ways
        .iter()
        .any(|way| way.manager.settings != first.settings || way.manager.logs != first.logs)
    {
        return fields.reject("has chains with different timeouts, HTTP/2 options or access logs");
    }
    let protocols = protocols(&ways[0]);
    if ways.iter().any(|way| self::protocols(way) != protocols) {
        return fields.reject("speaks other protocols on some of its chains than on others");
    }
    let asked = ways[0].tls.as_ref().and_then(|tls| tls.client_certificates.clone());
    let is_asked_alike = ways
        .iter()
        .all(|way| way.tls.as_ref().and_then(|it| it.client_certificates.clone()) == asked);
    if is_tls {
        let asked = asked.filter(|_| is_asked_alike);
        gate.settings.put("tls", tls(fields, &ways, asked)?);
    }
    gate.settings.put("protocols", list(protocols.iter().map(|name| text(*name))));
    gate.settings.extend(&first.settings);
    gate.filters.extend(first.logs.clone());
    let is_one = ways.iter().all(|way| way.manager == *first) && is_asked_alike;
    if is_one {
        gate.filters.extend(first.chain.entries());
    } else if ways.iter().any(|way| !way.server_names.is_empty()) {
        fields.remark(
            crate::Outcome::Ignored,
            "has chains that differ by SNI: a request goes by its Host, which is the name that its \
             connection asked for unless the client does not mean well",
        );
    }
    gate.uses = ways
        .into_iter()
        .map(|way| {
            let Way { server_names, tls, manager: Manager { chain, routes, .. } } = way;
            let client_certificates = tls.and_then(|tls| tls.client_certificates);
            RouteUse {
                name: routes.name,
                message: routes.message,
                place: routes.place,
                chain: if is_one { chain } else { chain.on_hosts() },
                server_names: if is_one { Vec::new() } else { server_names },
                client_certificates: client_certificates.filter(|_| !is_asked_alike),
            }
        })
        .collect();
    Some(gate)
}

fn protocols(way: &Way) -> Vec<&'static str> {
    match (way.manager.codec, &way.tls) {
        (Codec::Http1, _) => vec!["http1"],
        (Codec::Http2, _) => vec!["http2"],
        (Codec::Auto, None) => vec!["http1", "http2"],
        (Codec::Auto, Some(tls)) => {
            let offers = |name: &str| tls.alpn.iter().any(|offered| offered == name);
            match (offers("h2"), tls.alpn.len()) {
                (true, 1) => vec!["http2"],
                (true, _) => vec!["http1", "http2"],
                (false, _) => vec!["http1"],
            }
        }
    }
}

/// `tls` of a listener with these chains.
fn tls(fields: &Fields<'_>, ways: &[Way], asked: Option<Value>) -> Option<Value> {
    let contexts = || ways.iter().filter_map(|way| way.tls.as_ref());
    let first = contexts().next()?;
    if contexts().any(|tls| tls.min_version != first.min_version) {
        return fields.reject("has chains with different oldest versions of TLS");
    }
    // The first certificate is for all names that have none.
    let is_open = |way: &&Way| way.server_names.is_empty();
    let open = ways.iter().filter(is_open);
    let named = ways.iter().filter(|way| !is_open(way));
    let mut certificates = Vec::new();
    for certificate in
        open.chain(named).filter_map(|way| way.tls.as_ref()).flat_map(|it| &it.certificates)
    {
        if !certificates.contains(certificate) {
            certificates.push(certificate.clone());
        }
    }
    let refuses = !ways.iter().any(|way| is_open(&way)) || contexts().all(|tls| tls.requires_sni);
    let out = Map::new()
        .with("certificates", list(certificates))
        .with_some("default", refuses.then(|| text("refuse")))
        .with_some("min_version", first.min_version.clone())
        .with_some("client_certificates", asked)
        .with_some("handshake_timeout", first.handshake_timeout.clone());
    Some(out.done())
}
