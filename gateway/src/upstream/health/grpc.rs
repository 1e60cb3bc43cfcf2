//! gRPC's health checking protocol (`grpc.health.v1`): one message there, one back.

use bytes::{BufMut as _, Bytes, BytesMut};

/// What is asked.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes before a message: whether it is compressed, and how long it is.
const FRAME_BYTES: usize = 5;

/// `HealthCheckRequest.service`, a string.
const SERVICE_TAG: u8 = 1 << 3 | 2;
/// `HealthCheckResponse.status`, a number.
const STATUS_FIELD: u64 = 1;
/// The status that is healthy.
const SERVING: u64 = 1;

/// The request for `service`, in its frame. An empty name means the server as a whole.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE_TAG);
        put_number(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + message.len());
    framed.put_u8(0);
    // A name is at most as long as a configuration file.
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

fn put_number(into: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        into.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    into.put_u8(number as u8);
}

/// Reads the response's body.
///
/// # Errors
/// What the service says of itself, if that is not that it serves; or that it says nothing readable.
pub(super) fn judge(body: &[u8]) -> Result<(), &'static str> {
    const UNREADABLE: &str = "answering with no health message";
    let (frame, message) = body.split_at_checked(FRAME_BYTES).ok_or(UNREADABLE)?;
    if frame[0] != 0 {
        return Err("answering in a compressed message");
    }
    match status(message).ok_or(UNREADABLE)? {
        SERVING => Ok(()),
        2 => Err("not serving"),
        3 => Err("unknown to the server"),
        _ => Err("of unknown status"),
    }
}

/// The status in a message; a field that is left out is 0.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = number(&mut message)?;
        match (tag >> 3, tag & 7) {
            (STATUS_FIELD, 0) => status = number(&mut message)?,
            (_, 0) => _ = number(&mut message)?,
            (_, 1) => message = message.get(8..)?,
            (_, 5) => message = message.get(4..)?,
            (_, 2) => {
                let bytes = usize::try_from(number(&mut message)?).ok()?;
                message = message.get(bytes..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_framed() {
        assert_eq!(request(""), [0, 0, 0, 0, 0][..]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b'][..]);
        let long = "x".repeat(200);
        assert_eq!(request(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_serving_is_healthy() {
        for (message, healthy) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], true),
            (&[0, 0, 0, 0, 2, 8, 2], false),
            (&[0, 0, 0, 0, 2, 8, 3], false),
            (&[0, 0, 0, 0, 0], false),
            (&[1, 0, 0, 0, 2, 8, 1], false),
            (&[0, 0, 0, 0, 6, 0x12, 1, b'x', 0x18, 7, 8, 1][..], true),
            (&[0, 0], false),
            (&[0, 0, 0, 0, 2, 8, 0xff], false),
            (&[0, 0, 0, 0, 2, 0x12, 0xff], false),
            (&[], false),
        ] {
            assert_eq!(judge(message).is_ok(), healthy, "{message:?}");
        }
    }

    #[test]
    fn no_answer_panics() {
        for length in 0..20 {
            for _ in 0..2_000 {
                let bytes: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
                _ = judge(&bytes);
            }
        }
    }
}
