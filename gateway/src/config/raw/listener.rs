//! `listeners:`.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use sallyport_config::{Node, Sink};
use sallyport_plugin::{Entry, Reader};
use sallyport_tls::AcmeAccount;

use super::{proxy_protocol, redirect, scalar};
use crate::config::http2::Http2;
use crate::config::model::{ListenerTimeouts, Protocols, Redirect};
use crate::config::tls::{self, Tls};

/// A listener as written, as far as it could be read.
#[derive(Debug)]
pub(in crate::config) struct RawListener {
    pub(in crate::config) name: Option<Box<str>>,
    pub(in crate::config) place: String,
    pub(in crate::config) address: Option<SocketAddr>,
    /// `None` where a name could not be read, so that the others keep their indices.
    pub(in crate::config) virtual_hosts: Option<Vec<Option<Box<str>>>>,
    pub(in crate::config) h2c: bool,
    pub(in crate::config) protocols: Option<Protocols>,
    pub(in crate::config) tls: Option<Tls>,
    /// Whether there is a `tls`, which may not have been readable.
    pub(in crate::config) has_tls: bool,
    pub(in crate::config) http2: Option<Http2>,
    pub(in crate::config) trusted_proxies: Vec<IpNet>,
    pub(in crate::config) redirect: Option<Redirect>,
    pub(in crate::config) proxy_protocol: Vec<IpNet>,
    pub(in crate::config) max_connections: Option<u64>,
    pub(in crate::config) max_connections_per_source: Option<u64>,
    pub(in crate::config) timeouts: ListenerTimeouts,
    pub(in crate::config) filters: Vec<Entry>,
}

pub(super) fn listener(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<RawListener> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let address = fields.required(sink, "address", scalar::address);
        let virtual_hosts = fields.optional(sink, "virtual_hosts", |node, sink| {
            node.list(sink, |node, sink| Some(scalar::name(node, sink)))
        });
        let h2c = fields.optional(sink, "h2c", scalar::flag);
        let protocols = fields.optional(sink, "protocols", protocols);
        let has_tls = fields.has("tls");
        let tls =
            fields.optional(sink, "tls", |node, sink| tls::read(node, filters, accounts, sink));
        let http2 = fields.optional(sink, "http2", http2);
        let trusted_proxies =
            fields.optional(sink, "trusted_proxies", |node, sink| node.list(sink, scalar::network));
        let redirect = fields.optional(sink, "redirect", redirect::of_listener);
        let proxy_protocol = fields.optional(sink, "proxy_protocol", proxy_protocol::read);
        let most = |node: Node<'_>, sink: &mut Sink| node.number(sink, 1, 10_000_000);
        let max_connections = fields.optional(sink, "max_connections", most);
        let max_connections_per_source = fields.optional(sink, "max_connections_per_source", most);
        let timeouts = fields.optional(sink, "timeouts", timeouts);
        let scope = format!("listener {:?}", name.as_deref().unwrap_or(""));
        let filters =
            fields.optional(sink, "filters", |node, sink| filters.list(&scope, node, sink));
        Some(RawListener {
            name,
            place,
            address,
            virtual_hosts,
            h2c: h2c.unwrap_or(false),
            protocols,
            tls,
            has_tls,
            http2,
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            redirect,
            proxy_protocol: proxy_protocol.unwrap_or_default(),
            max_connections,
            max_connections_per_source,
            timeouts: timeouts.unwrap_or_default(),
            filters: filters.unwrap_or_default(),
        })
    })
}

fn protocols(node: Node<'_>, sink: &mut Sink) -> Option<Protocols> {
    let mut spoken = Protocols { http1: false, http2: false };
    node.whole_list(sink, |node, sink| {
        let is_new = match node.text(sink)? {
            "http1" => !std::mem::replace(&mut spoken.http1, true),
            "http2" => !std::mem::replace(&mut spoken.http2, true),
            other => {
                let what = format!("{other:?} is no protocol that is spoken here");
                return node.refuse(sink, what, "write http1 or http2");
            }
        };
        if !is_new {
            return node.refuse(sink, "is there twice", "remove one of the two");
        }
        Some(())
    })?;
    if !spoken.http1 && !spoken.http2 {
        return node.refuse(sink, "is empty", "write [http1, http2], or one of them");
    }
    Some(spoken)
}

fn http2(node: Node<'_>, sink: &mut Sink) -> Option<Http2> {
    node.mapping(sink, |fields, sink| {
        let default = Http2::default();
        let mut count = |key, default, most| {
            let number = fields.optional(sink, key, |node, sink| node.number(sink, 1, most));
            number.unwrap_or(default)
        };
        let max_streams = count("max_streams", default.max_streams, 10_000);
        let max_resets = count("max_resets_per_10s", default.max_resets, 10_000_000);
        let max_pings = count("max_pings_per_10s", default.max_pings, 10_000_000);
        let max_settings = count("max_settings_per_10s", default.max_settings, 10_000_000);
        let max_control_frames =
            count("max_control_frames_per_10s", default.max_control_frames, 10_000_000);
        let max_stalled_streams = count("max_stalled_streams", default.max_stalled_streams, 10_000);
        let max_age = fields.optional(sink, "max_age", scalar::duration);
        Some(Http2 {
            max_streams,
            max_resets,
            max_pings,
            max_settings,
            max_control_frames,
            max_stalled_streams,
            max_age: max_age.unwrap_or(default.max_age),
        })
    })
}

fn timeouts(node: Node<'_>, sink: &mut Sink) -> Option<ListenerTimeouts> {
    node.mapping(sink, |fields, sink| {
        let default = ListenerTimeouts::default();
        Some(ListenerTimeouts {
            idle: fields.optional(sink, "idle", scalar::duration).unwrap_or(default.idle),
            read: fields.optional(sink, "read", scalar::duration).unwrap_or(default.read),
            write: fields.optional(sink, "write", scalar::duration).unwrap_or(default.write),
        })
    })
}
