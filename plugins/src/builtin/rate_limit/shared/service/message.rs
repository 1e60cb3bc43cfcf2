//! The messages of Envoy's rate limit service, `envoy.service.ratelimit.v3`, as far as they are used
//! here, in the frames of gRPC. Fields that are not declared are skipped.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// What is called.
pub(super) const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Bytes before a message: whether it is compressed, and how long it is.
const FRAME_BYTES: usize = 5;

#[derive(Clone, PartialEq, Message)]
pub(super) struct RateLimitRequest {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) descriptors: Vec<Descriptor>,
    #[prost(uint32, tag = "3")]
    pub(super) hits_addend: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// `RateLimitResponse.Code.OK`.
pub(super) const OK: i32 = 1;
/// `RateLimitResponse.Code.OVER_LIMIT`.
pub(super) const OVER_LIMIT: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    pub(super) overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    pub(super) statuses: Vec<DescriptorStatus>,
    #[prost(message, repeated, tag = "3")]
    pub(super) response_headers_to_add: Vec<HeaderField>,
    #[prost(message, repeated, tag = "4")]
    pub(super) request_headers_to_add: Vec<HeaderField>,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) raw_body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DescriptorStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) current_limit: Option<CurrentLimit>,
    #[prost(uint32, tag = "3")]
    pub(super) limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    pub(super) duration_until_reset: Option<Span>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CurrentLimit {
    #[prost(uint32, tag = "1")]
    pub(super) requests_per_unit: u32,
    #[prost(int32, tag = "2")]
    pub(super) unit: i32,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Span {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HeaderField {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) raw_value: Bytes,
}

impl CurrentLimit {
    /// The seconds of its unit; `None` where the service does not say.
    pub(super) fn unit_s(self) -> Option<u64> {
        const DAY: u64 = 86_400;
        match self.unit {
            1 => Some(1),
            2 => Some(60),
            3 => Some(3600),
            4 => Some(DAY),
            5 => Some(30 * DAY),
            6 => Some(365 * DAY),
            7 => Some(7 * DAY),
            _ => None,
        }
    }
}

impl Span {
    /// In nanoseconds; 0 where it is negative.
    pub(super) fn ns(self) -> u64 {
        let whole = u64::try_from(self.seconds).unwrap_or(0).saturating_mul(1_000_000_000);
        whole.saturating_add(u64::try_from(self.nanos).unwrap_or(0))
    }
}

/// `message` in its frame.
pub(super) fn framed(message: &RateLimitRequest) -> Bytes {
    let bytes = message.encoded_len();
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + bytes);
    framed.put_u8(0);
    // Heads of requests, which the values come from, are far from 4 GiB.
    framed.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

/// Why there is no answer in a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("the answer is no message")]
    NoMessage,
    #[error("the answer is compressed, which was not asked for")]
    Compressed,
    #[error("the answer cannot be read ({0})")]
    Malformed(#[from] prost::DecodeError),
}

/// Reads the message in a body.
///
/// # Errors
/// If there is none, or more.
pub(super) fn unframed(body: &Bytes) -> Result<RateLimitResponse, AnswerError> {
    let (frame, message) = body.split_at_checked(FRAME_BYTES).ok_or(AnswerError::NoMessage)?;
    let length = frame[1..].iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
    if length != message.len() {
        return Err(AnswerError::NoMessage);
    }
    if frame[0] != 0 {
        return Err(AnswerError::Compressed);
    }
    Ok(RateLimitResponse::decode(body.slice(FRAME_BYTES..))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_as_protocol_buffers_say() {
        let entry = Entry { key: "a".into(), value: "b".into() };
        let request = RateLimitRequest {
            domain: "d".into(),
            descriptors: vec![Descriptor { entries: vec![entry] }],
            hits_addend: 3,
        };
        let bytes = b"\0\0\0\0\x0f\x0a\x01d\x12\x08\x0a\x06\x0a\x01a\x12\x01b\x18\x03";
        assert_eq!(&framed(&request)[..], bytes);
    }

    #[test]
    fn whatever_is_no_message_is_an_error_and_no_panic() {
        let read = |bytes: &'static [u8]| unframed(&Bytes::from_static(bytes));
        assert_eq!(read(b"\0\0\0\0\x02\x08\x02").unwrap().overall_code, OVER_LIMIT);
        // A field that is not known is skipped.
        assert_eq!(read(b"\0\0\0\0\x05\x08\x01\xba\x06\0").unwrap().overall_code, OK);
        assert_eq!(read(b"\0\0\0\0\0").unwrap(), RateLimitResponse::default());
        assert_eq!(read(b""), Err(AnswerError::NoMessage));
        assert_eq!(read(b"\0\0\0\0\x03\x08\x02"), Err(AnswerError::NoMessage));
        assert_eq!(read(b"\0\xff\xff\xff\xff\x08\x02"), Err(AnswerError::NoMessage));
        assert_eq!(read(b"\x01\0\0\0\x02\x08\x02"), Err(AnswerError::Compressed));
        assert!(matches!(read(b"\0\0\0\0\x02\x0a\xff"), Err(AnswerError::Malformed(_))));
    }

    #[test]
    fn times_are_never_negative() {
        assert_eq!(Span { seconds: 1, nanos: 5 }.ns(), 1_000_000_005);
        assert_eq!(Span { seconds: -1, nanos: -5 }.ns(), 0);
        assert_eq!(Span { seconds: i64::MAX, nanos: 1 }.ns(), u64::MAX);
    }
}
