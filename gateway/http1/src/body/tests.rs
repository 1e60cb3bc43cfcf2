use proptest::prelude::*;

use super::*;

/// The data of `bytes`, read in pieces that end at `cuts`, and how many bytes belong to the body.
fn read(mut body: Body, bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, usize), &'static str> {
    let (mut data, mut taken, mut unread) = (Vec::new(), 0, Vec::new());
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        let end = end.clamp(start, bytes.len());
        unread.extend_from_slice(&bytes[start..end]);
        start = end;
        while !unread.is_empty() && !body.is_done() {
            let piece = body.gather(&mut unread)?;
            data.extend_from_slice(&unread[..piece.data]);
            unread.drain(..piece.bytes());
            taken += piece.bytes();
        }
    }
    Ok((data, taken))
}

/// `data` in the frames of `writer`, a piece for each of `cuts`.
fn write(mut writer: BodyWriter, data: &[u8], cuts: &[usize]) -> Result<Vec<u8>, Cut> {
    let (mut bytes, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([data.len()]) {
        let end = end.clamp(start, data.len());
        let frame = writer.frame(end - start);
        bytes.extend_from_slice(frame.before.as_bytes());
        bytes.extend_from_slice(&data[start..start + frame.data]);
        bytes.extend_from_slice(frame.after);
        start = end;
    }
    bytes.extend_from_slice(writer.finish()?);
    Ok(bytes)
}

fn sorted_cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..400usize, 0..12).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_whatever_the_pieces(
        data in prop::collection::vec(any::<u8>(), 0..300),
        written in sorted_cuts(),
        came in sorted_cuts(),
    ) {
        let length = data.len() as u64;
        for (body, writer) in [
            (Body::Sized(length), BodyWriter::Sized(length)),
            (Body::Chunked(Chunks::default()), BodyWriter::Chunked),
        ] {
            let mut bytes = write(writer, &data, &written).unwrap();
            let framed = bytes.len();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            prop_assert_eq!(read(body, &bytes, &came), Ok((data.clone(), framed)));
        }
        let bytes = write(BodyWriter::UntilClose, &data, &written).unwrap();
        prop_assert_eq!(&bytes, &data);
        prop_assert_eq!(read(Body::UntilClose, &bytes, &came), Ok((data, framed_whole(&bytes))));
    }

    #[test]
    fn pieces_of_noise_are_read_as_the_whole_is(
        noise in prop::collection::vec(
            prop::sample::select(b"0123aF;\r\n\t =\"x:\0\xff".to_vec()), 0..80),
        came in sorted_cuts(),
    ) {
        let body = Body::Chunked(Chunks::default());
        prop_assert_eq!(read(body, &noise, &came), read(body, &noise, &[]));
    }
}

fn framed_whole(bytes: &[u8]) -> usize {
    bytes.len()
}

#[test]
fn all_chunks_of_one_read_become_one_piece() {
    let mut bytes = *b"5;x\r\nhello\r\n1\r\n,\r\n4\r\n you";
    let mut body = Body::Chunked(Chunks::default());
    let piece = body.gather(&mut bytes).unwrap();
    assert_eq!(&bytes[..piece.data], b"hello, you");
    assert_eq!(piece.bytes(), bytes.len());
}

#[test]
fn rfc9112_7_1_2_trailers_are_what_a_body_ends_with_however_it_comes() {
    let bytes = b"2;x\r\nhi\r\n3\r\n yo\r\n0\r\nX-A: 1\r\nx-b:2\r\n\r\nHTTP/1.1";
    for size in 1..=bytes.len() {
        let mut body = Body::Chunked(Chunks::default());
        let (mut data, mut trailers, mut unread) = (Vec::new(), Vec::new(), Vec::new());
        for part in bytes.chunks(size) {
            unread.extend_from_slice(part);
            while !unread.is_empty() && !body.is_done() {
                let piece = body.gather(&mut unread).unwrap();
                data.extend_from_slice(&unread[..piece.data]);
                trailers.extend_from_slice(&unread[piece.bytes() - piece.trailers..piece.bytes()]);
                unread.drain(..piece.bytes());
            }
        }
        assert_eq!(data, b"hi yo", "in pieces of {size}");
        assert_eq!(trailers, b"X-A: 1\r\nx-b:2\r\n\r\n", "in pieces of {size}");
    }
}

#[test]
fn rfc9112_8_a_body_that_is_cut_is_told_from_one_that_ended() {
    for (mut body, ended) in [
        (Body::Sized(0), true),
        (Body::Sized(1), false),
        (Body::Chunked(Chunks::default()), false),
        (Body::UntilClose, true),
    ] {
        assert_eq!(body.end().is_ok(), ended, "{body:?}");
        assert_eq!(body.is_done(), ended, "{body:?}");
    }
}

#[test]
fn a_sized_body_is_never_longer_than_announced_and_told_when_shorter() {
    let mut writer = BodyWriter::Sized(4);
    assert_eq!(writer.frame(3).data, 3);
    assert!(!writer.is_done());
    assert_eq!(writer.frame(3).data, 1);
    assert!(writer.is_done());
    assert_eq!(writer.finish(), Ok(&b""[..]));
    assert_eq!(BodyWriter::Sized(1).finish(), Err(Cut));
}

#[test]
fn no_piece_is_written_as_the_last_chunk() {
    let mut writer = BodyWriter::Chunked;
    let nothing = writer.frame(0);
    assert_eq!((nothing.before.as_bytes(), nothing.after), (&b""[..], &b""[..]));
    assert_eq!(writer.frame(0x1a2b).before.as_bytes(), b"1A2B\r\n");
    assert_eq!(writer.frame(usize::MAX).before.as_bytes(), b"FFFFFFFFFFFFFFFF\r\n");
    assert_eq!(writer.finish(), Ok(&b"0\r\n\r\n"[..]));
    assert!(writer.is_done());
    assert_eq!(writer.finish(), Ok(&b""[..]));
}
