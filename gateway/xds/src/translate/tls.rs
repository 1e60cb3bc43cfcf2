//! TLS contexts of listeners and clusters, and the secrets that they name.

use sallyport_config::Value;

use super::listener::config_source;
use super::{Scope, data};
use crate::fields::Fields;
use crate::output::{Map, entry, text};
use crate::resources::ResourceKind;

/// What a filter chain shows its clients, and asks of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Downstream {
    pub(super) certificates: Vec<Value>,
    pub(super) client_certificates: Option<Value>,
    pub(super) min_version: Option<Value>,
    pub(super) handshake_timeout: Option<Value>,
    /// What is offered by ALPN.
    pub(super) alpn: Vec<String>,
    pub(super) requires_sni: bool,
}

/// The part of a context that both sides have.
struct Common {
    certificates: Vec<Value>,
    validation: Option<Validation>,
    min_version: Option<Value>,
    alpn: Vec<String>,
}

/// What certificates of the other side must be.
#[derive(Default)]
struct Validation {
    ca: Option<String>,
    crl: Option<String>,
    uses_system: bool,
    accepts_any: bool,
    /// The one name that certificates must be for.
    name: Option<String>,
}

/// Reads a `TransportSocket` of a filter chain; `None` within where it is clear text.
pub(super) fn downstream(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Option<Downstream>> {
    fields.text("name");
    let context = fields.any("typed_config")?;
    match context.type_name().rsplit('.').next() {
        Some("RawBuffer") => Some(None),
        Some("DownstreamTlsContext") => downstream_context(scope, &context).map(Some),
        _ => context.reject("is neither TLS nor clear text"),
    }
}

fn downstream_context(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Downstream> {
    let tickets = "keys of tickets are made here, and replaced by themselves";
    fields.ignore_all(
        &[
            "session_ticket_keys",
            "session_ticket_keys_sds_secret_config",
            "session_timeout",
            "disable_stateless_session_resumption",
            "disable_stateful_session_resumption",
        ],
        tickets,
    );
    fields.ignore("ocsp_staple_policy", "a certificate is shown with its staple if it has one");
    fields
        .ignore("full_scan_certs_on_sni_mismatch", "the first certificate is for all other names");
    fields.ignore("prefer_client_ciphers", "every suite that is spoken is a strong one");
    let requires_sni = fields.flag("require_sni").unwrap_or(false);
    let is_required = fields.flag("require_client_certificate").unwrap_or(false);
    let common = common(scope, &fields.message("common_tls_context")?)?;
    if common.certificates.is_empty() {
        return fields.reject("shows no certificate, write tls_certificates");
    }
    let client_certificates = match common.validation {
        Some(Validation { ca: Some(ca), crl, name, .. }) => {
            if name.is_some() {
                return fields.reject(
                    "asks for names in clients' certificates, write a match of \
                     `client_certificate` on routes in a file",
                );
            }
            let mode = if is_required { "required" } else { "optional" };
            let out = Map::new().with("ca", text(ca)).with_some("crl", crl.map(text));
            Some(out.with("mode", text(mode)).done())
        }
        _ if is_required => {
            return fields
                .reject("requires certificates that nobody vouches for, write trusted_ca");
        }
        _ => None,
    };
    Some(Downstream {
        certificates: common.certificates,
        client_certificates,
        min_version: common.min_version,
        handshake_timeout: None,
        alpn: common.alpn,
        requires_sni,
    })
}

/// How a cluster is spoken to.
#[derive(Default)]
pub(super) struct Upstream {
    /// `tls` of an upstream.
    pub(super) tls: Option<Value>,
    pub(super) proxy_protocol: Option<&'static str>,
    /// Whether HTTP/2 is offered by ALPN.
    pub(super) offers_http2: bool,
}

/// Reads a `TransportSocket` of a cluster.
pub(super) fn upstream(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Upstream> {
    fields.text("name");
    let context = fields.any("typed_config")?;
    match context.type_name().rsplit('.').next() {
        Some("RawBuffer") => Some(Upstream::default()),
        Some("UpstreamTlsContext") => upstream_context(scope, &context),
        Some("ProxyProtocolUpstreamTransport") => {
            let version = context.message("config").and_then(|config| config.choice("version"));
            let inner = upstream(scope, &context.message("transport_socket")?)?;
            let version = if version.as_deref() == Some("V2") { "v2" } else { "v1" };
            Some(Upstream { proxy_protocol: Some(version), ..inner })
        }
        _ => context.reject("is neither TLS nor clear text"),
    }
}

fn upstream_context(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Upstream> {
    fields.ignore("allow_renegotiation", "TLS is not renegotiated");
    fields.ignore("max_session_keys", "sessions are resumed as origins allow");
    fields.ignore("enforce_rsa_key_usage", "certificates are checked by RFC 5280");
    fields.ignore_all(
        &["auto_host_sni", "auto_sni_san_validation"],
        "the endpoint's own name is asked for and checked, unless there is `sni`",
    );
    let sni = fields.text("sni");
    let common = common(scope, &fields.message("common_tls_context")?)?;
    let mut out = Map::new();
    let validation = common.validation.unwrap_or_default();
    let name = match (&sni, &validation.name) {
        (Some(sni), Some(name)) if sni != name => {
            return fields.reject(format!(
                "asks for {sni:?} and takes certificates for {name:?}; one name is asked for and \
                 checked"
            ));
        }
        _ => validation.name.or(sni),
    };
    out.put_some("server_name", name.map(text));
    match (&validation.ca, validation.accepts_any) {
        (_, true) => out.put("insecure", entry("verify", Value::Bool(false))),
        (Some(ca), false) => out.put("ca", text(&**ca)),
        (None, false) if validation.uses_system => {}
        (None, false) => fields.remark(
            crate::Outcome::Ignored,
            "has no trusted_ca, so that Envoy would verify nothing; here certificates are verified \
             with the system's authorities",
        ),
    }
    if let Some(Value::Mapping(pair)) = common.certificates.into_iter().next() {
        let part = |key: &str| pair.get(key).cloned();
        let shown = Map::new().with_some("cert", part("cert")).with_some("key", part("key"));
        out.put("client_certificate", shown.done());
    }
    let offers_http2 = common.alpn.iter().any(|name| name == "h2");
    Some(Upstream { tls: Some(out.done()), proxy_protocol: None, offers_http2 })
}

fn common(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Common> {
    fields.refuse("custom_handshaker", "handshakes are rustls'");
    fields.refuse("custom_tls_certificate_selector", "certificates are chosen by SNI");
    fields.refuse("key_log", "secrets of connections are never written");
    for name in [
        "tls_certificate_provider_instance",
        "tls_certificate_certificate_provider",
        "tls_certificate_certificate_provider_instance",
        "validation_context_certificate_provider",
        "validation_context_certificate_provider_instance",
    ] {
        fields.refuse(name, "certificates are files or secrets");
    }
    let min_version = fields.message("tls_params").and_then(|params| min_version(&params));
    let mut certificates = Vec::new();
    let mut is_good = true;
    for one in fields.messages("tls_certificates") {
        match certificate(scope, &one) {
            Some(one) => certificates.push(one),
            None => is_good = false,
        }
    }
    for secret in fields.messages("tls_certificate_sds_secret_configs") {
        let one =
            named(scope, &secret).and_then(|secret| match secret.message("tls_certificate") {
                Some(one) => certificate(scope, &one),
                None => secret.reject("holds no tls_certificate"),
            });
        match one {
            Some(one) => certificates.push(one),
            None => is_good = false,
        }
    }
    let validation = validation(scope, fields);
    let alpn = fields.texts("alpn_protocols");
    let validation = validation?;
    is_good.then_some(Common { certificates, validation, min_version, alpn })
}

/// The secret that is named.
fn named<'s>(scope: &'s Scope<'_>, fields: &Fields<'_>) -> Option<Fields<'s>> {
    config_source(fields, "sds_config");
    let name = fields.text("name").unwrap_or_default();
    match scope.find(ResourceKind::Secret, &name) {
        Some(secret) => {
            secret.text("name");
            Some(secret)
        }
        None => fields.miss(ResourceKind::Secret, &name),
    }
}

/// The oldest version; those that are not spoken any more are as good as the oldest that is.
fn min_version(fields: &Fields<'_>) -> Option<Value> {
    let strong = "rustls speaks strong suites and groups only";
    fields.ignore_all(
        &["cipher_suites", "ecdh_curves", "signature_algorithms", "compliance_policies"],
        strong,
    );
    match fields.choice("tls_maximum_protocol_version").as_deref() {
        None | Some("TLSv1_3") => {}
        Some(other) => fields.remark(
            crate::Outcome::Refused,
            format!("tls_maximum_protocol_version is {other}; 1.3 is always spoken"),
        ),
    }
    match fields.choice("tls_minimum_protocol_version").as_deref() {
        None | Some("TLSv1_2") => None,
        Some("TLSv1_3") => Some(text("1.3")),
        Some(_) => {
            fields.remark(crate::Outcome::Ignored, "versions below 1.2 are not spoken");
            None
        }
    }
}

/// A `TlsCertificate` as an entry of `certificates`.
fn certificate(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Value> {
    fields
        .ignore("watched_directory", "every file is watched, and the folders that it is found by");
    for name in ["pkcs12", "private_key_provider", "password"] {
        fields.refuse(name, "keys are files in PEM, without a password");
    }
    fields.ignore("signed_certificate_timestamp", "timestamps come within certificates");
    fields.ignore("tls_params", "rustls speaks strong suites and groups only");
    let chain = data::file(scope, fields, "certificate_chain");
    let key = data::file(scope, fields, "private_key");
    let staple = data::file(scope, fields, "ocsp_staple");
    let out = Map::new().with("cert", text(chain?)).with("key", text(key?));
    Some(out.with_some("ocsp", staple.map(text)).done())
}

/// What certificates of the other side must be. `None` outside if that cannot be said, within if
/// nothing is asked.
fn validation(scope: &Scope<'_>, fields: &Fields<'_>) -> Option<Option<Validation>> {
    if let Some(context) = fields.message("validation_context") {
        return validation_context(scope, &context, Validation::default()).map(Some);
    }
    if let Some(secret) = fields.message("validation_context_sds_secret_config") {
        return of_secret(scope, &secret, Validation::default()).map(Some);
    }
    if let Some(combined) = fields.message("combined_validation_context") {
        for name in [
            "validation_context_certificate_provider",
            "validation_context_certificate_provider_instance",
        ] {
            combined.refuse(name, "certificates are files or secrets");
        }
        let default = combined.message("default_validation_context");
        let default = match default {
            Some(default) => validation_context(scope, &default, Validation::default())?,
            None => Validation::default(),
        };
        return match combined.message("validation_context_sds_secret_config") {
            Some(secret) => of_secret(scope, &secret, default).map(Some),
            None => Some(Some(default)),
        };
    }
    Some(None)
}

fn of_secret(scope: &Scope<'_>, fields: &Fields<'_>, known: Validation) -> Option<Validation> {
    let secret = named(scope, fields)?;
    match secret.message("validation_context") {
        Some(context) => validation_context(scope, &context, known),
        None => secret.reject("holds no validation_context"),
    }
}

fn validation_context(
    scope: &Scope<'_>,
    fields: &Fields<'_>,
    mut known: Validation,
) -> Option<Validation> {
    fields
        .ignore("watched_directory", "every file is watched, and the folders that it is found by");
    fields.ignore("max_verify_depth", "chains are as long as rustls takes them");
    fields.ignore("only_verify_leaf_cert_crl", "revocation is looked up for all of a chain");
    fields.ignore("suppress_client_ca_list", "clients are told whom the listener trusts");
    fields.ignore("require_signed_certificate_timestamp", "timestamps are not looked at");
    for name in ["verify_certificate_spki", "verify_certificate_hash"] {
        fields.refuse(name, "certificates are verified by their authority");
    }
    fields.refuse("custom_validator_config", "certificates are verified by rustls");
    fields.refuse("ca_certificate_provider_instance", "certificates are files or secrets");
    fields.refuse("allow_expired_certificate", "what has expired is refused");
    fields.refuse("match_subject_alt_names", "is deprecated, write match_typed_subject_alt_names");
    let trust = fields.choice("trust_chain_verification");
    known.accepts_any |= trust.as_deref() == Some("ACCEPT_UNTRUSTED");
    if fields.message("system_root_certs").is_some() {
        known.uses_system = true;
    }
    let has_ca = fields.has("trusted_ca");
    let ca = data::file(scope, fields, "trusted_ca");
    let crl = data::file(scope, fields, "crl");
    let names = fields.messages("match_typed_subject_alt_names");
    for name in &names {
        let kind = name.choice("san_type");
        name.refuse("oid", "names are of DNS or addresses");
        let matcher = name.message("matcher");
        let exact = matcher.and_then(|matcher| matcher.text("exact"));
        match (kind.as_deref(), exact) {
            (Some("DNS" | "IP_ADDRESS"), Some(exact)) if names.len() == 1 => {
                known.name = Some(exact)
            }
            _ => return name.reject("is not one name or address, by itself and exact"),
        }
    }
    if has_ca && ca.is_none() {
        return None;
    }
    known.ca = ca.or(known.ca);
    known.crl = crl.or(known.crl);
    Some(known)
}
