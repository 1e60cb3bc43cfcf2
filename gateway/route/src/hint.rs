//! What a packet classifier in front said of a client, and what a route may ask of it.
//!
//! Plain data: where hints come from is the gateway's business. A request without hints matches no
//! route that asks for any, whatever it asks.

use std::fmt;
use std::sync::Arc;

use crate::client::ClientCertificate;

/// What is known of a client before its request is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The network its address belongs to.
    pub network: Option<Arc<str>>,
    /// The zone its packets came in by.
    pub zone: Option<Arc<str>>,
    /// What the connection's first payload was.
    pub protocol: Option<&'static str>,
    /// The screens that its packets tripped lately.
    pub screens: Box<[&'static str]>,
    /// SYNs a second from its address.
    pub syn_rate: u32,
    /// The JA4 fingerprint of its TLS hello.
    pub ja4: Option<Arc<str>>,
    /// The certificate that it has shown.
    pub client: Option<Arc<ClientCertificate>>,
}

/// What a route asks of hints: everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HintMatch {
    /// The network.
    pub network: Option<Box<str>>,
    /// The zone.
    pub zone: Option<Box<str>>,
    /// The protocol.
    pub protocol: Option<Box<str>>,
    /// Screens of which one must have been tripped; none are asked for when empty.
    pub screens: Vec<Box<str>>,
    /// SYNs a second that must be exceeded.
    pub syn_rate_above: Option<u32>,
    /// The JA4 fingerprint.
    pub ja4: Option<Box<str>>,
}

/// The first part of a [`HintMatch`] that did not hold.
///
/// `Display` gives a clause such as `hint network is not office`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HintMismatch {
    /// Nothing is known of the client.
    Unknown,
    /// It is of another network, or of none.
    Network(Box<str>),
    /// It is of another zone, or of none.
    Zone(Box<str>),
    /// It speaks another protocol, or did not say yet.
    Protocol(Box<str>),
    /// It tripped none of these screens.
    Screens(Vec<Box<str>>),
    /// It does not send more SYNs a second than this.
    SynRate(u32),
    /// It has another JA4 fingerprint, or none.
    Ja4(Box<str>),
}

impl HintMatch {
    /// Whether all of it holds. Does not allocate.
    #[must_use]
    pub fn holds(&self, hints: Option<&Hints>) -> bool {
        let Some(hints) = hints else { return false };
        is(self.network.as_deref(), hints.network.as_deref())
            && is(self.zone.as_deref(), hints.zone.as_deref())
            && is(self.protocol.as_deref(), hints.protocol)
            && self.screens_hold(hints)
            && self.syn_rate_holds(hints)
            && is(self.ja4.as_deref(), hints.ja4.as_deref())
    }

    /// The first part that does not hold, or `None` when all of it does.
    #[must_use]
    pub fn mismatch(&self, hints: Option<&Hints>) -> Option<HintMismatch> {
        let Some(hints) = hints else { return Some(HintMismatch::Unknown) };
        let other = |asked: &Option<Box<str>>, found: Option<&str>| {
            asked.clone().filter(|asked| !is(Some(asked), found))
        };
        other(&self.network, hints.network.as_deref())
            .map(HintMismatch::Network)
            .or_else(|| other(&self.zone, hints.zone.as_deref()).map(HintMismatch::Zone))
            .or_else(|| other(&self.protocol, hints.protocol).map(HintMismatch::Protocol))
            .or_else(|| {
                (!self.screens_hold(hints)).then(|| HintMismatch::Screens(self.screens.clone()))
            })
            .or_else(|| {
                self.syn_rate_above
                    .filter(|_| !self.syn_rate_holds(hints))
                    .map(HintMismatch::SynRate)
            })
            .or_else(|| other(&self.ja4, hints.ja4.as_deref()).map(HintMismatch::Ja4))
    }

    fn screens_hold(&self, hints: &Hints) -> bool {
        self.screens.is_empty()
            || self.screens.iter().any(|asked| hints.screens.iter().any(|found| **asked == **found))
    }

    fn syn_rate_holds(&self, hints: &Hints) -> bool {
        self.syn_rate_above.is_none_or(|above| hints.syn_rate > above)
    }
}

fn is(asked: Option<&str>, found: Option<&str>) -> bool {
    asked.is_none() || asked == found
}

/// A clause for each part, such as `hint network office, hint syn_rate above 100`.
impl fmt::Display for HintMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            [("network", &self.network), ("zone", &self.zone), ("protocol", &self.protocol)];
        let named = named.into_iter().filter_map(|(key, asked)| Some((key, asked.as_deref()?)));
        let mut clauses: Vec<String> =
            named.map(|(key, asked)| format!("hint {key} {asked}")).collect();
        if !self.screens.is_empty() {
            clauses.push(format!("hint screens {}", self.screens.join(" or ")));
        }
        clauses.extend(self.syn_rate_above.map(|above| format!("hint syn_rate above {above}")));
        clauses.extend(self.ja4.as_ref().map(|asked| format!("hint ja4 {asked}")));
        f.write_str(&clauses.join(", "))
    }
}

impl fmt::Display for HintMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there are no hints"),
            Self::Network(asked) => write!(f, "hint network is not {asked}"),
            Self::Zone(asked) => write!(f, "hint zone is not {asked}"),
            Self::Protocol(asked) => write!(f, "hint protocol is not {asked}"),
            Self::Screens(asked) => {
                write!(f, "hint screens have none of {}", asked.join(", "))
            }
            Self::Ja4(asked) => write!(f, "hint ja4 is not {asked}"),
            Self::SynRate(above) => write!(f, "hint syn_rate is not above {above}"),
        }
    }
}

#[cfg(test)]
mod tests;
