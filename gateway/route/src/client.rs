//! What a route may ask of a client's certificate.
//!
//! Plain data, as hints are: that the certificate was verified is the gateway's business.

use std::fmt;

/// A client's certificate, which was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject as RFC 4514 writes it.
    pub subject: Box<str>,
    /// Its names and addresses, without their types.
    pub sans: Vec<Box<str>>,
    /// Its serial number, in upper-case hexadecimal.
    pub serial: Box<str>,
    /// Its SHA-256, in lower-case hexadecimal.
    pub fingerprint: Box<str>,
}

/// What a route asks of a client's certificate: everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientMatch {
    /// Whether there must be one, or must be none.
    pub verified: Option<bool>,
    /// The whole subject.
    pub subject: Option<Box<str>>,
    /// A name or address that it must have.
    pub san: Option<Box<str>>,
}

/// The first part of a [`ClientMatch`] that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMismatch {
    /// There is none.
    Missing,
    /// There is one.
    Present,
    /// It has another subject.
    Subject(Box<str>),
    /// It does not have this name.
    San(Box<str>),
}

impl ClientMatch {
    /// Whether all of it holds. Does not allocate.
    #[must_use]
    pub fn holds(&self, client: Option<&ClientCertificate>) -> bool {
        let Some(client) = client else { return self.asks_for_none() };
        self.verified != Some(false) && self.subject_holds(client) && self.san_holds(client)
    }

    /// The first part that does not hold, or `None` when all of it does.
    #[must_use]
    pub fn mismatch(&self, client: Option<&ClientCertificate>) -> Option<ClientMismatch> {
        let Some(client) = client else {
            return (!self.asks_for_none()).then_some(ClientMismatch::Missing);
        };
        if self.verified == Some(false) {
            return Some(ClientMismatch::Present);
        }
        let subject = self.subject.clone().filter(|_| !self.subject_holds(client));
        let san = || self.san.clone().filter(|_| !self.san_holds(client));
        subject.map(ClientMismatch::Subject).or_else(|| san().map(ClientMismatch::San))
    }

    fn asks_for_none(&self) -> bool {
        self.verified != Some(true) && self.subject.is_none() && self.san.is_none()
    }

    fn subject_holds(&self, client: &ClientCertificate) -> bool {
        self.subject.as_ref().is_none_or(|asked| *asked == client.subject)
    }

    fn san_holds(&self, client: &ClientCertificate) -> bool {
        self.san.as_ref().is_none_or(|asked| client.sans.contains(asked))
    }
}

/// A clause for each part, such as `client certificate, its subject CN=ann`.
impl fmt::Display for ClientMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verified == Some(false) {
            return f.write_str("no client certificate");
        }
        f.write_str("client certificate")?;
        if let Some(subject) = &self.subject {
            write!(f, ", its subject {subject}")?;
        }
        match &self.san {
            Some(san) => write!(f, ", a name of it {san}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ClientMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("client certificate is missing"),
            Self::Present => f.write_str("client certificate is present"),
            Self::Subject(asked) => write!(f, "client certificate's subject is not {asked}"),
            Self::San(asked) => write!(f, "client certificate is not for {asked}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_hold() {
        let ann = ClientCertificate {
            subject: "CN=ann,O=Example".into(),
            sans: vec!["ann.example".into(), "192.0.2.7".into()],
            ..ClientCertificate::default()
        };
        let verified =
            |verified| ClientMatch { verified: Some(verified), ..ClientMatch::default() };
        let subject = |text: &str| ClientMatch { subject: Some(text.into()), ..verified(true) };
        let san = |text: &str| ClientMatch { san: Some(text.into()), ..ClientMatch::default() };
        for (asked, client, why) in [
            (verified(true), Some(&ann), None),
            (verified(true), None, Some("client certificate is missing")),
            (verified(false), None, None),
            (verified(false), Some(&ann), Some("client certificate is present")),
            (subject("CN=ann,O=Example"), Some(&ann), None),
            (subject("CN=ann"), Some(&ann), Some("client certificate's subject is not CN=ann")),
            (subject("CN=ann"), None, Some("client certificate is missing")),
            (san("192.0.2.7"), Some(&ann), None),
            (san("ann"), Some(&ann), Some("client certificate is not for ann")),
            (san("ann"), None, Some("client certificate is missing")),
        ] {
            let found = asked.mismatch(client).map(|mismatch| mismatch.to_string());
            assert_eq!(found.as_deref(), why, "{asked}");
            assert_eq!(asked.holds(client), why.is_none(), "{asked}");
        }
    }
}
