//! `listeners[].tls` and `client_certificates`: what a listener shows its clients, and what it asks
//! of them.
//!
//! Certificates, keys and lists are read here, so that what is wrong with a file is a problem of the
//! key that names it, and is found before anything is put in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sallyport_config::{Fields, Node, Place, Sink, scalar};
use sallyport_plugin::Reader;
use sallyport_route::ClientMatch;
use sallyport_tls::{
    AcmeAccount, ClientAuth, ClientMode, ClientPart, DnsPattern, MinVersion, Pair, PairError,
    PairPart, utc,
};

/// How long before its end a certificate is told of as a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Certificates of one listener: each name is a hash-table entry, each pair some KiB.
const CERTIFICATES_MAX: usize = 100_000;

/// The TLS of one listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates; never empty. The first is the default.
    pub certificates: Vec<Certificate>,
    /// Whether clients that ask for another name are refused.
    pub refuses_others: bool,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What is asked of clients, where their virtual host says nothing else.
    pub clients: Option<Arc<ClientAuth>>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshakes under way at most.
    pub max_handshakes: u64,
    /// Whether clients' certificates are sent upstream (RFC 9440).
    pub forward_client_certificate: bool,
}

impl Tls {
    /// A handshake takes two round trips; ten seconds are a lost packet or two on a bad line.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

    /// Each holds some 16 KiB while it lasts: 160 MB of clients that never finish.
    pub const MAX_HANDSHAKES: u64 = 10_000;
}

/// A certificate of a listener.
#[derive(Clone, Debug)]
pub enum Certificate {
    /// It is in files.
    Files {
        /// The file of the certificate.
        path: PathBuf,
        /// What the files hold.
        pair: Arc<Pair>,
    },
    /// An authority issues it.
    Acme {
        /// The account with the authority.
        account: Arc<AcmeAccount>,
        /// What it is for.
        domains: Vec<String>,
        /// The one that was issued last, if it is for these domains.
        pair: Option<Arc<Pair>>,
    },
    /// The gateway makes it, and nobody vouches for it.
    SelfSigned {
        /// What it is for.
        domains: Vec<String>,
    },
}

impl Certificate {
    /// The names that it is for.
    #[must_use]
    pub fn names(&self) -> Vec<DnsPattern> {
        match self {
            Self::Files { pair, .. } => pair.names.clone(),
            Self::SelfSigned { domains } | Self::Acme { domains, .. } => {
                domains.iter().filter_map(|domain| DnsPattern::parse(domain)).collect()
            }
        }
    }
}

/// Reads `tls:` of a listener. The files are watched with the configuration.
pub(super) fn read(
    node: Node<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Tls> {
    node.mapping(sink, |fields, sink| {
        let certificates = fields
            .required(sink, "certificates", |node, sink| certificates(node, files, accounts, sink));
        let refuses_others = fields.optional(sink, "default", |node, sink| {
            node.parsed(sink, "write refuse, or first, which is the default", |text| match text {
                "refuse" => Ok(true),
                "first" => Ok(false),
                _ => Err("is no default"),
            })
        });
        let min_version = fields.optional(sink, "min_version", min_version);
        let clients = fields.optional(sink, "client_certificates", |node, sink| {
            client_certificates(node, files, sink)
        });
        let handshake_timeout = fields.optional(sink, "handshake_timeout", scalar::duration);
        let max_handshakes =
            fields.optional(sink, "max_handshakes", |node, sink| node.number(sink, 1, 10_000_000));
        let forward = fields.optional(sink, "forward_client_certificate", scalar::flag);
        Some(Tls {
            certificates: certificates?,
            refuses_others: refuses_others.unwrap_or(false),
            min_version: min_version.unwrap_or_default(),
            clients,
            handshake_timeout: handshake_timeout.unwrap_or(Tls::HANDSHAKE_TIMEOUT),
            max_handshakes: max_handshakes.unwrap_or(Tls::MAX_HANDSHAKES),
            forward_client_certificate: forward.unwrap_or(false),
        })
    })
}

fn min_version(node: Node<'_>, sink: &mut Sink) -> Option<MinVersion> {
    node.parsed(sink, "write \"1.2\" or \"1.3\"", |text| match text {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        "1.0" | "1.1" => Err("is a version that is not spoken: RFC 8996"),
        _ => Err("is no version of TLS"),
    })
}

fn certificates(
    node: Node<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Vec<Certificate>> {
    let mut read: Vec<(usize, Certificate)> = Vec::new();
    let mut index = 0;
    let mut is_whole = true;
    node.list(sink, |item, sink| {
        match certificate(item, files, accounts, sink) {
            Some(certificate) => read.push((index, certificate)),
            None => is_whole = false,
        }
        index += 1;
        Some(())
    })?;
    if index == 0 {
        let fix = "name one: [{ cert: site.pem, key: site.key }]";
        return node.refuse(sink, "is empty", fix);
    }
    if index > CERTIFICATES_MAX {
        let what = format!("has {index} certificates");
        return node.refuse(sink, what, format!("use at most {CERTIFICATES_MAX} for one listener"));
    }
    refuse_duplicates(node, &read, sink)?;
    is_whole.then(|| read.into_iter().map(|(_, certificate)| certificate).collect())
}

/// Refuses names that two certificates of the same kind have: which of them answers would depend on
/// their order.
fn refuse_duplicates(node: Node<'_>, read: &[(usize, Certificate)], sink: &mut Sink) -> Option<()> {
    let kinds = read.iter().map(|(_, certificate)| (certificate.names(), algorithm(certificate)));
    let duplicates = sallyport_tls::duplicate_names(&kinds.collect::<Vec<_>>());
    for duplicate in &duplicates {
        let place = Place::Item(&node.place, read[duplicate.second].0);
        let (what, first) = (duplicate.to_string(), read[duplicate.first].0);
        let first = Place::Item(&node.place, first);
        let fix = format!("it is in {first} too: remove one of the two");
        Node { value: node.value, place }.refuse::<()>(sink, what, fix);
    }
    duplicates.is_empty().then_some(())
}

fn algorithm(certificate: &Certificate) -> sallyport_tls::SignatureAlgorithm {
    match certificate {
        Certificate::Files { pair, .. } => pair.algorithm(),
        Certificate::SelfSigned { .. } | Certificate::Acme { .. } => {
            sallyport_tls::SignatureAlgorithm::ECDSA
        }
    }
}

fn certificate(
    node: Node<'_>,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Certificate> {
    node.mapping(sink, |fields, sink| {
        fields.exactly_one(sink, &["cert", "acme", "self_signed"]);
        if fields.has("acme") {
            let account = fields.optional(sink, "acme", |node, sink| account(node, accounts, sink));
            let domains = fields.required(sink, "domains", validated_domains);
            return Some(issued(account?, domains?, files));
        }
        if fields.has("self_signed") {
            let is_on = fields.optional(sink, "self_signed", scalar::flag);
            let domains = fields.required(sink, "domains", domains);
            if is_on == Some(false) {
                let fix = "write true, or name a certificate: { cert: site.pem, key: site.key }";
                return fields.node().refuse(sink, "says `self_signed: false`", fix);
            }
            return Some(Certificate::SelfSigned { domains: domains? });
        }
        let has_staple = fields.has("ocsp");
        let staple = fields.optional(sink, "ocsp", |node, sink| files.file(node, sink));
        let key = fields.required(sink, "key", |node, sink| files.file(node, sink));
        let mut pair = None;
        let mut found = Vec::new();
        let chain = fields.optional(sink, "cert", |node, sink| {
            let (path, chain) = files.file(node, sink)?;
            let (Some((_, key)), true) = (&key, staple.is_some() || !has_staple) else {
                return Some(path);
            };
            let staple = staple.as_ref().map(|(_, staple)| &**staple);
            match Pair::read(&chain, key, staple, &sallyport_tls::provider()) {
                Ok(read) => {
                    found.extend(read.check_validity(SystemTime::now()).err());
                    warn_of_expiry(node, &path, &read, sink);
                    pair = Some(read);
                }
                Err(error) => found.push(error),
            }
            Some(path)
        });
        for error in found {
            refuse(fields, &error, sink, &[&chain, &path_of(&key), &path_of(&staple)]);
            pair = None;
        }
        Some(Certificate::Files { path: chain?, pair: Arc::new(pair?) })
    })
}

fn account(
    node: Node<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Arc<AcmeAccount>> {
    let name = node.text(sink)?;
    let found = accounts.iter().find(|account| *account.name == *name);
    if found.is_none() {
        let fix = "define it under `acme` or correct the name";
        return node.refuse(sink, format!("unknown account {name:?}"), fix);
    }
    found.cloned()
}

/// Domains that an authority can validate by asking this gateway.
fn validated_domains(node: Node<'_>, sink: &mut Sink) -> Option<Vec<String>> {
    let domains = domains(node, sink)?;
    let other = domains
        .iter()
        .find(|domain| domain.starts_with("*.") || domain.parse::<std::net::IpAddr>().is_ok());
    if let Some(other) = other {
        let what = format!("{other:?} is no single name, which is all that can be validated");
        return node.refuse(sink, what, "write each name, such as shop.example.com");
    }
    Some(domains)
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

fn path_of(file: &Option<(PathBuf, Vec<u8>)>) -> Option<PathBuf> {
    file.as_ref().map(|(path, _)| path.clone())
}

/// Notes `error` with the key of the file that it is about; `paths` are those of chain, key and
/// staple.
fn refuse(
    fields: &mut Fields<'_>,
    error: &PairError,
    sink: &mut Sink,
    paths: &[&Option<PathBuf>; 3],
) {
    let (key, path) = match error.part() {
        PairPart::Chain => ("cert", paths[0]),
        PairPart::Key => ("key", paths[1]),
        PairPart::Staple => ("ocsp", paths[2]),
    };
    let path = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    fields.optional(sink, key, |node, sink| {
        node.refuse::<()>(sink, format!("{path} {error}"), error.fix())
    });
}

fn warn_of_expiry(node: Node<'_>, path: &std::path::Path, pair: &Pair, sink: &mut Sink) {
    let now = SystemTime::now();
    let left = pair.not_after.duration_since(now).unwrap_or_default();
    if !left.is_zero() && left <= EXPIRES_SOON {
        let days = left.as_secs() / 86_400;
        let at = utc(pair.not_after);
        node.warn(sink, format!("{} expires in {days} days, at {at}", path.display()), "renew it");
    }
}

fn domains(node: Node<'_>, sink: &mut Sink) -> Option<Vec<String>> {
    let domains = node.whole_list(sink, |node, sink| {
        let text = node.text(sink)?;
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        let name = DnsPattern::parse(text);
        if name.as_ref().is_some_and(DnsPattern::is_above_public_suffix) {
            let what = format!("{text:?} is a wildcard for a public suffix, which clients refuse");
            return node.refuse(sink, what, "write one for a domain, such as *.example.com");
        }
        if name.is_none() && !is_address {
            let fix = "write a name or an address, such as shop.example.com";
            return node.refuse(sink, format!("{text:?} is no domain"), fix);
        }
        Some(text.to_ascii_lowercase())
    })?;
    if domains.is_empty() {
        return node.refuse(sink, "is empty", "write a name, such as [localhost]");
    }
    Some(domains)
}

/// Reads `client_certificates:` of a listener or a virtual host.
pub(super) fn client_certificates(
    node: Node<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Arc<ClientAuth>> {
    node.mapping(sink, |fields, sink| {
        let has_crl = fields.has("crl");
        let ca = fields.required(sink, "ca", |node, sink| files.file(node, sink));
        let crl = fields.optional(sink, "crl", |node, sink| files.file(node, sink));
        let mode = fields.required(sink, "mode", |node, sink| {
            node.parsed(sink, "write required or optional", |text| match text {
                "required" => Ok(ClientMode::Required),
                "optional" => Ok(ClientMode::Optional),
                _ => Err("is no mode"),
            })
        });
        let ((ca_path, ca), mode) = (ca?, mode?);
        if has_crl && crl.is_none() {
            return None;
        }
        let lists = crl.as_ref().map(|(_, crl)| &**crl);
        let rules = match ClientAuth::read(&ca, lists, mode) {
            Ok(rules) => rules,
            Err(error) => {
                let (key, path) = match error.part() {
                    ClientPart::Ca => ("ca", Some(ca_path)),
                    ClientPart::Crl => ("crl", path_of(&crl)),
                };
                let path = path.map(|path| path.display().to_string()).unwrap_or_default();
                return fields.optional(sink, key, |node, sink| {
                    node.refuse(sink, format!("{path} {error}"), error.fix())
                });
            }
        };
        if let Some(at) = rules.stale_since(SystemTime::now()) {
            fields.optional(sink, "crl", |node, sink| {
                node.warn(sink, sallyport_tls::stale_in_words(at), "fetch it again");
                Some(())
            });
        }
        Some(Arc::new(rules))
    })
}

/// Reads `match.client_certificate`.
pub(super) fn client_match(node: Node<'_>, sink: &mut Sink) -> Option<ClientMatch> {
    node.mapping(sink, |fields, sink| {
        let verified = fields.optional(sink, "verified", scalar::flag);
        let subject = fields.optional(sink, "subject", scalar::name);
        let san = fields.optional(sink, "san", scalar::name);
        // One that could not be read must not become one that asks less.
        let read = [
            ("verified", verified.is_some()),
            ("subject", subject.is_some()),
            ("san", san.is_some()),
        ];
        if read.iter().any(|(key, read)| fields.has(key) && !read) {
            return None;
        }
        if !read.iter().any(|(_, read)| *read) {
            let fix = "write at least one of `verified`, `subject`, `san`";
            return fields.node().refuse(sink, "asks for nothing", fix);
        }
        if verified == Some(false) && (subject.is_some() || san.is_some()) {
            let what = "asks for a certificate and for none";
            return fields.node().refuse(sink, what, "remove `verified: false`, or the rest");
        }
        Some(ClientMatch { verified, subject, san })
    })
}
