//! Any bytes as what an origin sends: no panic, and the same response whatever pieces they come in.
//!
//! The first byte of the input says how long the pieces are, the second what was asked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport_http1::{HeadLimits, ResponseEvent, ResponseReader, fields};

const LIMITS: HeadLimits = HeadLimits { bytes: 1 << 14, fields: 50 };

#[derive(Debug, PartialEq)]
struct Read {
    statuses: Vec<u16>,
    data: Vec<u8>,
    taken: usize,
    refused: bool,
    persists: bool,
    cut: bool,
}

fuzz_target!(|input: &[u8]| {
    let [step, asked, bytes @ ..] = input else { return };
    let method = if asked % 2 == 0 { &b"GET"[..] } else { b"HEAD" };
    let whole = read(method, bytes, bytes.len().max(1));
    assert_eq!(whole, read(method, bytes, usize::from(*step).max(1)));
    assert!(!whole.persists || !whole.refused);
});

fn read(method: &[u8], bytes: &[u8], step: usize) -> Read {
    let mut reader = ResponseReader::new(method, LIMITS);
    let (mut statuses, mut data, mut taken, mut refused) = (Vec::new(), Vec::new(), 0, false);
    let ends = (step..bytes.len()).step_by(step).chain([bytes.len()]);
    'all: for end in ends {
        while !reader.is_done() {
            match reader.read(&bytes[taken..end]) {
                Ok(ResponseEvent::More) => break,
                Ok(ResponseEvent::Head(head)) => {
                    for field in fields(&bytes[taken..taken + head.bytes], head.fields) {
                        assert!(!field.name.is_empty());
                    }
                    statuses.push(head.status);
                    taken += head.bytes;
                }
                Ok(ResponseEvent::Body(piece)) => {
                    taken += piece.bytes();
                    data.extend_from_slice(&bytes[taken - piece.data..taken]);
                    if piece.data == 0 {
                        break;
                    }
                }
                Err(_) => {
                    refused = true;
                    break 'all;
                }
            }
        }
    }
    if refused {
        // Where in the head it was noticed depends on how much of it was there.
        return Read { statuses, data, taken: 0, refused, persists: false, cut: true };
    }
    let persists = reader.persists();
    Read { statuses, data, taken, refused, persists, cut: reader.end().is_err() }
}
