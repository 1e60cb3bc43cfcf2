//! `passthrough` of a listener's `tls`: what goes to an upstream without being terminated.

use std::collections::HashMap;

use sallyport_config::{Place, spec};
use sallyport_plugin::Entry as Filter;
use sallyport_tls::NamePattern;

use super::Resolver;
use super::action::targets;
use crate::config::model::{Target, Upstream};
use crate::config::origins::Protocol;
use crate::config::tls::Passthrough;

/// Names of one listener: each is an entry of a table.
const NAMES_MAX: usize = 100_000;

/// The kind of the one filter that connections meet which are not terminated.
const ACCESS_LOG: &str = "access_log";

impl Resolver<'_, '_, '_> {
    pub(super) fn passthrough(
        &mut self,
        specs: Option<&[spec::Passthrough]>,
        tls: &Place<'_>,
        upstreams: &[Upstream],
    ) -> Vec<Passthrough> {
        let list = Place::Key(tls, "passthrough");
        let Some(specs) = specs else { return Vec::new() };
        if specs.is_empty() {
            let fix = "write [{ sni: [db.example.com], upstream: db }], or remove it";
            list.refuse::<()>(self.problems, "is empty", fix);
        }
        let names: usize = specs.iter().map(|spec| spec.sni.len()).sum();
        if names > NAMES_MAX {
            let fix = format!("use at most {NAMES_MAX} for one listener");
            list.refuse::<()>(self.problems, format!("has {names} names"), fix);
        }
        let mut seen = HashMap::new();
        let entry = |(index, spec): (usize, &spec::Passthrough)| {
            let place = Place::Item(&list, index);
            let names = self.names(spec, (&list, index), &mut seen);
            let targets = self.passed_to(spec, &place, upstreams);
            Passthrough { names, targets }
        };
        specs.iter().enumerate().map(entry).collect()
    }

    /// The names of one entry, each of which is the listener's only one.
    fn names(
        &mut self,
        spec: &spec::Passthrough,
        (list, index): (&Place<'_>, usize),
        seen: &mut HashMap<NamePattern, (usize, usize)>,
    ) -> Vec<NamePattern> {
        let entry = Place::Item(list, index);
        let place = Place::Key(&entry, "sni");
        if spec.sni.is_empty() {
            place.refuse::<()>(self.problems, "is empty", "write a name, such as [db.example.com]");
        }
        let mut names = Vec::with_capacity(spec.sni.len());
        for (at, text) in spec.sni.iter().enumerate() {
            let Some(name) = NamePattern::parse(text) else {
                let what = format!("{:?} is no name that a client could ask for", &**text);
                let fix = "write a name, such as db.example.com, *.example.com or \"*\"";
                Place::Item(&place, at).refuse::<()>(self.problems, what, fix);
                continue;
            };
            let told = |(index, at)| (list.file(), format!("{list}[{index}].sni[{at}]"));
            let what = || format!("duplicate name {name}");
            self.refuse_repeated(seen, name.clone(), (index, at), told, what);
            names.push(name);
        }
        names
    }

    /// The upstreams of one entry. What is passed on is encrypted already, and says by itself which
    /// version of HTTP it is, if any.
    fn passed_to(
        &mut self,
        spec: &spec::Passthrough,
        place: &Place<'_>,
        upstreams: &[Upstream],
    ) -> Vec<Target> {
        let is_whole = !self.is_replaced(place);
        let both = (spec.upstream.as_ref(), spec.split.as_deref());
        let named = targets(both, place, is_whole, self.problems);
        let mut passed_to = Vec::with_capacity(named.len());
        for target in &named {
            let Some(found) = self.target(target, place) else { continue };
            let transport = &upstreams[found.upstream].transport;
            let key = match (&transport.tls, transport.protocol) {
                (Some(_), _) => Some("tls"),
                (None, Protocol::Http1) => None,
                (None, _) => Some("protocol"),
            };
            if let Some(key) = key {
                let at = target.place(place);
                let name = target.upstream;
                let what =
                    format!("upstream {name:?} has `{key}`, and what is passed on is TLS already");
                let fix = format!("name an upstream of the same endpoints without `{key}`");
                self.refuse(place.file(), at, what, fix);
            }
            passed_to.push(found);
        }
        passed_to
    }

    /// Refuses what has an effect only on connections that are terminated, on a listener that
    /// terminates none.
    pub(super) fn refuse_unterminated(
        &mut self,
        spec: &spec::Listener,
        place: &Place<'_>,
        filters: &[Filter],
    ) {
        let Some(tls) = &spec.tls else { return };
        let at_tls = Place::Key(place, "tls");
        let is_other = |entry: &Filter| match entry {
            Filter::Use(instance) => instance.kind != ACCESS_LOG,
            Filter::Off(_) => false,
        };
        let of_listener = [
            ("virtual_hosts", spec.virtual_hosts.is_some()),
            ("protocols", spec.protocols.is_some()),
            ("http2", spec.http2.is_some()),
            ("timeouts", spec.timeouts != spec::ListenerTimeouts::default()),
            ("filters", filters.iter().any(is_other)),
        ];
        let of_tls = [
            ("default", tls.default != spec::TlsDefault::default()),
            ("min_version", tls.min_version != spec::TlsVersion::default()),
            ("client_certificates", tls.client_certificates.is_some()),
            ("forward_client_certificate", tls.forward_client_certificate),
        ];
        let all = of_listener.map(|it| (place, it)).into_iter();
        for (around, (key, is_written)) in all.chain(of_tls.map(|it| (&at_tls, it))) {
            if is_written {
                let what = "has no effect: without `certificates` no connection is terminated";
                let fix = "add `certificates` to `tls`, or remove it";
                Place::Key(around, key).refuse::<()>(self.problems, what, fix);
            }
        }
    }
}
