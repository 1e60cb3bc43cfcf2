//! What one file says: names not yet looked up, defaults not yet filled in.
//!
//! Scalars are parsed here, where their place is at hand; whatever needs a second file or a second
//! entry to be judged is left to [`resolve`](super::resolve). `raw/` has a file for each part.

mod admin;
mod admission;
mod classifier;
mod health;
mod listener;
mod origin_tls;
mod origins;
mod outlier;
mod process;
mod proxy_protocol;
mod push;
mod redirect;
mod retry;
mod route;
mod scalar;
mod sticky;
mod upstream;
mod verdicts;

use std::sync::Arc;

use sallyport_config::{Fields, Found, Node, Place, Severity, Sink, Value};
use sallyport_plugin::Reader;
use sallyport_tls::AcmeAccount;

use super::acme;
use super::admin::Admin;
use super::error_pages::{self, ErrorPages};
use super::limits::{HeaderNames, Limits};
use super::model::{Classifier, Push, Verdicts};
use super::origins::{Endpoint, Resolver};
use super::process::{EngineChoice, LogSettings, Shutdown};

pub(super) use classifier::{known_protocol, known_screen};
pub(super) use listener::RawListener;
pub(super) use route::{RawAction, RawForward, RawRoute, RawTarget, RawVirtualHost};
pub(super) use upstream::RawUpstream;

/// One file.
#[derive(Debug)]
pub(super) struct RawFile {
    pub(super) file: usize,
    pub(super) listeners: Vec<RawListener>,
    pub(super) admin: Option<Admin>,
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    pub(super) engine: EngineChoice,
    pub(super) log: LogSettings,
    pub(super) acme: Vec<Arc<AcmeAccount>>,
    pub(super) classifier: Option<Classifier>,
    pub(super) verdicts: Option<Verdicts>,
    pub(super) push: Option<Push>,
    pub(super) error_pages: ErrorPages,
    pub(super) resolver: Option<Resolver>,
    pub(super) upstreams: Vec<RawUpstream>,
    pub(super) virtual_hosts: Vec<RawVirtualHost>,
}

/// The list of endpoints that a file of its own holds, if all of it could be read.
pub(super) fn discovered_endpoints(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Endpoint>> {
    origins::discovered(node, sink)
}

/// Decodes the text of the file with index `file`; 0 is the main file.
pub(super) fn decode(
    file: usize,
    text: &str,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<RawFile> {
    let value = sallyport_config::parse(file, text, sink)?;
    let node = Node { value: &value, place: Place::File(file) };
    if file > 0 && value == Value::Null {
        // A file that is being written, or that was emptied to take what is in it away.
        let (severity, fix) = (Severity::Note, "remove it if it stays so".to_owned());
        let (place, what) = (String::new(), "is empty: nothing is taken from it".to_owned());
        sink.push(Found { severity, file, place, line: None, what, fix });
        return None;
    }
    node.mapping(sink, |fields, sink| Some(sections(file, fields, filters, sink)))
}

fn sections(
    file: usize,
    fields: &mut Fields<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> RawFile {
    let mut raw = RawFile {
        file,
        listeners: Vec::new(),
        admin: None,
        limits: Limits::default(),
        shutdown: Shutdown::default(),
        engine: EngineChoice::default(),
        log: LogSettings::default(),
        acme: Vec::new(),
        classifier: None,
        verdicts: None,
        push: None,
        error_pages: ErrorPages::default(),
        resolver: None,
        upstreams: Vec::new(),
        virtual_hosts: Vec::new(),
    };
    // Included files hold what there is many of; what there is one of stays in one place.
    if file == 0 {
        fields.optional(sink, "include", |node, sink| node.list(sink, scalar::name));
        let accounts = fields.optional(sink, "acme", |node, sink| acme::read(node, filters, sink));
        raw.acme = accounts.unwrap_or_default();
        let accounts = &raw.acme;
        raw.listeners = fields
            .required(sink, "listeners", |node, sink| {
                node.list(sink, |node, sink| listener::listener(node, filters, accounts, sink))
            })
            .unwrap_or_default();
        raw.admin = fields.optional(sink, "admin", |node, sink| admin::admin(node, filters, sink));
        raw.limits = fields.optional(sink, "limits", limits).unwrap_or_default();
        raw.shutdown = fields.optional(sink, "shutdown", process::shutdown).unwrap_or_default();
        raw.engine = fields.optional(sink, "insecure", process::insecure).unwrap_or_default();
        raw.log = fields.optional(sink, "log", process::log).unwrap_or_default();
        let access_log = fields
            .optional(sink, "access_log", |node, sink| process::access_log(node, filters, sink));
        if let Some(access_log) = access_log {
            process::give_to_all(&access_log, &mut raw.listeners);
        }
        raw.classifier = fields.optional(sink, "classifier", classifier::classifier);
        raw.verdicts = fields.optional(sink, "verdicts", verdicts::verdicts);
        raw.push = fields.optional(sink, "push", push::push);
        raw.resolver = fields.optional(sink, "resolver", origins::resolver);
        let pages = fields
            .optional(sink, "error_pages", |node, sink| error_pages::read(node, filters, sink));
        raw.error_pages = pages.unwrap_or_default();
    }
    raw.upstreams = fields
        .optional(sink, "upstreams", |node, sink| {
            node.list(sink, |node, sink| upstream::upstream(node, filters, sink))
        })
        .unwrap_or_default();
    raw.virtual_hosts = fields
        .optional(sink, "virtual_hosts", |node, sink| {
            node.list(sink, |node, sink| route::virtual_host(node, filters, sink))
        })
        .unwrap_or_default();
    raw
}

fn limits(node: Node<'_>, sink: &mut Sink) -> Option<Limits> {
    node.mapping(sink, |fields, sink| {
        let mut limits = Limits::default();
        let mut count = |key, limit: &mut u64, most| {
            if let Some(number) =
                fields.optional(sink, key, |node, sink| node.number(sink, 1, most))
            {
                *limit = number;
            }
        };
        count("virtual_hosts", &mut limits.virtual_hosts, 10_000_000);
        count("domains", &mut limits.domains, 10_000_000);
        count("routes", &mut limits.routes, 10_000_000);
        count("upstreams", &mut limits.upstreams, 1_000_000);
        count("endpoints", &mut limits.endpoints, 65_535);
        count("hash_table_slots", &mut limits.hash_table_slots, 1 << 36);
        // Pingora's own parser refuses a request with more than 256 fields, or a head over 1 MiB.
        count("request_headers", &mut limits.request_headers, 256);
        count("upstream_idle_connections", &mut limits.upstream_idle_connections, 1_000_000);
        let idle_series = fields
            .optional(sink, "idle_route_series", |node, sink| node.number(sink, 0, 1_000_000));
        limits.idle_route_series = idle_series.unwrap_or(limits.idle_route_series);
        let header_bytes = fields.optional(sink, "request_header_bytes", |node, sink| {
            scalar::bytes(node, sink, 256, 1 << 20)
        });
        limits.request_header_bytes = header_bytes.unwrap_or(limits.request_header_bytes);
        let names = fields.optional(sink, "header_names", header_names);
        limits.header_names = names.unwrap_or(limits.header_names);
        let body_bytes = fields.optional(sink, "request_body_bytes", scalar::bytes_or_unlimited);
        limits.request_body_bytes = body_bytes.unwrap_or(limits.request_body_bytes);
        let min_rate = fields.optional(sink, "request_body_min_rate", scalar::rate_or_off);
        limits.request_body_min_rate = min_rate.unwrap_or(limits.request_body_min_rate);
        let unread_bytes = fields.optional(sink, "client_unread_bytes", |node, sink| {
            let bytes = scalar::bytes_or_unlimited(node, sink)?;
            if bytes < 64 << 10 {
                let fix = "write a size such as 256KiB, or unlimited";
                return node.refuse(sink, "is less than 64KiB", fix);
            }
            Some(bytes)
        });
        limits.client_unread_bytes = unread_bytes.unwrap_or(limits.client_unread_bytes);
        Some(limits)
    })
}

fn header_names(node: Node<'_>, sink: &mut Sink) -> Option<HeaderNames> {
    node.parsed(sink, "write strict or any", |text| match text {
        "strict" => Ok(HeaderNames::Strict),
        "any" => Ok(HeaderNames::Any),
        _ => Err("is no rule for names"),
    })
}
