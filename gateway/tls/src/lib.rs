//! TLS for both sides of the gateway.
//!
//! This crate owns certificates and what is derived from them: which certificate answers for a
//! name ([`Certificates`]), which clients are let in ([`ClientAuth`]), what is known of them
//! afterwards ([`Facts`]), and how certificates are renewed. It reads bytes, not files: whoever
//! names a file reports its problems. It knows nothing of Pingora's sessions, nor of routes.
//!
//! Nothing here uses rustls' process-wide provider: every configuration names [`provider`], so
//! that a library that installs another one changes nothing.

mod acme;
mod certificates;
mod client;
mod facts;
mod handshake;
mod hello;
mod name;
mod pair;
mod self_signed;
mod server;
mod server_names;
mod subject;
mod tickets;
mod time;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use acme::{
    ACME_TLS_ALPN, AcmeAccount, AcmeChallenge, AcmeError, AcmeLock, RenewalAdvice, alpn_config,
    http_answer,
};
pub use certificates::{Certificates, DuplicateName, duplicate_names};
pub use client::{ClientAuth, ClientAuthError, ClientMode, ClientPart, RulesId, stale_in_words};
pub use facts::{ClientFacts, Facts};
pub use handshake::{
    Failure, Hello, accept_hello, finish, read_beginning, read_hello, refuse_name,
    refuse_unreachable,
};
pub use hello::Beginning;
pub use name::DnsPattern;
pub use pair::{Pair, PairError, PairPart};
pub use rustls::SignatureAlgorithm;
pub use self_signed::self_signed;
pub use server::{MinVersion, ServerSpec, ServerTls};
pub use server_names::{Closeness, NamePattern, ServerNames};
pub use tickets::Tickets;
pub use time::utc;

/// Reads `text` as base64url, padded or not (RFC 4648, 5).
#[must_use]
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let bare = text.trim_end_matches('=');
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(bare).ok().filter(|it| !it.is_empty())
}

/// The algorithms that the gateway uses: those of aws-lc-rs, with X25519MLKEM768 preferred.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Makes [`provider`] the process's default, for libraries that ask for one. Does nothing where
/// there is a default already.
pub fn install_provider() {
    // The error is the provider that came too late.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
