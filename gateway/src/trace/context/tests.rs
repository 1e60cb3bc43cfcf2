use http::{HeaderMap, HeaderValue};
use proptest::prelude::{any, proptest};
use sallyport_plugin::TraceContext;

use super::{Sample, TRACEPARENT, TRACESTATE, read, trace_state, traceparent};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn headers(lines: &[&str]) -> HeaderMap {
    let line = |line: &&str| (TRACEPARENT, HeaderValue::from_str(line).unwrap());
    lines.iter().map(line).collect()
}

#[test]
fn what_the_standard_has_is_read() {
    let span = |is_sampled| TraceContext {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 0x00f0_67aa_0ba9_02b7,
        is_sampled,
    };
    for (text, found) in [
        (format!("00-{TRACE}-{SPAN}-01"), Some(span(true))),
        (format!("00-{TRACE}-{SPAN}-00"), Some(span(false))),
        (format!("00-{TRACE}-{SPAN}-03"), Some(span(true))),
        (format!("01-{TRACE}-{SPAN}-01"), Some(span(true))),
        (format!("cc-{TRACE}-{SPAN}-01-what.the.future"), Some(span(true))),
        (format!("00-{TRACE}-{SPAN}-01-more"), None),
        (format!("cc-{TRACE}-{SPAN}-01.more"), None),
        (format!("ff-{TRACE}-{SPAN}-01"), None),
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        (format!("00-{TRACE}-{SPAN}-0"), None),
        (format!("00-{TRACE}-{SPAN}-0x"), None),
        (format!("00_{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}_{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}_01"), None),
        (format!(" 00-{TRACE}-{SPAN}-01"), None),
        (String::new(), None),
    ] {
        assert_eq!(read(&headers(&[&text])), found, "{text:?}");
    }
    let good = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(read(&headers(&[&good, &good])), None, "two are none");
    assert_eq!(read(&HeaderMap::new()), None);
}

#[test]
fn a_state_is_one_list_and_bounded() {
    let mut headers = HeaderMap::new();
    assert_eq!(trace_state(&headers), "");
    headers.append(TRACESTATE, HeaderValue::from_static("a=1,b=2"));
    headers.append(TRACESTATE, HeaderValue::from_static("c=3"));
    assert_eq!(trace_state(&headers), "a=1,b=2,c=3");
    headers.append(TRACESTATE, HeaderValue::from_str(&"x".repeat(512)).unwrap());
    assert_eq!(trace_state(&headers), "");
}

#[test]
fn shares_are_those_of_random_ids() {
    let takes = |share, trace_id| Sample::of_hundred_million(share).takes(trace_id);
    let last = u128::MAX;
    assert!(!takes(0, last) && takes(100_000_000, 0) && takes(1, last) && !takes(99_999_999, 0));
    let mut random = fastrand::Rng::with_seed(1);
    let one_percent = Sample::of_hundred_million(1_000_000);
    let taken = (0..1_000_000).filter(|_| one_percent.takes(random.u128(1..))).count();
    assert!((9_500..10_500).contains(&taken), "{taken}");
}

proptest! {
    #[test]
    fn what_is_written_is_read(trace_id in 1_u128.., span_id in 1_u64.., is_sampled: bool) {
        let span = TraceContext { trace_id, span_id, is_sampled };
        let field = traceparent(&span);
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, field);
        assert_eq!(read(&headers), Some(span));
    }

    #[test]
    fn a_larger_share_takes_what_a_smaller_does(
        trace_id: u128, one in 0_u32..=100_000_000, other in 0_u32..=100_000_000
    ) {
        let takes = |share| Sample::of_hundred_million(share).takes(trace_id);
        assert!(!takes(one.min(other)) || takes(one.max(other)));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, value);
            let found = read(&headers);
            assert!(found.is_none_or(|span| span.trace_id != 0 && span.span_id != 0));
        }
    }
}
