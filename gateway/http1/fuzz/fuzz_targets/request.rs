//! Any bytes as requests: no panic, the same whatever pieces they come in, and fields that are
//! where they are said to be.
//!
//! The first byte of the input says how long the pieces are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport_http1::{
    Body, Chunks, Framing, Head, HeadCheck, HeadLimits, Refusal, fields, written_name,
};

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 14, fields: 50 };

fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let step = usize::from(*step).max(1);
    let whole = HeadCheck::default().advance(bytes, LIMITS);
    let pieces = by_pieces(bytes, step);
    // A control character may be noticed before its line is over.
    let malformed = |read: &_| matches!(read, Err(Refusal::Malformed(_)));
    assert!(pieces == whole || (malformed(&pieces) && malformed(&whole)));
    let Ok(Some(head)) = whole else { return };
    check_fields(&bytes[..head.bytes], &head);
    let body = match head.framing {
        Framing::None => Body::EMPTY,
        Framing::Sized(bytes) => Body::Sized(bytes),
        Framing::Chunked => Body::Chunked(Chunks::default()),
    };
    let rest = &bytes[head.bytes..];
    assert_eq!(data(body, rest, rest.len().max(1)), data(body, rest, step));
});

fn by_pieces(bytes: &[u8], step: usize) -> Result<Option<Head>, Refusal> {
    let mut check = HeadCheck::default();
    let ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    for end in ends {
        match check.advance(&bytes[..end], LIMITS) {
            Ok(None) => {}
            read => return read,
        }
    }
    Ok(None)
}

fn check_fields(bytes: &[u8], head: &Head) {
    assert!(bytes[head.method.clone()].iter().all(|byte| byte.is_ascii_graphic()));
    assert!(!head.normal_target(bytes).contains(&b' '));
    for field in fields(bytes, head.fields) {
        let (name, value) = (&bytes[field.name], &bytes[field.value]);
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let lower = String::from_utf8(name.to_ascii_lowercase()).expect("a name is ASCII");
        let written = written_name(bytes, head.fields, &lower, value).expect("it stands there");
        assert!(written == name || value.is_empty());
    }
}

fn data(mut body: Body, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize), &'static str> {
    let (mut data, mut unread, mut taken) = (Vec::new(), Vec::new(), 0);
    for piece in bytes.chunks(step) {
        unread.extend_from_slice(piece);
        while !unread.is_empty() && !body.is_done() {
            let piece = body.gather(&mut unread)?;
            data.extend_from_slice(&unread[..piece.data]);
            unread.drain(..piece.bytes());
            taken += piece.bytes();
        }
    }
    Ok((data, taken))
}
