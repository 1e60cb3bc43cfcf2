//! `acme:`: accounts with authorities that issue certificates by themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sallyport_config::{Node, Sink, scalar};
use sallyport_plugin::Reader;
use sallyport_tls::{AcmeAccount, AcmeChallenge};

/// Reads the accounts.
pub(super) fn read(
    node: Node<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Vec<Arc<AcmeAccount>>> {
    let mut accounts: Vec<Arc<AcmeAccount>> = Vec::new();
    node.list(sink, |node, sink| {
        let account = account(node, files, sink)?;
        if accounts.iter().any(|other| other.name == account.name) {
            let what = format!("duplicate account {:?}", account.name);
            return node.refuse(sink, what, "choose another name");
        }
        accounts.push(Arc::new(account));
        Some(())
    })?;
    Some(accounts)
}

fn account(node: Node<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<AcmeAccount> {
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", name);
        let directory = fields.required(sink, "directory", |node, sink| {
            let fix =
                "write the authority's URL, such as https://acme-v02.api.letsencrypt.org/directory";
            node.parsed(sink, fix, |text| match text.strip_prefix("https://") {
                Some(rest) if !rest.is_empty() => Ok(Box::from(text)),
                _ => Err("is no https URL"),
            })
        });
        let contact = fields.optional(sink, "contact", |node, sink| node.list(sink, contact));
        let storage = fields.required(sink, "storage", scalar::name);
        let challenge = fields.optional(sink, "challenge", |node, sink| {
            node.parsed(sink, "write http-01 or tls-alpn-01", |text| match text {
                "http-01" => Ok(AcmeChallenge::Http01),
                "tls-alpn-01" => Ok(AcmeChallenge::TlsAlpn01),
                "dns-01" => Err("is not answered here"),
                _ => Err("is no challenge"),
            })
        });
        let ca = fields.optional(sink, "ca", |node, sink| files.file(node, sink));
        let external = fields
            .optional(sink, "external_account", |node, sink| external_account(node, files, sink));
        let is_unread = |key, is_none| fields.has(key) && is_none;
        if is_unread("challenge", challenge.is_none())
            || is_unread("ca", ca.is_none())
            || is_unread("external_account", external.is_none())
        {
            return None;
        }
        Some(AcmeAccount {
            name: name?,
            directory: directory?,
            contact: contact.unwrap_or_default(),
            storage: files.folder().join(&*storage?),
            challenge: challenge.unwrap_or_default(),
            ca: ca.map(|(path, _)| path),
            external,
        })
    })
}

/// A name that is part of file names.
fn name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.parsed(sink, "write letters, digits and hyphens", |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let is_name = !text.is_empty() && text.bytes().all(is_plain);
        is_name.then(|| text.into()).ok_or("is no name")
    })
}

/// An address of a person, as the URI that authorities want.
fn contact(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    node.parsed(sink, "write an address, such as ops@example.com", |text| {
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        let is_address = address.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && !address.contains(char::is_whitespace)
        });
        is_address.then(|| format!("mailto:{address}")).ok_or("is no mail address")
    })
}

fn external_account(
    node: Node<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<(String, Vec<u8>)> {
    node.mapping(sink, |fields, sink| {
        let id = fields.required(sink, "key_id", scalar::name);
        let key = fields.required(sink, "hmac_file", |node, sink| {
            let (path, text) = files.file(node, sink)?;
            let text = String::from_utf8_lossy(&text);
            let key = sallyport_tls::base64url(text.trim());
            key.or_else(|| {
                let what = format!("{} holds no key in base64url", path.display());
                node.refuse(sink, what, "write the HMAC key as the authority gives it")
            })
        });
        Some((id?.into(), key?))
    })
}

/// The folders in which answers to challenges are looked for.
pub(super) fn storages(accounts: &[Arc<AcmeAccount>], challenge: AcmeChallenge) -> Vec<PathBuf> {
    let of_kind = accounts.iter().filter(|account| account.challenge == challenge);
    let mut storages: Vec<PathBuf> =
        of_kind.map(|account| Path::to_path_buf(&account.storage)).collect();
    storages.sort();
    storages.dedup();
    storages
}
