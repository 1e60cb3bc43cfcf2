//! The TLS of a listener, compiled: what its handshakes are answered with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sallyport_stats::{CertificateExpiry, Registry, TlsStats};
use sallyport_tls::{
    Certificates, ClientAuth, ClientMode, Failure, Pair, ServerSpec, ServerTls, Tickets,
    self_signed,
};

use crate::config::{Certificate, Listener, Protocols, Tls, VirtualHost};

/// How long before its end a certificate of our own is replaced by another.
const SELF_SIGNED_RENEWED: Duration = Duration::from_secs(30 * 86_400);

/// The TLS of one listener.
#[derive(Debug)]
pub struct ListenerTls {
    /// The certificates, and a rustls configuration for each set of rules.
    pub server: ServerTls,
    /// Where its handshakes are counted.
    pub stats: Arc<TlsStats>,
    /// The certificates as configured, and what was read or made for each.
    certificates: Vec<(Certificate, Arc<Pair>)>,
    /// Which rules hold for clients of a virtual host, where those are not the listener's.
    rules: HashMap<usize, usize>,
    /// Whether the rules at this position need a certificate.
    needs_certificate: Vec<bool>,
}

impl ListenerTls {
    /// Compiles `tls`, the listener's own, keeping certificates that were made before.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(super) fn compile(
        listener: &Listener,
        tls: &Tls,
        hosts: &[VirtualHost],
        previous: &[Option<Arc<Self>>],
        tickets: &Tickets,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let (all, rules) = rules_of_hosts(listener, tls, hosts);
        let alpn = alpn(listener.protocols);
        let built = Self::build(&listener.name, tls, (alpn, all), previous, tickets, registry)?;
        Ok(Self { rules, ..built })
    }

    /// Compiles `tls`, the admin listener's. Its handshakes are counted under the name `admin`.
    ///
    /// # Errors
    /// As [`ListenerTls::compile`].
    pub(super) fn compile_admin(
        tls: &Tls,
        previous: Option<&Arc<Self>>,
        tickets: &Tickets,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let offered = (vec![b"http/1.1".to_vec()], vec![tls.clients.clone()]);
        Self::build(&"admin".into(), tls, offered, &[previous.cloned()], tickets, registry)
    }

    fn build(
        name: &Arc<str>,
        tls: &Tls,
        (alpn, all): (Vec<Vec<u8>>, Vec<Option<Arc<ClientAuth>>>),
        previous: &[Option<Arc<Self>>],
        tickets: &Tickets,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let certificates = tls.certificates.iter().map(|certificate| {
            Ok((certificate.clone(), Arc::new(pair_of(certificate, previous)?)))
        });
        let certificates = certificates.collect::<anyhow::Result<Vec<_>>>()?;
        let pairs: Vec<_> = certificates.iter().map(|(_, pair)| pair.clone()).collect();
        let needs = |rules: &Option<Arc<ClientAuth>>| {
            rules.as_ref().is_some_and(|rules| rules.mode() == ClientMode::Required)
        };
        let needs_certificate = all.iter().map(needs).collect();
        let server = ServerTls::build(&ServerSpec {
            certificates: Arc::new(Certificates::new(&pairs, tls.refuses_others)),
            alpn,
            min_version: tls.min_version,
            rules: all,
            tickets,
        })?;
        let stats = registry.tls(name, Failure::ALL.map(Failure::label));
        let rules = HashMap::new();
        Ok(Self { server, stats, certificates, rules, needs_certificate })
    }

    /// The position of the rules for clients of the virtual host with this index, or of none.
    #[must_use]
    pub fn rules_of(&self, host: Option<usize>) -> usize {
        host.and_then(|host| self.rules.get(&host)).copied().unwrap_or(0)
    }

    /// Whether rules differ by virtual host.
    #[must_use]
    pub fn has_mixed_rules(&self) -> bool {
        self.needs_certificate.len() > 1
    }

    /// Whether the rules at `position` need a certificate.
    #[must_use]
    pub fn needs_certificate(&self, position: usize) -> bool {
        self.needs_certificate.get(position).copied().unwrap_or(false)
    }

    /// The certificate that a client is shown that asks for `name`, or for none.
    #[must_use]
    pub fn certificate(&self, name: Option<&str>) -> Option<&(Certificate, Arc<Pair>)> {
        self.certificates.get(self.server.certificates().position(name)?)
    }

    /// The certificates, each with what was read or made for it.
    #[must_use]
    pub fn certificates(&self) -> &[(Certificate, Arc<Pair>)] {
        &self.certificates
    }

    /// When each of its certificates expires, by name.
    pub(super) fn expiries(&self, listener: &Arc<str>) -> impl Iterator<Item = CertificateExpiry> {
        // Of two certificates for one name, the one that expires first.
        let mut by_name: HashMap<String, u64> = HashMap::new();
        // One that stands in for another says nothing of it: no figure instead of a healthy one.
        let stands_in = |it: &Certificate| matches!(it, Certificate::Acme { pair: None, .. });
        for (_, pair) in self.certificates.iter().filter(|(it, _)| !stands_in(it)) {
            let unix_s = pair.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            for name in &pair.names {
                let first = by_name.entry(name.to_string()).or_insert(unix_s);
                *first = unix_s.min(*first);
            }
        }
        let listener = listener.clone();
        by_name.into_iter().map(move |(name, unix_s)| CertificateExpiry {
            listener: listener.clone(),
            name,
            unix_s,
        })
    }
}

/// The rules that may apply on `listener`, its own first, and which of them hold for clients of a
/// virtual host, where those are not the listener's.
fn rules_of_hosts(
    listener: &Listener,
    tls: &Tls,
    hosts: &[VirtualHost],
) -> (Vec<Option<Arc<ClientAuth>>>, HashMap<usize, usize>) {
    let mut all: Vec<Option<Arc<ClientAuth>>> = vec![tls.clients.clone()];
    let mut rules = HashMap::new();
    let served =
        |index: &usize| listener.virtual_hosts.as_ref().is_none_or(|served| served.contains(index));
    for index in (0..hosts.len()).filter(served) {
        let Some(own) = &hosts[index].clients else { continue };
        let known = all.iter().position(|it| it.as_ref().is_some_and(|it| it.id() == own.id()));
        let position = known.unwrap_or_else(|| {
            all.push(Some(own.clone()));
            all.len() - 1
        });
        rules.insert(index, position);
    }
    (all, rules)
}

fn alpn(protocols: Protocols) -> Vec<Vec<u8>> {
    let http2 = protocols.http2.then(|| b"h2".to_vec());
    let http1 = protocols.http1.then(|| b"http/1.1".to_vec());
    http2.into_iter().chain(http1).collect()
}

/// What `certificate` names, or makes unless one was made before.
fn pair_of(
    certificate: &Certificate,
    previous: &[Option<Arc<ListenerTls>>],
) -> anyhow::Result<Pair> {
    match certificate {
        Certificate::Files { pair, .. } | Certificate::Acme { pair: Some(pair), .. } => {
            Ok(Pair::clone(pair))
        }
        // Until there is one: a handshake that a client may refuse says more than none.
        Certificate::SelfSigned { domains } | Certificate::Acme { domains, .. } => {
            let now = SystemTime::now();
            let made = previous.iter().flatten().flat_map(|tls| &tls.certificates);
            let made = made.into_iter().find(|(it, pair)| {
                is_made_for(it, domains) && pair.not_after > now + SELF_SIGNED_RENEWED
            });
            if let Some((_, pair)) = made {
                return Ok(Pair::clone(pair));
            }
            self_signed(domains, now, &sallyport_tls::provider()).map_err(anyhow::Error::msg)
        }
    }
}

/// Whether `certificate` is one of our own for these domains.
fn is_made_for(certificate: &Certificate, domains: &[String]) -> bool {
    match certificate {
        Certificate::SelfSigned { domains: same }
        | Certificate::Acme { domains: same, pair: None, .. } => same == domains,
        _ => false,
    }
}
