//! gRPC-web: gRPC for clients that see no trailers, browsers above all.
//!
//! Messages are framed as gRPC's own. What differs is the content type, the trailers, which are a last frame of
//! the response's body, and the `-text` form, whose bodies are base64. Here it becomes gRPC on the way to an
//! origin of HTTP/2, and gRPC-web again on the way back. Which origins a browser's page may ask is for the `cors`
//! filter to say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};

use crate::proxy::fields::write_field;

const PREFIX: &[u8] = b"application/grpc-web";

/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// How a client of gRPC-web writes and reads bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Web {
    /// Whether the request's body is base64.
    is_request_text: bool,
    /// Whether the response's is to be.
    is_response_text: bool,
}

/// Characters of base64 that wait for the rest of their four.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct Decoder {
    waiting: [u8; 4],
    length: u8,
}

/// The body is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct NotBase64;

impl Web {
    /// What `headers` of a request say; `None` if it is no gRPC-web.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let is_request_text = is_text(headers.get(header::CONTENT_TYPE)?)?;
        let accepted = headers.get(header::ACCEPT).and_then(is_text);
        Some(Self { is_request_text, is_response_text: accepted.unwrap_or(is_request_text) })
    }

    /// The content type of the gateway's own answers.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self.is_response_text {
            true => "application/grpc-web-text+proto",
            false => "application/grpc-web+proto",
        })
    }

    /// Makes the fields of a request those of gRPC.
    pub(in crate::proxy) fn ask(self, headers: &mut HeaderMap) {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let kind = [b"application/grpc", suffix(kind)].concat();
        if let Ok(kind) = HeaderValue::from_bytes(&kind) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        if self.is_request_text {
            headers.remove(header::CONTENT_LENGTH);
        }
    }

    /// Makes the head of gRPC's response one of gRPC-web. Returns whether it is gRPC's at all.
    pub(in crate::proxy) fn respond(self, headers: &mut HeaderMap) -> bool {
        let Some(kind) = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) else {
            return false;
        };
        let Some(suffix) = kind.strip_prefix(b"application/grpc") else { return false };
        if !matches!(suffix.first(), None | Some(b'+' | b';' | b' ')) {
            return false;
        }
        let form = if self.is_response_text { &b"-text"[..] } else { b"" };
        if let Ok(kind) = HeaderValue::from_bytes(&[PREFIX, form, suffix].concat()) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        // The trailers follow, and base64 is longer.
        headers.remove(header::CONTENT_LENGTH);
        true
    }

    /// Reads a piece of a request's body, the last one if `end`.
    pub(in crate::proxy) fn read(
        self,
        body: &mut Option<Bytes>,
        end: bool,
        decoder: &mut Decoder,
    ) -> Result<(), NotBase64> {
        if !self.is_request_text {
            return Ok(());
        }
        if let Some(text) = body {
            *text = decoder.decode(text)?;
        }
        if end && decoder.length > 0 {
            return Err(NotBase64);
        }
        Ok(())
    }

    /// Writes a piece of a response's body. Each is base64 of its own, padded, so that no message waits for
    /// the next one.
    pub(in crate::proxy) fn write(self, body: &mut Option<Bytes>) {
        if let Some(data) = body.as_mut().filter(|_| self.is_response_text) {
            *data = STANDARD.encode(&data).into();
        }
    }

    /// The frame that trailers become.
    pub(in crate::proxy) fn trailers(self, trailers: &HeaderMap) -> Bytes {
        let mut block = BytesMut::new();
        for (name, value) in trailers {
            write_field(name.as_str().as_bytes(), value, &mut block);
        }
        let mut frame = BytesMut::with_capacity(block.len() + 5);
        frame.put_u8(TRAILERS);
        frame.put_u32(u32::try_from(block.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&block);
        let mut frame = Some(frame.freeze());
        self.write(&mut frame);
        frame.unwrap_or_default()
    }
}

/// Whether a media type is gRPC-web's textual one; `None` if it is neither of the two.
fn is_text(kind: &HeaderValue) -> Option<bool> {
    let rest = kind.as_bytes().strip_prefix(PREFIX)?;
    let (is_text, rest) = match rest.strip_prefix(b"-text") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b',' | b' ')).then_some(is_text)
}

/// What follows the form in a content type of gRPC-web, such as `+proto`.
fn suffix(kind: &[u8]) -> &[u8] {
    let rest = kind.strip_prefix(PREFIX).unwrap_or_default();
    rest.strip_prefix(b"-text").unwrap_or(rest)
}

impl Decoder {
    /// Decodes what is whole of `text` and of what waited. Padding may stand wherever a client has flushed.
    fn decode(&mut self, text: &[u8]) -> Result<Bytes, NotBase64> {
        let waited = &self.waiting[..self.length.into()];
        let all = [waited, text].concat();
        let (whole, rest) = all.split_at(all.len() / 4 * 4);
        let mut decoded = Vec::with_capacity(whole.len() / 4 * 3);
        let mut left = whole;
        while !left.is_empty() {
            // To the first four that end with padding.
            let padded = left.chunks(4).position(|four| four[3] == b'=');
            let (part, behind) = left.split_at(padded.map_or(left.len(), |at| (at + 1) * 4));
            STANDARD.decode_vec(part, &mut decoded).map_err(|_| NotBase64)?;
            left = behind;
        }
        self.waiting[..rest.len()].copy_from_slice(rest);
        self.length = rest.len() as u8;
        Ok(decoded.into())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn web(is_request_text: bool, is_response_text: bool) -> Option<Web> {
        Some(Web { is_request_text, is_response_text })
    }

    #[test]
    fn requests_are_known_by_their_content_type_and_answered_as_they_accept() {
        for (kind, accept, expected) in [
            ("application/grpc-web", None, web(false, false)),
            ("application/grpc-web+proto", Some("*/*"), web(false, false)),
            ("application/grpc-web-text", None, web(true, true)),
            ("application/grpc-web-text+proto", Some("application/grpc-web-text"), web(true, true)),
            ("application/grpc-web", Some("application/grpc-web-text"), web(false, true)),
            ("application/grpc-web-text", Some("application/grpc-web+proto"), web(true, false)),
            ("application/grpc-web;charset=x", None, web(false, false)),
            ("application/grpc", None, None),
            ("application/grpc-webby", None, None),
            ("application/json", None, None),
        ] {
            let mut headers = fields(&[("content-type", kind)]);
            if let Some(accept) = accept {
                headers.insert("accept", HeaderValue::from_static(accept));
            }
            assert_eq!(Web::of(&headers), expected, "{kind} {accept:?}");
        }
        assert_eq!(Web::of(&HeaderMap::new()), None);
    }

    #[test]
    fn content_types_keep_what_messages_are_written_in() {
        for (kind, asked, answered) in [
            ("application/grpc-web+proto", "application/grpc+proto", "application/grpc-web+proto"),
            ("application/grpc-web", "application/grpc", "application/grpc-web"),
            (
                "application/grpc-web-text+json",
                "application/grpc+json",
                "application/grpc-web-text+json",
            ),
        ] {
            let mut headers = fields(&[("content-type", kind), ("content-length", "8")]);
            let web = Web::of(&headers).unwrap();
            web.ask(&mut headers);
            assert_eq!(headers["content-type"], asked);
            assert_eq!(headers.contains_key("content-length"), !web.is_request_text);
            assert!(web.respond(&mut headers));
            assert_eq!(headers["content-type"], answered);
            assert!(!headers.contains_key("content-length"));
        }
        let mut page = fields(&[("content-type", "text/html"), ("content-length", "8")]);
        assert!(!web(true, true).unwrap().respond(&mut page));
        assert_eq!(page.len(), 2);
    }

    #[test]
    fn trailers_are_a_frame_of_their_own() {
        let trailers = fields(&[("grpc-status", "0"), ("x-t", "a b")]);
        let frame = web(false, false).unwrap().trailers(&trailers);
        assert_eq!(&frame[..], b"\x80\0\0\0\x1agrpc-status: 0\r\nx-t: a b\r\n");
        let text = web(false, true).unwrap().trailers(&trailers);
        assert_eq!(STANDARD.decode(text).unwrap(), frame);
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        let web = web(true, true).unwrap();
        for text in ["a", "ab=", "ab?=", "=abc", "abc", "\u{e9}bcd", "a===", "ab\r\n"] {
            let mut body = Some(Bytes::from(text));
            let read = web.read(&mut body, true, &mut Decoder::default());
            assert_eq!(read, Err(NotBase64), "{text:?}");
        }
    }

    proptest! {
        /// However a body is flushed and cut, it comes out as it was.
        #[test]
        fn bodies_come_out_as_they_were(
            flushed in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in 1_usize..9,
        ) {
            let web = web(true, true).unwrap();
            let mut text = Vec::new();
            for data in &flushed {
                let mut body = Some(Bytes::from(data.clone()));
                web.write(&mut body);
                text.extend_from_slice(&body.unwrap());
            }
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for piece in text.chunks(cuts) {
                let mut body = Some(Bytes::copy_from_slice(piece));
                web.read(&mut body, false, &mut decoder).unwrap();
                read.extend_from_slice(&body.unwrap());
            }
            prop_assert_eq!(web.read(&mut None, true, &mut decoder), Ok(()));
            prop_assert_eq!(read, flushed.concat());
        }
    }
}
