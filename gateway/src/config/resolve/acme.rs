//! `acme:`: accounts with authorities that issue certificates by themselves.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sallyport_config::spec;
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;
use sallyport_tls::{AcmeAccount, AcmeChallenge};

use super::Resolver;
use crate::config::model::{Challenges, Listener};
use crate::config::tls::Certificate;

impl Resolver<'_, '_, '_> {
    pub(super) fn acme_accounts(&mut self, specs: &[spec::Acme]) -> Vec<Arc<AcmeAccount>> {
        let file = Place::File(0);
        let list = Place::Key(&file, "acme");
        let mut names = HashMap::new();
        let accounts = specs.iter().enumerate().filter_map(|(index, spec)| {
            let at = |index| (0, format!("{list}[{index}].name"));
            let what = || format!("duplicate account {:?}", &*spec.name);
            self.refuse_repeated(&mut names, &*spec.name, index, at, what);
            let place = Place::Item(&list, index);
            account(spec, &place, self.filters, self.problems).map(Arc::new)
        });
        accounts.collect()
    }

    /// Refuses accounts whose challenges nobody could answer, and tells of those that nobody uses.
    pub(super) fn refuse_unanswered_challenges(&mut self, listeners: &[Listener]) {
        let certificates = listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref())
            .flat_map(|tls| &tls.certificates);
        let used: Vec<_> = certificates
            .filter_map(|certificate| match certificate {
                Certificate::Acme { account, .. } => Some(&account.name),
                _ => None,
            })
            .collect();
        let has_clear = listeners.iter().any(|listener| listener.tls.is_none());
        let file = Place::File(0);
        let list = Place::Key(&file, "acme");
        for (index, account) in self.accounts.iter().enumerate() {
            let place = Place::Item(&list, index);
            if !used.contains(&&account.name) {
                let fix = "name it in a certificate: { acme: NAME, domains: [...] }, or remove it";
                place.warn(self.problems, "is used by no certificate", fix);
            } else if account.challenge == AcmeChallenge::Http01 && !has_clear {
                let what = "validates by HTTP, and no listener speaks it in clear text";
                let fix =
                    "add a listener on port 80 without `tls`, or write `challenge: tls-alpn-01`";
                place.refuse::<()>(self.problems, what, fix);
            }
        }
    }
}

/// Where answers to the challenges of `accounts` are looked for.
pub(super) fn challenges(accounts: &[Arc<AcmeAccount>]) -> Challenges {
    Challenges {
        http: storages(accounts, AcmeChallenge::Http01),
        tls: storages(accounts, AcmeChallenge::TlsAlpn01),
    }
}

fn storages(accounts: &[Arc<AcmeAccount>], challenge: AcmeChallenge) -> Vec<PathBuf> {
    let of_kind = accounts.iter().filter(|account| account.challenge == challenge);
    let mut storages: Vec<PathBuf> = of_kind.map(|account| account.storage.clone()).collect();
    storages.sort();
    storages.dedup();
    storages
}

fn account(
    spec: &spec::Acme,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<AcmeAccount> {
    let at = |key| Place::Key(place, key);
    let name = name(&spec.name, &at("name"), sink);
    let directory = directory(&spec.directory, &at("directory"), sink);
    let list = at("contact");
    let contact: Vec<_> = (spec.contact.iter().enumerate())
        .map(|(index, address)| contact(address, &Place::Item(&list, index), sink))
        .collect();
    let ca = spec.ca.as_ref().map(|ca| files.file(ca, &at("ca"), sink));
    let external = spec.external_account.as_ref();
    let external =
        external.map(|spec| external_account(spec, &at("external_account"), files, sink));
    Some(AcmeAccount {
        name: name?,
        directory: directory?,
        contact: contact.into_iter().collect::<Option<_>>()?,
        storage: files.folder().join(&*spec.storage),
        challenge: match spec.challenge {
            spec::AcmeChallenge::Http01 => AcmeChallenge::Http01,
            spec::AcmeChallenge::TlsAlpn01 => AcmeChallenge::TlsAlpn01,
        },
        ca: match ca {
            Some(ca) => Some(ca?.0),
            None => None,
        },
        external: match external {
            Some(external) => Some(external?),
            None => None,
        },
    })
}

/// A name that is part of file names.
fn name(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Box<str>> {
    place.parsed(sink, text, "write letters, digits and hyphens", |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        text.bytes().all(is_plain).then(|| text.into()).ok_or("is no name")
    })
}

fn directory(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let fix = "write the authority's URL, such as https://acme-v02.api.letsencrypt.org/directory";
    place.parsed(sink, text, fix, |text| match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Ok(Box::from(text)),
        _ => Err("is no https URL"),
    })
}

/// An address of a person, as the URI that authorities want.
fn contact(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<String> {
    place.parsed(sink, text, "write an address, such as ops@example.com", |text| {
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        let is_address = address.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && !address.contains(char::is_whitespace)
        });
        is_address.then(|| format!("mailto:{address}")).ok_or("is no mail address")
    })
}

fn external_account(
    spec: &spec::ExternalAccount,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<(String, Vec<u8>)> {
    let place = Place::Key(place, "hmac_file");
    let (path, text) = files.file(&spec.hmac_file, &place, sink)?;
    let text = String::from_utf8_lossy(&text);
    let Some(key) = sallyport_tls::base64url(text.trim()) else {
        let what = format!("{} holds no key in base64url", path.display());
        return place.refuse(sink, what, "write the HMAC key as the authority gives it");
    };
    Some((spec.key_id.to_string(), key))
}
