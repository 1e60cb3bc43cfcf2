//! `listeners:`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use sallyport_config::spec;
use sallyport_config::spec::scalar::{Duration, Name, Network};
use sallyport_config::{Place, Sink};
use sallyport_plugin::Entry as Filter;

use super::{Resolver, Spot, process, tls};
use crate::config::admin::Admin;
use crate::config::http2::Http2;
use crate::config::model::{
    Listener, ListenerTimeouts, Protocols, Redirect, RedirectPath, Upstream,
};
use crate::config::tls::Tls;

/// What listeners name.
pub(super) struct Known<'k> {
    /// The index of each virtual host.
    pub(super) hosts: &'k HashMap<&'k str, usize>,
    /// The upstreams, in their order.
    pub(super) upstreams: &'k [Upstream],
}

impl Resolver<'_, '_, '_> {
    /// The filters of each listener, the common access log among them.
    pub(super) fn listener_filters(
        &mut self,
        specs: &[(Spot, &spec::Listener)],
        access_log: Option<&spec::AccessLog>,
    ) -> Vec<Vec<Filter>> {
        let mut lists: Vec<_> = specs
            .iter()
            .map(|(spot, spec)| {
                let scope = format!("listener {:?}", &*spec.name);
                spot.at(|place| self.filter_list(&scope, &spec.filters, place))
            })
            .collect();
        let access_log = access_log.and_then(|spec| {
            let file = Place::File(0);
            let place = Place::Key(&file, "access_log");
            process::access_log(spec, &place, self.filters, self.problems)
        });
        if let Some(access_log) = &access_log {
            lists.iter_mut().for_each(|filters| process::give(access_log, filters));
        }
        lists
    }

    pub(super) fn all_listeners(
        &mut self,
        specs: &[(Spot, &spec::Listener)],
        filters: Vec<Vec<Filter>>,
        admin: Option<&Admin>,
        known: &Known<'_>,
    ) -> Vec<Listener> {
        // Where other sources are, they bring their own.
        let is_alone = self.declared.main().providers.is_none();
        if specs.is_empty() && is_alone && !self.has_errors() {
            self.refuse(0, "listeners".into(), "is empty".into(), "add a listener");
        }
        let mut names = HashMap::new();
        // The admin listener's is nobody else's.
        let admin = admin.and_then(|admin| admin.address.ip());
        let admin = admin.filter(|address| address.port() != 0);
        let mut addresses: HashMap<SocketAddr, Option<Spot>> =
            admin.into_iter().map(|address| (address, None)).collect();
        let mut listeners = Vec::with_capacity(specs.len());
        for ((spot, spec), filters) in specs.iter().zip(filters) {
            let at = |spot: Spot| (spot.file, format!("{spot}.name"));
            let what = || format!("duplicate listener {:?}", &*spec.name);
            self.refuse_repeated(&mut names, &*spec.name, *spot, at, what);
            let address = spec.address.0;
            if address.port() != 0 {
                let at = |spot: Option<Spot>| match spot {
                    Some(spot) => (spot.file, format!("{spot}.address")),
                    None => (0, "admin.address".to_owned()),
                };
                let what = || format!("duplicate address {address}");
                self.refuse_repeated(&mut addresses, address, Some(*spot), at, what);
            }
            listeners.push(spot.at(|place| self.listener(spec, place, filters, known)));
        }
        listeners
    }

    fn listener(
        &mut self,
        spec: &spec::Listener,
        place: &Place<'_>,
        filters: Vec<Filter>,
        known: &Known<'_>,
    ) -> Listener {
        let at = |key| Place::Key(place, key);
        if filters.iter().any(|entry| matches!(entry, Filter::Off(_))) {
            let what = "turns a filter off, and no place is less specific";
            at("filters").refuse::<()>(self.problems, what, "remove the entry");
        }
        if spec.redirect.is_some() && spec.tls.is_some() {
            let what = "has no effect: all that comes by this listener is HTTPS";
            let fix = "write it on the listener in clear text, such as that of port 80";
            at("redirect").refuse::<()>(self.problems, what, fix);
        }
        let protocols = self.protocols(spec, place);
        let virtual_hosts = spec.virtual_hosts.as_ref();
        let mut virtual_hosts =
            virtual_hosts.map(|names| self.served_hosts(names, &at("virtual_hosts"), known.hosts));
        if spec.tls.as_ref().is_some_and(spec::ListenerTls::only_passes_through) {
            self.refuse_unterminated(spec, place, &filters);
            virtual_hosts = Some(Vec::new());
        }
        let tls = spec.tls.as_ref().and_then(|spec| {
            let place = at("tls");
            let passthrough =
                self.passthrough(spec.passthrough.as_deref(), &place, known.upstreams);
            let tls = tls::tls(spec, &place, self.filters, &self.accounts, self.problems);
            tls.map(|tls| Tls { passthrough, ..tls })
        });
        let trusted = networks(&spec.trusted_proxies, &at("trusted_proxies"), self.problems);
        Listener {
            name: (*spec.name).into(),
            address: spec.address.0,
            virtual_hosts,
            protocols,
            h2c: protocols.http2 && spec.tls.is_none(),
            tls: tls.map(Arc::new),
            http2: spec.http2.as_ref().map(Into::into).unwrap_or_default(),
            trusted_proxies: trusted,
            redirect: spec.redirect.as_ref().map(redirect),
            proxy_protocol: self.senders(spec.proxy_protocol.as_ref(), place),
            max_connections: spec.max_connections.0,
            max_connections_per_source: spec.max_connections_per_source.0,
            timeouts: (&spec.timeouts).into(),
            filters,
        }
    }

    fn served_hosts(
        &mut self,
        names: &[Name],
        list: &Place<'_>,
        hosts: &HashMap<&str, usize>,
    ) -> Vec<usize> {
        let is_whole = !self.is_replaced(list);
        let mut served = Vec::with_capacity(names.len());
        let mut seen = HashSet::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let place = Place::Item(list, index);
            match hosts.get(&**name).copied() {
                None => {
                    let what = format!("unknown virtual host {:?}", &**name);
                    let fix = "define it under `virtual_hosts` or correct the name";
                    place.refuse::<()>(self.problems, what, fix);
                }
                Some(host) if !seen.insert(host) => {
                    if is_whole {
                        let what = format!("names virtual host {:?} again", &**name);
                        place.refuse::<()>(self.problems, what, "remove one of the two");
                    }
                }
                Some(host) => served.push(host),
            }
        }
        served
    }

    /// The protocols of a listener, by what is written and by whether it speaks TLS.
    fn protocols(&mut self, spec: &spec::Listener, place: &Place<'_>) -> Protocols {
        let at = |key| Place::Key(place, key);
        let list = at("protocols");
        let is_whole = !self.is_replaced(&list) && !self.is_replaced(&at("h2c"));
        let has_tls = spec.tls.is_some();
        if spec.h2c && has_tls {
            let what = "is HTTP/2 in clear text, and the listener speaks TLS";
            let fix = "remove it: with TLS, HTTP/2 is agreed on with each client";
            at("h2c").refuse::<()>(self.problems, what, fix);
        } else if spec.h2c && spec.protocols.is_some() {
            let what = "says again what `protocols` says";
            at("h2c").refuse::<()>(self.problems, what, "remove it");
        }
        let written = spec.protocols.as_ref();
        let written = written.map(|written| spoken(written, &list, is_whole, self.problems));
        let protocols = written.unwrap_or(Protocols { http1: true, http2: spec.h2c || has_tls });
        if spec.http2.is_some() && !protocols.http2 && is_whole {
            let what = "has no effect: the listener speaks no HTTP/2";
            let fix = "add `protocols: [http1, http2]` to the listener, or remove `http2`";
            at("http2").refuse::<()>(self.problems, what, fix);
        }
        protocols
    }

    /// The networks whose peers send a PROXY header.
    fn senders(&mut self, spec: Option<&spec::ProxyProtocol>, place: &Place<'_>) -> Vec<IpNet> {
        let Some(spec) = spec else { return Vec::new() };
        let place = Place::Key(place, "proxy_protocol");
        let place = Place::Key(&place, "from");
        if spec.from.is_empty() {
            let fix = "name the load balancers that send the header, such as [10.0.0.0/8], or \
                       remove `proxy_protocol`";
            place.refuse::<()>(self.problems, "names nobody, so that it has no effect", fix);
        }
        networks(&spec.from, &place, self.problems)
    }
}

/// The protocols of a list, each written once.
fn spoken(
    list: &[spec::ListenerProtocol],
    place: &Place<'_>,
    is_whole: bool,
    sink: &mut Sink,
) -> Protocols {
    let mut spoken = Protocols { http1: false, http2: false };
    for (index, protocol) in list.iter().enumerate() {
        let known = match protocol {
            spec::ListenerProtocol::Http1 => &mut spoken.http1,
            spec::ListenerProtocol::Http2 => &mut spoken.http2,
        };
        if std::mem::replace(known, true) && is_whole {
            Place::Item(place, index).refuse::<()>(sink, "is there twice", "remove one of the two");
        }
    }
    if list.is_empty() {
        place.refuse::<()>(sink, "is empty", "write [http1, http2], or one of them");
    }
    spoken
}

/// To the same place by HTTPS.
fn redirect(spec: &spec::ListenerRedirect) -> Redirect {
    let spec::ListenerRedirect { scheme: spec::Https::Https, status, port } = spec;
    let status = status.and_then(|status| StatusCode::from_u16(status.code()).ok());
    Redirect {
        status: status.unwrap_or(StatusCode::MOVED_PERMANENTLY),
        scheme: Some("https".into()),
        host: None,
        port: port.map(|port| port.0 as u16),
        path: RedirectPath::Keep,
    }
}

impl From<&spec::Http2> for Http2 {
    fn from(spec: &spec::Http2) -> Self {
        Self {
            max_streams: spec.max_streams.0,
            max_resets: spec.max_resets.0,
            max_pings: spec.max_pings.0,
            max_settings: spec.max_settings.0,
            max_control_frames: spec.max_control_frames.0,
            max_stalled_streams: spec.max_stalled_streams.0,
            max_age: spec.max_age.0,
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        (&spec::Http2::default()).into()
    }
}

impl From<&spec::ListenerTimeouts> for ListenerTimeouts {
    fn from(spec: &spec::ListenerTimeouts) -> Self {
        let spec::ListenerTimeouts { idle, read, write } = spec;
        let [idle, read, write] = [idle, read, write].map(|Duration(time)| *time);
        Self { idle, read, write }
    }
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        (&spec::ListenerTimeouts::default()).into()
    }
}

/// The networks, with a warning for each that is written with an address within it, which may be a
/// slip of either.
pub(super) fn networks(specs: &[Network], place: &Place<'_>, sink: &mut Sink) -> Vec<IpNet> {
    let networks = specs
        .iter()
        .enumerate()
        .map(|(index, network)| network.resolve(&Place::Item(place, index), sink));
    networks.collect()
}
