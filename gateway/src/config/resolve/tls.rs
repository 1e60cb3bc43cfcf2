//! What only shows of TLS when listeners and virtual hosts are seen together.

use std::sync::Arc;

use sallyport_config::Found;
use sallyport_tls::{AcmeAccount, AcmeChallenge};

use super::{Places, Resolver};
use crate::config::model::{Listener, Protocols, VirtualHost};
use crate::config::raw::RawListener;
use crate::config::tls::Certificate;

impl Resolver<'_> {
    /// The protocols of a listener, by what is written and by whether it speaks TLS.
    pub(super) fn protocols(&mut self, place: &str, raw: &RawListener) -> Protocols {
        if raw.h2c && raw.has_tls {
            let what = "is HTTP/2 in clear text, and the listener speaks TLS".to_owned();
            let fix = "remove it: with TLS, HTTP/2 is agreed on with each client";
            self.refuse(0, format!("{place}.h2c"), what, fix);
        } else if raw.h2c && raw.protocols.is_some() {
            let what = "says again what `protocols` says".to_owned();
            self.refuse(0, format!("{place}.h2c"), what, "remove it");
        }
        let http2 = raw.h2c || raw.has_tls;
        let protocols = raw.protocols.unwrap_or(Protocols { http1: true, http2 });
        if raw.http2.is_some() && !protocols.http2 {
            let what = "has no effect: the listener speaks no HTTP/2".to_owned();
            let fix = "add `protocols: [http1, http2]` to the listener, or remove `http2`";
            self.refuse(0, format!("{place}.http2"), what, fix);
        }
        protocols
    }

    /// Refuses accounts whose challenges nobody could answer, and tells of those that nobody uses.
    pub(super) fn accounts(&mut self, listeners: &[Listener], accounts: &[Arc<AcmeAccount>]) {
        if self.problems.iter().any(Found::is_error) {
            return;
        }
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
        for (index, account) in accounts.iter().enumerate() {
            let place = format!("acme[{index}]");
            if !used.contains(&&account.name) {
                let fix = "name it in a certificate: { acme: NAME, domains: [...] }, or remove it";
                self.warn(0, place, "is used by no certificate".to_owned(), fix);
            } else if account.challenge == AcmeChallenge::Http01 && !has_clear {
                let what = "validates by HTTP, and no listener speaks it in clear text".to_owned();
                let fix =
                    "add a listener on port 80 without `tls`, or write `challenge: tls-alpn-01`";
                self.refuse(0, place, what, fix);
            }
        }
    }

    /// Refuses rules for client certificates that no handshake would meet.
    pub(super) fn client_certificates(
        &mut self,
        listeners: &[Listener],
        hosts: &[VirtualHost],
        places: &Places,
    ) {
        // What could not be read might be what gives the rest its effect.
        if self.problems.iter().any(Found::is_error) {
            return;
        }
        let serves = |listener: &Listener, host: usize| {
            listener.virtual_hosts.as_ref().is_none_or(|served| served.contains(&host))
        };
        for (index, host) in hosts.iter().enumerate().filter(|(_, host)| host.clients.is_some()) {
            let mut with_tls = listeners.iter().filter(|listener| listener.tls.is_some());
            if !with_tls.any(|listener| serves(listener, index)) {
                let (file, place) = &places.virtual_hosts[index];
                let what = "has no effect: no listener with `tls` serves this virtual host";
                let fix =
                    format!("add `tls` to a listener that serves {:?}, or remove it", host.name);
                self.refuse(*file, format!("{place}.client_certificates"), what.into(), fix);
            }
        }
        for (at, listener) in listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let asks = tls.clients.is_some()
                || (0..hosts.len())
                    .any(|host| hosts[host].clients.is_some() && serves(listener, host));
            if tls.forward_client_certificate && !asks {
                let place = format!("listeners[{at}].tls.forward_client_certificate");
                let what = "has no effect: no client is asked for a certificate".to_owned();
                let fix = "add `client_certificates: { ca: FILE, mode: optional }`, or remove it";
                self.refuse(0, place, what, fix);
            }
        }
    }
}
