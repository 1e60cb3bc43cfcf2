//! Secrets and ConfigMaps as the files that a configuration names.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use sallyport_config::delivery::{DeliveredFile, Part};
use sallyport_config::spec::Certificate;
use sallyport_config::spec::scalar::Name;

use super::Draft;
use crate::objects::Key;

/// What a reference to a Secret gives.
pub(super) struct Found {
    /// The certificate, if there is one or was one before.
    pub(super) certificate: Option<Certificate>,
    /// What is wrong with the Secret.
    pub(super) problem: Option<String>,
}

impl Draft<'_> {
    /// The certificate of a Secret, whose files are delivered with it. If the Secret is gone or
    /// broken, the one that it held when it was last used goes on being served: clients know no
    /// better one.
    pub(super) fn certificate(&mut self, key: &Key, origin: &str) -> Found {
        let (pair, problem) = match self.objects.secrets.get(key).map(|secret| &secret.body.0) {
            Some(Ok(pair)) => (Some(pair), None),
            Some(Err(why)) => (self.pairs.get(key), Some(format!("Secret {key} {why}"))),
            None => {
                let what = format!("there is no Secret {key} of type kubernetes.io/tls");
                (self.pairs.get(key), Some(what))
            }
        };
        let certificate = pair.cloned().map(|pair| {
            let stem = format!("{}.{}", key.namespace, key.name);
            let cert = self.file(&stem, "crt", &pair.cert);
            let private = self.file(&stem, "key", &pair.key);
            self.out.pairs.insert(key.clone(), pair);
            self.out.origins.insert(Part::Certificate(cert.0.clone()), origin.into());
            Certificate {
                cert: Some(cert),
                key: Some(private),
                ocsp: None,
                acme: None,
                self_signed: None,
                domains: None,
            }
        });
        Found { certificate, problem }
    }

    /// A file of these bytes; its name says what it holds, so that what changed is another file.
    pub(super) fn file(&mut self, stem: &str, kind: &str, bytes: &[u8]) -> Name {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let name = format!("{stem}.{:016x}.{kind}", hasher.finish());
        let path = self.storage.join(&name).display().to_string();
        self.out.files.push(DeliveredFile { name: name.into(), bytes: bytes.into() });
        path.as_str().into()
    }
}
