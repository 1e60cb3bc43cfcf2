//! `X-Request-Id`: one for every request, the client's where it is harmless.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is kept: a UUID has 36 characters, trace ids are no longer than 64.
const BYTES_MAX: usize = 128;

/// Writes an id unless there is exactly one, which may be kept.
pub(super) fn ensure(headers: &mut HeaderMap) {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let kept = ids.next().is_some_and(is_valid_id) && ids.next().is_none();
    if !kept {
        headers.insert(REQUEST_ID, new_id());
    }
}

/// Kept ids go into logs and queries of other systems: characters that mean something there do not
/// pass.
fn is_valid_id(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(byte))
}

/// 128 random bits: unique enough to join logs, and not a secret.
fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [0; 32];
    for (digits, byte) in id.chunks_exact_mut(2).zip(fastrand::u128(..).to_le_bytes()) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&id).expect("hexadecimal digits are a field value")
}

#[cfg(test)]
mod tests {
    use super::{HeaderValue, is_valid_id, new_id};

    #[test]
    fn ids_are_kept_only_if_harmless() {
        let long = "a".repeat(129);
        for (id, kept) in [
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("550e8400-e29b-41d4-a716-446655440000", true),
            ("1-5759e988-bd862e3fe1be46a994272793", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("${jndi:x}", false),
            (long.as_str(), false),
        ] {
            assert_eq!(is_valid_id(&HeaderValue::from_str(id).unwrap()), kept, "{id}");
        }
    }

    #[test]
    fn new_ids_are_valid_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 32);
        assert!(is_valid_id(&a));
    }
}
