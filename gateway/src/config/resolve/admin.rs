//! `admin:`.

use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_config::spec;
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;
use sallyport_tls::{AcmeAccount, ClientAuth, ClientMode};

use super::tls;
use crate::config::admin::{Admin, AdminAddress, Token};

/// The largest file that may hold a token.
const TOKEN_BYTES_MAX: usize = 4 << 10;

pub(super) fn admin(
    spec: &spec::Admin,
    place: &Place<'_>,
    is_address_read: bool,
    files: &mut Reader<'_>,
    accounts: &[Arc<AcmeAccount>],
    sink: &mut Sink,
) -> Option<Admin> {
    let at = |key| Place::Key(place, key);
    let unix = spec.address.strip_prefix("unix:");
    if spec.mode.is_some() && unix.is_none() && is_address_read {
        let fix = "remove it, or write an address such as unix:/run/sallyport/admin.sock";
        at("mode").refuse::<()>(sink, "is for Unix sockets only", fix);
    }
    let mut token = |file: &Option<spec::scalar::Name>, key| {
        file.as_ref().and_then(|file| self::token(file, &at(key), files, sink))
    };
    let full_token = token(&spec.token_file, "token_file");
    let read_token = token(&spec.read_token_file, "read_token_file");
    if spec.read_token_file.is_some() && spec.token_file.is_none() {
        let fix = "add `token_file`, which may change what this one may only read";
        at("read_token_file").refuse::<()>(sink, "stands without `token_file`", fix);
    }
    if spec.tls.is_some() && unix.is_some() {
        let fix = "remove it: who may connect is a matter of `mode`";
        at("tls").refuse::<()>(sink, "is for addresses with a port only", fix);
    }
    let tls = match &spec.tls {
        // What it asks of clients is not known where it cannot be read.
        Some(spec) => Some(tls::admin(spec, &at("tls"), files, accounts, sink)?),
        None => None,
    };
    let must_show = |rules: &Arc<_>| ClientAuth::mode(rules) == ClientMode::Required;
    let is_guarded = spec.token_file.is_some()
        || tls.as_ref().and_then(|tls| tls.clients.as_ref()).is_some_and(must_show);
    let address = match unix {
        Some(path) => {
            let mode = spec.mode.as_ref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            AdminAddress::Unix { path: path.into(), mode: mode.unwrap_or(AdminAddress::MODE) }
        }
        None => AdminAddress::Ip(spec.address.parse().ok()?),
    };
    if let AdminAddress::Ip(address) = &address
        && !address.ip().is_loopback()
        && !is_guarded
    {
        refuse_open(*address, &at("address"), sink);
    }
    let hosts = spec.hosts.iter();
    let hosts = hosts.map(|host| host.trim_end_matches('.').to_ascii_lowercase().into_boxed_str());
    Some(Admin { address, hosts: hosts.collect(), token: full_token, read_token, tls })
}

fn refuse_open(address: SocketAddr, place: &Place<'_>, sink: &mut Sink) {
    let what = format!("{address} is open to other machines, and nobody has to show who they are");
    let fix = format!(
        "write 127.0.0.1:{} or unix:/run/sallyport/admin.sock, or add `token_file`, or `tls` with \
         client_certificates: {{ ca: admins.pem, mode: required }}",
        address.port()
    );
    place.refuse::<()>(sink, what, fix);
}

fn token(file: &str, place: &Place<'_>, files: &mut Reader<'_>, sink: &mut Sink) -> Option<Token> {
    let (path, bytes) = files.file(file, place, sink)?;
    let token = Token::of(&bytes, file).filter(|_| bytes.len() <= TOKEN_BYTES_MAX);
    if token.is_none() {
        let what = format!("{} holds no token", path.display());
        let fix =
            "put one line of visible characters into it, such as that of openssl rand -hex 32";
        return place.refuse(sink, what, fix);
    }
    token
}
