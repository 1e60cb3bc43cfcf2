//! `tls:` of a listener, and `client_certificates`.
//!
//! Certificates, keys and lists are read here, so that what is wrong with a file is a problem of the
//! key that names it, and is found before anything is put in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sallyport_config::spec;
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;
use sallyport_tls::{
    AcmeAccount, ClientAuth, ClientMode, ClientPart, DnsPattern, MinVersion, Pair, PairError,
    PairPart, utc,
};

use super::{Places, Resolver};
use crate::config::model::{Listener, VirtualHost};
use crate::config::tls::{Certificate, Tls};

/// How long before its end a certificate is told of as a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Certificates of one listener: each name is a hash-table entry, each pair some KiB.
const CERTIFICATES_MAX: usize = 100_000;

impl Resolver<'_, '_, '_> {
    /// Refuses rules for client certificates that no handshake would meet.
    pub(super) fn refuse_unasked_certificates(
        &mut self,
        listeners: &[Listener],
        hosts: &[VirtualHost],
        places: &Places,
    ) {
        let serves = |listener: &Listener, host: usize| {
            listener.virtual_hosts.as_ref().is_none_or(|served| served.contains(&host))
        };
        for (index, host) in hosts.iter().enumerate().filter(|(_, host)| host.clients.is_some()) {
            let mut with_tls = listeners.iter().filter(|listener| listener.tls.is_some());
            if !with_tls.any(|listener| serves(listener, index)) {
                let spot = places.virtual_hosts[index];
                let what = "has no effect: no listener with `tls` serves this virtual host";
                let fix =
                    format!("add `tls` to a listener that serves {:?}, or remove it", host.name);
                self.refuse(spot.file, format!("{spot}.client_certificates"), what.into(), fix);
            }
        }
        for (at, listener) in listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let asks = tls.clients.is_some()
                || (0..hosts.len())
                    .any(|host| hosts[host].clients.is_some() && serves(listener, host));
            if tls.forward_client_certificate && !asks {
                let spot = places.listeners[at];
                let place = format!("{spot}.tls.forward_client_certificate");
                let what = "has no effect: no client is asked for a certificate".to_owned();
                let fix = "add `client_certificates: { ca: FILE, mode: optional }`, or remove it";
                self.refuse(spot.file, place, what, fix);
            }
        }
    }
}

/// Reads what `tls:` of a listener names. The files are watched with the configuration.
pub(super) fn tls(
    spec: &spec::ListenerTls,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Tls> {
    let at = |key| Place::Key(place, key);
    let certificates = match &spec.certificates {
        Some(specs) => certificates(specs, &at("certificates"), files, accounts, sink),
        None if spec.passthrough.is_some() => Some(Vec::new()),
        None => {
            let fix = "add `certificates: [{ cert: site.pem, key: site.key }]`, or `passthrough:`";
            place.refuse(sink, "has no `certificates`", fix)
        }
    };
    let clients = spec
        .client_certificates
        .as_ref()
        .and_then(|spec| client_certificates(spec, &at("client_certificates"), files, sink));
    Some(Tls {
        certificates: certificates?,
        passthrough: Vec::new(),
        refuses_others: spec.default == spec::TlsDefault::Refuse,
        min_version: min_version(spec.min_version),
        clients,
        handshake_timeout: spec.handshake_timeout.0,
        max_handshakes: spec.max_handshakes.0,
        forward_client_certificate: spec.forward_client_certificate,
    })
}

/// Reads what `tls:` of the admin listener names. An authority could not validate a name by asking it,
/// so its certificates are in files or made here.
pub(super) fn admin(
    spec: &spec::AdminTls,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Tls> {
    let at = |key| Place::Key(place, key);
    let list = at("certificates");
    let certificates = certificates(&spec.certificates, &list, files, accounts, sink);
    let issued = spec.certificates.iter().position(|spec| spec.acme.is_some());
    if let Some(index) = issued {
        let what = "names an account of `acme`, which serves `listeners` only";
        let fix = "write { cert: admin.pem, key: admin.key }";
        return Place::Item(&list, index).refuse(sink, what, fix);
    }
    let asked = spec.client_certificates.as_ref();
    let clients =
        asked.map(|spec| client_certificates(spec, &at("client_certificates"), files, sink));
    Some(Tls {
        certificates: certificates?,
        passthrough: Vec::new(),
        refuses_others: false,
        min_version: min_version(spec.min_version),
        clients: match clients {
            Some(clients) => Some(clients?),
            None => None,
        },
        handshake_timeout: spec.handshake_timeout.0,
        // Its connections have a bound of their own.
        max_handshakes: u64::MAX,
        forward_client_certificate: false,
    })
}

fn min_version(version: spec::TlsVersion) -> MinVersion {
    match version {
        spec::TlsVersion::Tls12 => MinVersion::Tls12,
        spec::TlsVersion::Tls13 => MinVersion::Tls13,
    }
}

fn certificates(
    specs: &[spec::Certificate],
    list: &Place<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Vec<Certificate>> {
    if specs.is_empty() {
        let fix = "name one: [{ cert: site.pem, key: site.key }]";
        return list.refuse(sink, "is empty", fix);
    }
    if specs.len() > CERTIFICATES_MAX {
        let what = format!("has {} certificates", specs.len());
        return list.refuse(sink, what, format!("use at most {CERTIFICATES_MAX} for one listener"));
    }
    let mut read: Vec<(usize, Certificate)> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let place = Place::Item(list, index);
        let certificate = certificate(spec, &place, files, accounts, sink);
        read.extend(certificate.map(|certificate| (index, certificate)));
    }
    refuse_duplicates(list, &read, sink)?;
    let is_whole = read.len() == specs.len();
    is_whole.then(|| read.into_iter().map(|(_, certificate)| certificate).collect())
}

/// Refuses names that two certificates of the same kind have: which of them answers would depend on
/// their order.
fn refuse_duplicates(
    list: &Place<'_>,
    read: &[(usize, Certificate)],
    sink: &mut Sink,
) -> Option<()> {
    let kinds = read.iter().map(|(_, certificate)| (certificate.names(), certificate.algorithm()));
    let duplicates = sallyport_tls::duplicate_names(&kinds.collect::<Vec<_>>());
    for duplicate in &duplicates {
        let first = Place::Item(list, read[duplicate.first].0);
        let fix = format!("it is in {first} too: remove one of the two");
        let place = Place::Item(list, read[duplicate.second].0);
        place.refuse::<()>(sink, duplicate.to_string(), fix);
    }
    duplicates.is_empty().then_some(())
}

fn certificate(
    spec: &spec::Certificate,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Certificate> {
    let spec::Certificate { cert, key, ocsp, acme, self_signed, domains } = spec;
    let kinds = [
        ("cert", cert.is_some()),
        ("acme", acme.is_some()),
        ("self_signed", self_signed.is_some()),
    ];
    place.exactly_one(sink, &kinds)?;
    let refuse_unused = |key: &str, is_written: bool, with: &str, sink: &mut Sink| {
        if is_written {
            let what = format!("has no effect with `{with}`");
            Place::Key(place, key).refuse::<()>(sink, what, "remove it");
        }
    };
    if let Some(file) = cert {
        refuse_unused("domains", domains.is_some(), "cert", sink);
        let Some(key) = key else { return place.refuse(sink, "has no `key`", "add `key:`") };
        return from_files([file, key], ocsp.as_deref(), place, files, sink);
    }
    let with = if acme.is_some() { "acme" } else { "self_signed" };
    refuse_unused("key", key.is_some(), with, sink);
    refuse_unused("ocsp", ocsp.is_some(), with, sink);
    let Some(names) = domains else {
        return place.refuse(sink, "has no `domains`", "add `domains:`");
    };
    let names_place = Place::Key(place, "domains");
    let names = self::domains(names, &names_place, sink);
    let Some(account) = acme else {
        if *self_signed == Some(false) {
            let fix = "write true, or name a certificate: { cert: site.pem, key: site.key }";
            return place.refuse(sink, "says `self_signed: false`", fix);
        }
        return Some(Certificate::SelfSigned { domains: names? });
    };
    let account = self::account(account, &Place::Key(place, "acme"), accounts, sink);
    let names = names?;
    refuse_unvalidated(&names, &names_place, sink)?;
    Some(issued(account?, names, files))
}

/// The certificate in the files of `named`: its own and that of its key.
fn from_files(
    named: [&spec::scalar::Name; 2],
    ocsp: Option<&str>,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Certificate> {
    let at = |key| Place::Key(place, key);
    let [cert, key] = named;
    let staple = ocsp.map(|name| files.file(name, &at("ocsp"), sink));
    let key = files.file(key, &at("key"), sink);
    let cert = files.file(cert, &at("cert"), sink);
    let staple = match staple {
        Some(staple) => Some(staple?),
        None => None,
    };
    let ((path, chain), key) = (cert?, key?);
    let mut refuse = |error: &PairError| {
        let (of, path) = match error.part() {
            PairPart::Chain => ("cert", Some(&path)),
            PairPart::Key => ("key", Some(&key.0)),
            PairPart::Staple => ("ocsp", staple.as_ref().map(|(path, _)| path)),
        };
        let path = path.map(|path| path.display().to_string()).unwrap_or_default();
        at(of).refuse::<()>(sink, format!("{path} {error}"), error.fix());
    };
    let bytes = staple.as_ref().map(|(_, staple)| &**staple);
    let pair = match Pair::read(&chain, &key.1, bytes, &sallyport_tls::provider()) {
        Ok(pair) => pair,
        Err(error) => {
            refuse(&error);
            return None;
        }
    };
    let validity = pair.check_validity(SystemTime::now());
    if let Err(error) = &validity {
        refuse(error);
    }
    warn_of_expiry(&at("cert"), &path, &pair, sink);
    validity.ok()?;
    Some(Certificate::Files { path, pair: Arc::new(pair) })
}

fn account(
    name: &str,
    place: &Place<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Arc<AcmeAccount>> {
    let found = accounts.iter().find(|account| *account.name == *name);
    if found.is_none() {
        let fix = "define it under `acme` or correct the name";
        return place.refuse(sink, format!("unknown account {name:?}"), fix);
    }
    found.cloned()
}

/// Refuses domains that no authority can validate by asking this gateway.
fn refuse_unvalidated(domains: &[String], place: &Place<'_>, sink: &mut Sink) -> Option<()> {
    let other = domains
        .iter()
        .find(|domain| domain.starts_with("*.") || domain.parse::<std::net::IpAddr>().is_ok());
    let Some(other) = other else { return Some(()) };
    let what = format!("{other:?} is no single name, which is all that can be validated");
    place.refuse(sink, what, "write each name, such as shop.example.com")
}

/// What `account` has for `domains`; its file is watched, there or not.
fn issued(account: Arc<AcmeAccount>, domains: Vec<String>, files: &mut Reader<'_>) -> Certificate {
    let both = files.file_if_there(&account.file(&domains)).unwrap_or_default();
    let pair = Pair::read(&both, &both, None, &sallyport_tls::provider()).ok();
    let pair = pair.filter(|pair| {
        let is_for = |domain: &String| {
            DnsPattern::parse(domain).is_some_and(|name| pair.names.contains(&name))
        };
        domains.iter().all(is_for)
    });
    Certificate::Acme { account, domains, pair: pair.map(Arc::new) }
}

fn warn_of_expiry(place: &Place<'_>, path: &Path, pair: &Pair, sink: &mut Sink) {
    let now = SystemTime::now();
    let left = pair.not_after.duration_since(now).unwrap_or_default();
    if !left.is_zero() && left <= EXPIRES_SOON {
        let days = left.as_secs() / 86_400;
        let at = utc(pair.not_after);
        place.warn(sink, format!("{} expires in {days} days, at {at}", path.display()), "renew it");
    }
}

/// The names and addresses that a certificate is for, in lower case.
fn domains(
    specs: &[spec::scalar::Name],
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<Vec<String>> {
    if specs.is_empty() {
        return place.refuse(sink, "is empty", "write a name, such as [localhost]");
    }
    let domains = specs.iter().enumerate().map(|(index, text)| {
        let (place, text) = (Place::Item(place, index), &**text);
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        let name = DnsPattern::parse(text);
        if name.as_ref().is_some_and(DnsPattern::is_above_public_suffix) {
            let what = format!("{text:?} is a wildcard for a public suffix, which clients refuse");
            return place.refuse(sink, what, "write one for a domain, such as *.example.com");
        }
        if name.is_none() && !is_address {
            let fix = "write a name or an address, such as shop.example.com";
            return place.refuse(sink, format!("{text:?} is no domain"), fix);
        }
        Some(text.to_ascii_lowercase())
    });
    // Every one is looked at before the first bad one ends it.
    domains.collect::<Vec<_>>().into_iter().collect()
}

/// Reads what `client_certificates:` of a listener or a virtual host names.
pub(super) fn client_certificates(
    spec: &spec::ClientCertificates,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Arc<ClientAuth>> {
    let at = |key| Place::Key(place, key);
    let ca = files.file(&spec.ca, &at("ca"), sink);
    let crl = spec.crl.as_ref().map(|crl| files.file(crl, &at("crl"), sink));
    let (ca_path, ca) = ca?;
    let crl = match crl {
        Some(crl) => Some(crl?),
        None => None,
    };
    let mode = match spec.mode {
        spec::ClientCertificateMode::Required => ClientMode::Required,
        spec::ClientCertificateMode::Optional => ClientMode::Optional,
    };
    let lists = crl.as_ref().map(|(_, crl)| &**crl);
    let rules = match ClientAuth::read(&ca, lists, mode) {
        Ok(rules) => rules,
        Err(error) => {
            let crl_path: Option<PathBuf> = crl.map(|(path, _)| path);
            let (key, path) = match error.part() {
                ClientPart::Ca => ("ca", Some(ca_path)),
                ClientPart::Crl => ("crl", crl_path),
            };
            let path = path.map(|path| path.display().to_string()).unwrap_or_default();
            return at(key).refuse(sink, format!("{path} {error}"), error.fix());
        }
    };
    if let Some(since) = rules.stale_since(SystemTime::now()) {
        at("crl").warn(sink, sallyport_tls::stale_in_words(since), "fetch it again");
    }
    Some(Arc::new(rules))
}
