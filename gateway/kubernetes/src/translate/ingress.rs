//! Ingress: hosts and paths.
//!
//! Rules of all Ingresses for one host are one virtual host. An exact path is asked for before
//! prefixes, a longer prefix before a shorter one, and of two alike the older Ingress has it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use sallyport_config::delivery::Part;
use sallyport_config::spec::scalar::PortName;
use sallyport_config::spec::scalar::{Address, Duration, Int};
use sallyport_config::spec::{
    Forward, Listener, ListenerProtocol, ListenerTimeouts, ListenerTls, Match, PathMatch, Route,
    TlsDefault, TlsVersion,
};

use super::backend::Wanted;
use super::{Draft, responding};
use crate::objects::{Backend, Ingress, Key, Object};
use crate::status::ObjectStatus;

/// The annotation by which classes were named before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The annotation of the class of those that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// A path of a host.
struct Path {
    /// Smaller is asked for first.
    rank: (u8, Reverse<usize>, usize),
    matches: Match,
    ingress: usize,
    name: String,
    backend: Backend,
}

impl Draft<'_> {
    pub(super) fn ingresses(&mut self) {
        let mut ours: Vec<Arc<Object<Ingress>>> =
            self.objects.ingresses.values().filter(|it| self.is_ours(it)).cloned().collect();
        ours.sort_by(|one, other| one.age().cmp(&other.age()));
        let mut hosts: BTreeMap<String, Vec<Path>> = BTreeMap::new();
        for (index, ingress) in ours.iter().enumerate() {
            paths(index, ingress, &mut hosts);
        }
        let mut names = Vec::new();
        for (host, mut paths) in hosts {
            paths.sort_by_key(|path| path.rank);
            let name = format!("kubernetes/ingress/{host}");
            let routes = paths.into_iter().map(|path| {
                let ingress = &ours[path.ingress];
                (self.ingress_route(ingress, path), ingress.origin())
            });
            let routes = routes.collect();
            self.virtual_host(&name, &host, routes);
            names.push(name);
        }
        let certificates = self.ingress_certificates(&ours);
        self.ingress_listeners(&names, certificates);
        for ingress in &ours {
            let addresses = self.config.publish_addresses.iter().flatten();
            let addresses: Vec<_> = addresses.map(|address| address.to_string()).collect();
            self.out.statuses.push(ObjectStatus::ingress(ingress, &addresses));
        }
    }

    fn is_ours(&self, ingress: &Object<Ingress>) -> bool {
        let class = &*self.config.ingress_class;
        let named = ingress.body.ingress_class_name.as_ref();
        match named.or_else(|| ingress.annotations.get(CLASS)) {
            Some(named) => named == class,
            None => {
                let key = Key::new("", class);
                let ours = self.objects.ingress_classes.get(&key);
                let default = ours.and_then(|class| class.annotations.get(DEFAULT_CLASS));
                default.is_some_and(|default| default == "true")
            }
        }
    }

    fn ingress_route(&mut self, ingress: &Object<Ingress>, path: Path) -> Route {
        let Path { matches, name, backend, .. } = path;
        let found = match (&backend.service, &backend.resource) {
            (Some(service), _) => {
                let port = match (&service.port.name, service.port.number) {
                    (Some(name), _) => PortName::Name(name.as_str().into()),
                    (None, number) => PortName::Number(number.unwrap_or_default()),
                };
                let key = Key::new(&ingress.key.namespace, &service.name);
                self.upstream(&key, &port, &Wanted::default())
            }
            (None, Some(_)) => Err("backends that are no Services are not supported".to_owned()),
            (None, None) => Err("names no Service".to_owned()),
        };
        match found {
            Ok(upstream) => Route {
                name: name.as_str().into(),
                matches,
                filters: Vec::new(),
                forward: Some(to(&upstream)),
                redirect: None,
                respond: None,
                tracing: None,
                bandwidth: None,
            },
            Err(why) => {
                let what = format!("a backend cannot be used: {why}");
                self.problem(ingress.origin(), what, "name a Service and one of its ports");
                responding(&name, matches, 503)
            }
        }
    }

    fn ingress_certificates(
        &mut self,
        ours: &[Arc<Object<Ingress>>],
    ) -> Vec<sallyport_config::spec::Certificate> {
        let mut certificates = BTreeMap::new();
        for ingress in ours {
            for name in ingress.body.tls.iter().filter_map(|tls| tls.secret_name.as_deref()) {
                let key = Key::new(&ingress.key.namespace, name);
                if certificates.contains_key(&key) {
                    continue;
                }
                let found = self.certificate(&key, &ingress.origin());
                if let Some(why) = found.problem {
                    let fix = "make a Secret of type kubernetes.io/tls with tls.crt and tls.key";
                    self.problem(ingress.origin(), why, fix);
                }
                certificates.extend(found.certificate.map(|certificate| (key, certificate)));
            }
        }
        certificates.into_values().collect()
    }

    fn ingress_listeners(
        &mut self,
        hosts: &[String],
        certificates: Vec<sallyport_config::spec::Certificate>,
    ) {
        let Some(listeners) = &self.config.ingress else {
            self.out.fragment.certificates = certificates;
            return;
        };
        let mut add = |name: &str, address: Address, tls: Option<ListenerTls>| {
            self.out
                .origins
                .insert(Part::Listener(name.into()), "providers.kubernetes.ingress".into());
            let hosts = hosts.iter().map(|host| host.as_str().into()).collect();
            self.out.fragment.listeners.push(listener(name, address, hosts, tls));
        };
        if let Some(address) = listeners.http {
            add("ingress-http", address, None);
        }
        if let Some(address) = listeners.https
            && !certificates.is_empty()
        {
            add("ingress-https", address, Some(terminating(certificates)));
        }
    }
}

/// A listener of the source's own.
pub(super) fn listener(
    name: &str,
    address: Address,
    hosts: Vec<sallyport_config::spec::scalar::Name>,
    tls: Option<ListenerTls>,
) -> Listener {
    Listener {
        name: name.into(),
        address,
        virtual_hosts: Some(hosts),
        protocols: Some(vec![ListenerProtocol::Http1, ListenerProtocol::Http2]),
        tls,
        h2c: false,
        http2: None,
        trusted_proxies: Vec::new(),
        redirect: None,
        proxy_protocol: None,
        max_connections: Int(100_000),
        max_connections_per_source: Int(10_000),
        timeouts: ListenerTimeouts::default(),
        filters: Vec::new(),
    }
}

/// TLS with these certificates.
pub(super) fn terminating(certificates: Vec<sallyport_config::spec::Certificate>) -> ListenerTls {
    ListenerTls {
        certificates: (!certificates.is_empty()).then_some(certificates),
        passthrough: None,
        default: TlsDefault::First,
        min_version: TlsVersion::Tls12,
        client_certificates: None,
        handshake_timeout: Duration::seconds(10),
        max_handshakes: Int(10_000),
        forward_client_certificate: false,
    }
}

/// Sends all to one upstream.
pub(super) fn to(upstream: &str) -> Forward {
    Forward {
        upstream: Some(upstream.into()),
        split: None,
        timeout: None,
        retries: None,
        retry: None,
        sticky: None,
        mirror: None,
        failover: None,
    }
}

/// Adds the paths of an Ingress to those of their hosts.
fn paths(index: usize, ingress: &Object<Ingress>, hosts: &mut BTreeMap<String, Vec<Path>>) {
    let name = |part: String| format!("Ingress/{}/{part}", ingress.key);
    for (rule_index, rule) in ingress.body.rules.iter().enumerate() {
        let host = rule.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("*");
        let of_host = hosts.entry(host.to_ascii_lowercase()).or_default();
        let http = rule.http.iter().flat_map(|http| &http.paths).enumerate();
        for (path_index, path) in http {
            let value = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
            let (rank, matched) = match &*path.path_type {
                "Exact" => (0, PathMatch::Exact(value.into())),
                // By whole segments: a slash at the end says nothing.
                _ => (1, PathMatch::Prefix(trimmed(value).into())),
            };
            of_host.push(Path {
                rank: (rank, Reverse(value.len()), index),
                matches: Match { path: Some(matched), ..Match::default() },
                ingress: index,
                name: name(format!("{rule_index}/{path_index}")),
                backend: path.backend.clone(),
            });
        }
    }
    let Some(backend) = &ingress.body.default_backend else { return };
    let mut own: Vec<_> = ingress.body.rules.iter().filter_map(|rule| rule.host.clone()).collect();
    own.push("*".to_owned());
    own.dedup();
    for (place, host) in own.into_iter().enumerate() {
        hosts.entry(host.to_ascii_lowercase()).or_default().push(Path {
            rank: (2, Reverse(0), index),
            matches: Match::default(),
            ingress: index,
            name: name(format!("default/{place}")),
            backend: backend.clone(),
        });
    }
}

/// A prefix of paths without slashes at its end.
pub(super) fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}
