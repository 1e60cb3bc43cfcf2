//! TLS handshakes, one for each request: full ones, or ones that resume a session.
//!
//! A closed loop of a few threads in this process. The tools that load proxies resume where a
//! server lets them and do not say how often; here every handshake is looked at. All proxies are
//! asked for TLS 1.3 and key exchange by X25519, which all of them have: a group that only some
//! would choose would be compared otherwise.

use crate::certificate::{Certificate, NAME};
use crate::interrupt::Interrupt;
use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Handshakes under way at a time.
const THREADS: usize = 16;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions that a thread keeps: it needs one.
const SESSIONS: usize = 8;

/// What every burst has in common.
#[derive(Clone, Debug)]
pub struct Handshakes {
    config: ClientConfig,
    resumes: bool,
    path: String,
}

/// What came of one burst.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Handshakes with an answer of 200 after them.
    pub requests: u64,
    /// Those of them that resumed a session.
    pub resumed: u64,
    /// Whatever else came.
    pub failed: u64,
    /// Time it took.
    pub duration_s: f64,
}

impl Handshakes {
    /// Clients that trust `certificate` and ask for `path` once on each connection.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn new(certificate: &Certificate, resumes: bool, path: String) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.chain.as_bytes())?)?;
        let groups = vec![aws_lc_rs::kx_group::X25519];
        let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self { config, resumes, path })
    }

    /// Loads `target` for `length`.
    ///
    /// # Errors
    /// Nothing was answered, the proxy does not resume where that is asked for, or the run was
    /// interrupted.
    pub fn run(
        &self,
        target: SocketAddr,
        length: Duration,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let began = Instant::now();
        let until = began + length;
        let client = || {
            let mut outcome = Outcome::default();
            let config = self.own_config();
            while Instant::now() < until && interrupt.check().is_ok() {
                match self.ask(&config, target) {
                    Ok(kind) => {
                        outcome.requests += 1;
                        outcome.resumed += u64::from(kind == Some(HandshakeKind::Resumed));
                    }
                    Err(_) => outcome.failed += 1,
                }
            }
            outcome
        };
        let outcomes = thread::scope(|scope| {
            let clients: Vec<_> = (0..THREADS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|client| client.join().unwrap_or_default()).collect::<Vec<_>>()
        });
        interrupt.check()?;
        let mut sum = Outcome { duration_s: began.elapsed().as_secs_f64(), ..Outcome::default() };
        for outcome in outcomes {
            sum.requests += outcome.requests;
            sum.resumed += outcome.resumed;
            sum.failed += outcome.failed;
        }
        self.check(sum)
    }

    /// With a store of its own for the thread: a session is for one handshake, and a store that is
    /// shared gives a thread none while the others hold them.
    fn own_config(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        if self.resumes {
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
        }
        Arc::new(config)
    }

    /// Whether the figures say what they are to say.
    fn check(&self, outcome: Outcome) -> Result<Outcome> {
        let Outcome { requests, resumed, .. } = outcome;
        ensure!(requests > 0, "no handshake was answered");
        // Until each thread has a session, a few are full.
        let full = requests - resumed;
        let rare = full <= THREADS as u64 + requests / 20;
        ensure!(!self.resumes || rare, "{full} of {requests} handshakes were full");
        ensure!(self.resumes || resumed == 0, "{resumed} of {requests} handshakes resumed");
        Ok(outcome)
    }

    /// One connection with one request, read to its end.
    fn ask(&self, config: &Arc<ClientConfig>, target: SocketAddr) -> Result<Option<HandshakeKind>> {
        let name = ServerName::try_from(NAME)?;
        let mut session = ClientConnection::new(config.clone(), name)?;
        let mut socket = TcpStream::connect_timeout(&target, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let mut stream = Stream::new(&mut session, &mut socket);
        let path = &self.path;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no answer")?;
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "no answer of 200");
        ensure!(answer.len() > end + 4, "the answer has no body");
        Ok(session.handshake_kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(resumes: bool, requests: u64, resumed: u64) -> Result<Outcome> {
        let certificate = Certificate::generate().unwrap();
        let handshakes = Handshakes::new(&certificate, resumes, "/x".to_owned()).unwrap();
        handshakes.check(Outcome { requests, resumed, ..Outcome::default() })
    }

    #[test]
    fn handshakes_must_be_of_the_kind_that_is_counted() {
        assert!(checked(true, 1000, 990).is_ok());
        assert!(checked(true, 1000, 500).is_err());
        assert!(checked(false, 1000, 0).is_ok());
        assert!(checked(false, 1000, 1).is_err());
        assert!(checked(false, 0, 0).is_err());
    }
}
