//! Reading `jwt:`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::uri::PathAndQuery;
use http::{HeaderName, Uri, header};
use jsonwebtoken::Algorithm;
use sallyport_config::{Fields, Node, Sink, scalar};
use tokio::sync::Notify;

use super::fetch::{EARLIEST_AGAIN, Place, Remote};
use super::keys::{ALGORITHMS, Keys};
use super::rules::{ClaimPath, ClaimRule, ClaimRules};
use super::source::Source;
use super::token::{Checks, Rules};
use super::{Jwt, provider};
use crate::field_name;
use crate::filter::Filter;
use crate::kind::Setting;

/// Clocks that are set by the network differ by less than a second.
const LEEWAY: Duration = Duration::from_secs(30);

/// Beyond this `leeway` makes expired tokens good instead of forgiving clocks.
const LEEWAY_MAX: Duration = Duration::from_secs(600);

/// Rules of one filter: each looks through every claim's list.
const RULES_MAX: usize = 64;

const REFRESH: Duration = Duration::from_secs(300);

pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    provider::install();
    node.mapping(sink, |fields, sink| {
        let keys = fields.required(sink, "jwks", |node, sink| jwks(node, sink, setting));
        let rules = rules(fields, sink);
        let source = source(fields, sink);
        let forward = fields.optional(sink, "forward", scalar::flag);
        let claims_to_headers = fields.optional(sink, "claims_to_headers", claims_to_headers);
        let label = fields.optional(sink, "label", label);
        let claim_rules = fields.optional(sink, "claims", claim_rules);
        if fields.has("claims") && claim_rules.is_none() {
            return None;
        }
        let (keys, remote) = keys?.split();
        Some(Arc::new(Jwt {
            keys: ArcSwapOption::from(keys),
            remote,
            refetch: Arc::new(Notify::new()),
            source: source?,
            checks: Checks::new(rules?),
            claim_rules: claim_rules.unwrap_or_default(),
            forward: forward.unwrap_or(true),
            claims_to_headers: claims_to_headers.unwrap_or_default(),
            label,
        }) as Arc<dyn Filter>)
    })
}

enum KeysFrom {
    File(Keys),
    Remote(Remote),
}

impl KeysFrom {
    fn split(self) -> (Option<Arc<Keys>>, Option<Arc<Remote>>) {
        match self {
            Self::File(keys) => (Some(Arc::new(keys)), None),
            Self::Remote(remote) => (None, Some(Arc::new(remote))),
        }
    }
}

fn jwks(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<KeysFrom> {
    node.mapping(sink, |fields, sink| {
        fields.exactly_one(sink, &["file", "url", "upstream"])?;
        if fields.has("file") {
            return fields.optional(sink, "file", |node, sink| file(node, sink, setting));
        }
        let refresh = fields.optional(sink, "refresh", refresh);
        let place = match fields.optional(sink, "url", url) {
            Some(url) => Some(Place::Url(url)),
            None if fields.has("url") => None,
            None => upstream(fields, sink, setting),
        };
        let help = "Fetches of the keys that tokens are checked with, by result.";
        let metrics = &setting.host.metrics;
        Some(KeysFrom::Remote(Remote {
            place: place?,
            refresh: refresh.unwrap_or(REFRESH),
            filter: setting.name.into(),
            fetches: metrics.counters("sallyport_jwks_fetches_total", help, &["filter", "result"]),
        }))
    })
}

fn file(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<KeysFrom> {
    let (path, text) = setting.file(node, sink)?;
    match Keys::parse(&text) {
        Ok(keys) => Some(KeysFrom::File(keys)),
        Err(error) => {
            let fix = "write a JWKS with RSA keys of 2048 bits or more, P-256, P-384 or Ed25519";
            node.refuse(sink, format!("{}: {error}", path.display()), fix)
        }
    }
}

fn refresh(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let refresh = scalar::duration(node, sink)?;
    if refresh < EARLIEST_AGAIN {
        return node.refuse(sink, "is too often", "write 10s or more");
    }
    Some(refresh)
}

fn url(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    let text = node.text(sink)?;
    let uri: Option<Uri> = text.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    match (scheme, host) {
        (Some("https"), Some(_)) => Some(text.to_owned()),
        (Some("http"), Some(host)) if is_here(host) => Some(text.to_owned()),
        (Some("http"), Some(_)) => {
            let fix = "use https: whoever can change the answer can sign tokens";
            node.refuse(sink, format!("{text:?} is not protected"), fix)
        }
        _ => node.refuse(sink, format!("{text:?} is no URL"), "write https://HOST/PATH"),
    }
}

fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
}

fn upstream(fields: &mut Fields<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Place> {
    let upstream = fields.required(sink, "upstream", |node, sink| setting.upstream(node, sink));
    let path = fields.required(sink, "path", path);
    let host = fields.required(sink, "host", |node, sink| node.name(sink));
    Some(Place::Upstream { upstream: upstream?, path: path?, host: host?.into() })
}

fn path(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    let text = node.text(sink)?;
    if !text.starts_with('/') || PathAndQuery::try_from(text).is_err() {
        return node.refuse(sink, format!("{text:?} is no path"), "begin it with /");
    }
    Some(text.to_owned())
}

fn rules(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Rules> {
    let issuer = fields.optional(sink, "issuer", scalar::name);
    let audience = fields.optional(sink, "audience", some_names);
    let algorithms = match fields.has("algorithms") {
        true => fields.optional(sink, "algorithms", algorithms),
        false => Some(ALGORITHMS.to_vec()),
    };
    let leeway = fields.optional(sink, "leeway", leeway).unwrap_or(LEEWAY);
    let required =
        fields.optional(sink, "required_claims", |node, sink| node.list(sink, scalar::name));
    Some(Rules {
        issuer,
        audience: audience.unwrap_or_default(),
        algorithms: algorithms?,
        leeway_seconds: leeway.as_secs(),
        required: required.unwrap_or_else(|| vec!["exp".into()]),
    })
}

fn some_names(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Box<str>>> {
    let names = node.list(sink, scalar::name)?;
    if names.is_empty() {
        return node.refuse(sink, "is empty", "name at least one, or leave the key out");
    }
    Some(names)
}

fn leeway(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let leeway = scalar::duration(node, sink)?;
    if leeway > LEEWAY_MAX {
        return node.refuse(sink, "is too long", "write 10m or less");
    }
    Some(leeway)
}

fn algorithms(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Algorithm>> {
    let algorithms = node.list(sink, algorithm)?;
    if algorithms.is_empty() {
        return node.refuse(sink, "is empty", "name at least one, or leave the key out");
    }
    Some(algorithms)
}

fn algorithm(node: Node<'_>, sink: &mut Sink) -> Option<Algorithm> {
    let text = node.text(sink)?;
    let known = text.parse().ok().filter(|algorithm| ALGORITHMS.contains(algorithm));
    known.or_else(|| {
        let fix = "write RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA";
        node.refuse(sink, format!("{text:?} is not an algorithm to trust here"), fix)
    })
}

fn source(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<Source> {
    if fields.has("header") && fields.has("cookie") {
        fields.exactly_one(sink, &["header", "cookie"])?;
    }
    let cookie = fields.optional(sink, "cookie", cookie);
    let name = fields.optional(sink, "header", header_name);
    if fields.has("cookie") {
        return cookie.map(Source::Cookie);
    }
    if fields.has("header") {
        return name.map(Source::Header);
    }
    Some(Source::Header(header::AUTHORIZATION))
}

/// RFC 6265, 4.1.1: a cookie's name is a token.
fn cookie(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let name = node.name(sink)?;
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return node.refuse(
            sink,
            format!("{name:?} is no cookie name"),
            "use letters, digits and -",
        );
    }
    Some(name)
}

fn header_name(node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    field_name::readable(node.text(sink)?, node, sink)
}

fn claims_to_headers(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(HeaderName, ClaimPath)>> {
    node.entries(sink, |name, node, sink| {
        let name = field_name::identity(name, node, sink);
        let claim = node.name(sink);
        Some((name?, claim?.into()))
    })
}

fn label(node: Node<'_>, sink: &mut Sink) -> Option<ClaimPath> {
    node.mapping(sink, |fields, sink| fields.required(sink, "claim", scalar::name)).map(Into::into)
}

fn claim_rules(node: Node<'_>, sink: &mut Sink) -> Option<ClaimRules> {
    node.mapping(sink, |fields, sink| {
        let all = fields.optional(sink, "all", |node, sink| node.list(sink, claim_rule));
        let any = fields.optional(sink, "any", |node, sink| node.list(sink, claim_rule));
        let (all, any) = (all.unwrap_or_default(), any.unwrap_or_default());
        if !fields.has("all") && !fields.has("any") || all.len() + any.len() == 0 {
            let fix = "write `all: [{ claim: role, values: [admin] }]`, or leave the key out";
            return node.refuse(sink, "demands nothing", fix);
        }
        if all.len() + any.len() > RULES_MAX {
            let fix = format!("write at most {RULES_MAX}");
            return node.refuse(sink, "has too many rules", fix);
        }
        Some(ClaimRules { all, any })
    })
}

fn claim_rule(node: Node<'_>, sink: &mut Sink) -> Option<ClaimRule> {
    node.mapping(sink, |fields, sink| {
        let claim = fields.required(sink, "claim", scalar::name);
        let values = fields.optional(sink, "values", some_names);
        Some(ClaimRule { claim: claim?.into(), values: values.unwrap_or_default() })
    })
}
