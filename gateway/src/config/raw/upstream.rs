//! `upstreams:`.

use http::HeaderName;
use sallyport_balance::{MAGLEV_TABLE_SIZE, Policy};
use sallyport_config::{Fields, Node, Sink};
use sallyport_plugin::Reader;

use super::{admission, health, origins, outlier, scalar, sticky};
use crate::config::model::{
    CertificatePart, HashOn, HealthCheck, HintField, Probe, Upstream, UpstreamTimeouts,
};
use crate::config::origins::{Discovery, Endpoint, Protocol, Transport};
use crate::config::outlier::Resilience;

/// An upstream as written, as far as it could be read: the routes to one whose name could be read do not
/// count as wrong, whatever else is wrong with it.
#[derive(Debug)]
pub(in crate::config) struct RawUpstream {
    pub(in crate::config) name: Option<Box<str>>,
    pub(in crate::config) place: String,
    pub(in crate::config) policy: Policy,
    pub(in crate::config) hash_on: HashOn,
    /// `None` where one could not be read, so that the others keep their indices.
    pub(in crate::config) endpoints: Vec<Option<Endpoint>>,
    pub(in crate::config) discovery: Option<Discovery>,
    pub(in crate::config) transport: Transport,
    pub(in crate::config) timeouts: UpstreamTimeouts,
    pub(in crate::config) health_check: Option<HealthCheck>,
    pub(in crate::config) panic_below_percent: u8,
    pub(in crate::config) resilience: Resilience,
}

pub(super) fn upstream(
    node: Node<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<RawUpstream> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", scalar::name);
        let balancing = fields.optional(sink, "load_balancing", load_balancing);
        let discovery = fields
            .optional(sink, "discovery", |node, sink| origins::discovery(node, filters, sink));
        let endpoints = if fields.has("discovery") {
            fields.optional(sink, "endpoints", origins::endpoints)
        } else {
            fields.required(sink, "endpoints", origins::endpoints)
        };
        let transport = origins::transport(fields, filters, sink);
        let timeouts = fields.optional(sink, "timeouts", timeouts);
        let health_check = fields.optional(sink, "health_check", health::health_check);
        if let Some(HealthCheck { probe: Probe::Grpc { .. }, .. }) = &health_check
            && transport.protocol == Protocol::Http1
        {
            let what = "`health_check.grpc` needs HTTP/2, and the upstream is spoken to in HTTP/1";
            fields.node().refuse::<()>(sink, what, "add `protocol: http2`");
        }
        let outliers = fields.optional(sink, "outlier_detection", outlier::read);
        let outliers = outliers.unwrap_or_default();
        let slow_start = fields.optional(sink, "slow_start", scalar::duration);
        let (limits, queue) = admission::read(fields, sink);
        let sticky =
            fields.optional(sink, "sticky", |node, sink| sticky::of_upstream(node, filters, sink));
        let panic_below = outliers.panic_below;
        let decides = fields.has("health_check") || outliers.detection.is_some();
        if panic_below.is_some() && !decides {
            fields.node().refuse::<()>(
                sink,
                "`outlier_detection.panic_below` has no effect without `health_check`",
                "add a `health_check` or remove it",
            );
        }
        let (policy, hash_on) = balancing.unwrap_or((Policy::RoundRobin, HashOn::SourceIp));
        Some(RawUpstream {
            name,
            place,
            policy,
            hash_on,
            endpoints: endpoints.unwrap_or_default(),
            discovery,
            transport,
            timeouts: timeouts.unwrap_or_default(),
            health_check,
            panic_below_percent: panic_below.unwrap_or(Upstream::PANIC_BELOW_PERCENT),
            resilience: Resilience {
                outlier_detection: outliers.detection,
                slow_start,
                limits,
                queue,
                sticky,
            },
        })
    })
}

fn load_balancing(node: Node<'_>, sink: &mut Sink) -> Option<(Policy, HashOn)> {
    node.mapping(sink, |fields, sink| {
        let policy = fields.required(sink, "policy", policy);
        let hash_on = fields.optional(sink, "hash_on", hash_on);
        let table_size =
            fields.optional(sink, "table_size", |node, sink| node.number(sink, 2, 5_000_011));
        let policy = policy?;
        refuse_without_effect(fields, sink, policy)?;
        let policy = match (policy, table_size) {
            (Policy::Maglev { .. }, Some(size)) => Policy::Maglev { table_size: size as u32 },
            (policy, _) => policy,
        };
        Some((policy, hash_on.unwrap_or(HashOn::SourceIp)))
    })
}

/// A key that the chosen policy would not look at is a misunderstanding, not a setting.
fn refuse_without_effect(fields: &Fields<'_>, sink: &mut Sink, policy: Policy) -> Option<()> {
    let hashes = matches!(policy, Policy::Maglev { .. } | Policy::RingHash);
    let mut refuse = |what: &str, fix: &str| fields.node().refuse::<()>(sink, what, fix);
    let mut has_effect = true;
    if fields.has("hash_on") && !hashes {
        refuse("`hash_on` has no effect with this policy", "remove it or use maglev or ring_hash");
        has_effect = false;
    }
    if fields.has("table_size") && !matches!(policy, Policy::Maglev { .. }) {
        refuse("`table_size` has no effect with this policy", "remove it or use maglev");
        has_effect = false;
    }
    has_effect.then_some(())
}

fn policy(node: Node<'_>, sink: &mut Sink) -> Option<Policy> {
    node.parsed(sink, "write round_robin, least_request, random, maglev or ring_hash", |text| {
        Ok(match text {
            "round_robin" => Policy::RoundRobin,
            "least_request" => Policy::LeastRequest,
            "random" => Policy::Random,
            "ring_hash" => Policy::RingHash,
            "maglev" => Policy::Maglev { table_size: MAGLEV_TABLE_SIZE },
            _ => return Err("is no policy"),
        })
    })
}

fn hash_on(node: Node<'_>, sink: &mut Sink) -> Option<HashOn> {
    const FIX: &str = "write source_ip, path, {header: NAME}, {cookie: NAME}, {query: NAME}, {hint: NAME} or {client_certificate: PART}";
    if node.value.is_string() {
        return node.parsed(sink, FIX, |text| match text {
            "source_ip" => Ok(HashOn::SourceIp),
            "path" => Ok(HashOn::Path),
            _ => Err("is nothing to hash on"),
        });
    }
    node.mapping(sink, |fields, sink| {
        let header: Option<HeaderName> = fields.optional(sink, "header", scalar::header_name);
        let cookie = fields.optional(sink, "cookie", scalar::name);
        let query = fields.optional(sink, "query", scalar::name);
        let hint = fields.optional(sink, "hint", hashed_hint);
        let part = fields.optional(sink, "client_certificate", certificate_part);
        let keys = ["header", "cookie", "query", "hint", "client_certificate"];
        fields.exactly_one(sink, &keys)?;
        header
            .map(HashOn::Header)
            .or_else(|| cookie.map(HashOn::Cookie))
            .or_else(|| query.map(HashOn::Query))
            .or(hint)
            .or_else(|| part.map(HashOn::ClientCertificate))
    })
}

pub(super) fn certificate_part(node: Node<'_>, sink: &mut Sink) -> Option<CertificatePart> {
    node.parsed(sink, "write subject, serial or fingerprint", |text| match text {
        "subject" => Ok(CertificatePart::Subject),
        "serial" => Ok(CertificatePart::Serial),
        "fingerprint" => Ok(CertificatePart::Fingerprint),
        _ => Err("is no part of a certificate to hash on"),
    })
}

fn hashed_hint(node: Node<'_>, sink: &mut Sink) -> Option<HashOn> {
    match node.value.as_str() {
        Some("ja4") => Some(HashOn::Ja4),
        _ => hint(node, sink).map(HashOn::Hint),
    }
}

/// A hint that is the same for all connections of a client.
pub(super) fn hint(node: Node<'_>, sink: &mut Sink) -> Option<HintField> {
    match super::classifier::hint_field(node, sink)? {
        hint @ (HintField::Network | HintField::Zone | HintField::Protocol) => Some(hint),
        other => {
            let what = format!("{} changes from one connection to the next", other.key());
            node.refuse(sink, what, "write network, zone or protocol")
        }
    }
}

fn timeouts(node: Node<'_>, sink: &mut Sink) -> Option<UpstreamTimeouts> {
    node.mapping(sink, |fields, sink| {
        let default = UpstreamTimeouts::default();
        let first_byte = fields.optional(sink, "first_byte", scalar::duration);
        let mut time =
            |key, default| fields.optional(sink, key, scalar::duration).unwrap_or(default);
        Some(UpstreamTimeouts {
            connect: time("connect", default.connect),
            read: time("read", default.read),
            first_byte,
            write: time("write", default.write),
            idle: time("idle", default.idle),
            upgraded: time("upgraded", default.upgraded),
        })
    })
}
