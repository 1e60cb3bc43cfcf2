//! `sticky:` of an upstream and of a split.

use sallyport_config::spec;
use sallyport_config::spec::scalar::{CookieName, Duration};
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;

use crate::config::sticky::{Secret, Sticky};

/// Where a client may choose its variant itself, it need not be kept from it: a cookie of a split
/// is signed with this unless a secret is named.
const NO_SECRET: &[u8] = b"sallyport: a split without a secret";

/// Resolves the cookie of an upstream, which names an endpoint: that is for this gateway to say.
pub(super) fn of_upstream(
    spec: &spec::Sticky,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Sticky> {
    let secret = secret(&spec.secret_file, place, files, sink)?;
    Some(sticky(&spec.cookie, spec.ttl, secret))
}

/// Resolves the cookie of a split.
pub(super) fn of_split(
    spec: &spec::StickySplit,
    place: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Sticky> {
    let secret = match &spec.secret_file {
        Some(file) => secret(file, place, files, sink)?,
        None => Secret::new(NO_SECRET),
    };
    Some(sticky(&spec.cookie, spec.ttl, secret))
}

fn sticky(cookie: &CookieName, ttl: Option<Duration>, secret: Secret) -> Sticky {
    Sticky { cookie: cookie.0.clone(), ttl: ttl.map(|time| time.0), secret }
}

/// Reads the file under `secret_file` of what stands at `around`.
fn secret(
    file: &str,
    around: &Place<'_>,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<Secret> {
    let place = Place::Key(around, "secret_file");
    let (path, bytes) = files.file(file, &place, sink)?;
    let bytes = bytes.trim_ascii();
    if bytes.len() < Secret::BYTES_MIN {
        let what = format!("{} has {} bytes, too few for a secret", path.display(), bytes.len());
        return place.refuse(sink, what, "make one: `openssl rand -base64 32 > FILE`");
    }
    Some(Secret::new(bytes))
}
