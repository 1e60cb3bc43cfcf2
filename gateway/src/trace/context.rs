//! Which trace a request belongs to, by the fields `traceparent` and `tracestate` (W3C Trace
//! Context, level 1), and which requests are recorded.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sallyport_plugin::TraceContext;

/// The trace, the caller's span and whether it is recorded.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What the systems on the way have to say of the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `VERSION-TRACE-SPAN-FLAGS` of version 0.
const PARENT_BYTES: usize = 55;

/// The longest `tracestate` that is kept with a span: what everybody must pass on.
const STATE_BYTES_MAX: usize = 512;

/// The caller's span, if one and only one `traceparent` says it as the standard has it.
#[must_use]
pub fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let (first, None) = (fields.next()?, fields.next()) else { return None };
    parse(first.as_bytes())
}

fn parse(text: &[u8]) -> Option<TraceContext> {
    let (head, rest) = text.split_at_checked(PARENT_BYTES)?;
    let [version, trace_id, span_id, flags] =
        [0..2, 3..35, 36..52, 53..55].map(|at| hex(&head[at]));
    let version = version?;
    let is_divided = [2, 35, 52].iter().all(|at| head[*at] == b'-');
    // A later version may go on behind another hyphen.
    let is_whole = rest.is_empty() || (version > 0 && rest[0] == b'-');
    if !is_divided || !is_whole || version == 0xff {
        return None;
    }
    let (trace_id, span_id) = (trace_id?, u64::try_from(span_id?).ok()?);
    let is_sampled = flags? & 1 == 1;
    (trace_id != 0 && span_id != 0).then_some(TraceContext { trace_id, span_id, is_sampled })
}

/// The number that lower-case hexadecimal digits stand for; at most 32 of them.
pub(super) fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The field that makes `span` the caller's.
#[must_use]
pub fn traceparent(span: &TraceContext) -> HeaderValue {
    let mut text = Vec::with_capacity(PARENT_BYTES);
    text.extend_from_slice(b"00-");
    push_hex(&mut text, &span.trace_id.to_be_bytes());
    text.push(b'-');
    push_hex(&mut text, &span.span_id.to_be_bytes());
    text.extend_from_slice(if span.is_sampled { b"-01" } else { b"-00" });
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits and hyphens are a field value")
}

pub(super) fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// What `tracestate` says, as a span keeps it; nothing where it is longer than everybody passes on.
#[must_use]
pub fn trace_state(headers: &HeaderMap) -> String {
    let lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    let state = lines.collect::<Vec<_>>().join(",");
    if state.len() <= STATE_BYTES_MAX { state } else { String::new() }
}

/// A share of all traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of 2^56 traces, so many are not recorded.
    rejected: u64,
}

/// The random part of a trace's id, by the specification of consistent probability sampling.
const RANDOM_BITS: u32 = 56;

impl Sample {
    /// None.
    pub const NONE: Self = Self { rejected: 1 << RANDOM_BITS };

    /// This many of a hundred million traces.
    #[must_use]
    pub fn of_hundred_million(share: u32) -> Self {
        let all = 1_u128 << RANDOM_BITS;
        let share = u128::from(share.min(100_000_000));
        let rejected = all - all * share / 100_000_000;
        Self { rejected: u64::try_from(rejected).unwrap_or(u64::MAX) }
    }

    /// Whether the trace is among them: of all systems that decide by the same rule, those with the
    /// larger share record every trace that another does.
    #[must_use]
    pub fn takes(self, trace_id: u128) -> bool {
        (trace_id as u64) & ((1 << RANDOM_BITS) - 1) >= self.rejected
    }
}

/// A new trace's id.
#[must_use]
pub fn new_trace_id() -> u128 {
    fastrand::u128(1..)
}

/// A new span's id.
#[must_use]
pub fn new_span_id() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests;
