//! The fields of messages as a guest sees them: with what HTTP/2 calls pseudo-header fields, and
//! without power over how a message is framed.

use bytes::Bytes;
use http::uri::{Authority, Parts};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::abi::Status;
use super::scene::{Phase, Scene};
use crate::exchange::set_path;
use crate::filter::body_changes;

/// Fields that frame a message or belong to one connection: RFC 9110, 7.6.1, and RFC 9112, 6.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The longest value, longer than what servers commonly take for a whole head.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Fields of one message, more than servers commonly take.
const FIELDS_MAX: usize = 1000;

/// What begins the names of the gateway's own fields.
const OURS: &str = "x-sallyport-";

/// A message on stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
    Trailers,
}

/// Whether guests may not write the field.
pub(super) fn is_framing(name: &str) -> bool {
    FRAMING.contains(&name) || name.starts_with(OURS)
}

/// The field's name and value, if they are such.
pub(super) fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

/// The value of a field of `headers`; several are joined.
pub(super) fn joined(headers: &HeaderMap, name: &[u8]) -> Option<HeaderValue> {
    let name = std::str::from_utf8(name).ok()?;
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.clone()) };
    let mut all = [first.as_bytes(), b",", second.as_bytes()].concat();
    for value in values {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(Bytes::from(all)).ok()
}

impl Scene {
    /// The fields of `message`.
    pub(super) fn fields(&self, message: Message) -> &HeaderMap {
        match message {
            Message::Request => &self.request.headers,
            Message::Response => &self.response.headers,
            Message::Trailers => &self.trailers,
        }
    }

    fn fields_mut(&mut self, message: Message) -> &mut HeaderMap {
        match message {
            Message::Request => &mut self.request.headers,
            Message::Response => &mut self.response.headers,
            Message::Trailers => &mut self.trailers,
        }
    }

    /// Shows `see` every field.
    pub(super) fn each(&self, message: Message, mut see: impl FnMut(&[u8], &[u8])) {
        match message {
            Message::Request => {
                see(b":method", self.request.method.as_str().as_bytes());
                see(b":path", self.path().as_bytes());
                see(b":authority", self.authority());
                see(b":scheme", self.scheme().as_bytes());
            }
            Message::Response => see(b":status", self.response.status.as_str().as_bytes()),
            Message::Trailers => {}
        }
        for (name, value) in self.fields(message) {
            if !self.is_hidden(message, name) {
                see(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }

    /// The number of fields.
    pub(super) fn count(&self, message: Message) -> u32 {
        let pseudo = match message {
            Message::Request => 4,
            Message::Response => 1,
            Message::Trailers => 0,
        };
        let fields = self.fields(message);
        let host = message == Message::Request && fields.contains_key(header::HOST);
        u32::try_from(fields.len() + pseudo - usize::from(host)).unwrap_or(u32::MAX)
    }

    /// The number of fields of the message that a phase is about.
    pub(super) fn count_of(&self, phase: Phase) -> u32 {
        self.count(match phase {
            Phase::ResponseHeaders => Message::Response,
            Phase::ResponseTrailers => Message::Trailers,
            _ => Message::Request,
        })
    }

    /// The value of a field; several are joined.
    pub(super) fn field(&self, message: Message, name: &[u8]) -> Option<HeaderValue> {
        let text = |text: &[u8]| HeaderValue::from_bytes(text).ok();
        match (message, name) {
            (Message::Request, b":method") => text(self.request.method.as_str().as_bytes()),
            (Message::Request, b":path") => text(self.path().as_bytes()),
            (Message::Request, b":authority" | b"host") => text(self.authority()),
            (Message::Request, b":scheme") => text(self.scheme().as_bytes()),
            (Message::Response, b":status") => text(self.response.status.as_str().as_bytes()),
            _ => joined(self.fields(message), name).filter(|_| {
                let length = name.eq_ignore_ascii_case(b"content-length");
                !(length && message == Message::Request && self.marks.request_body_changes)
            }),
        }
    }

    /// Writes a field, in place of what there is under its name or beside it. What guests may not
    /// write stays as it is.
    ///
    /// # Errors
    /// If the name or the value is none.
    pub(super) fn write(
        &mut self,
        message: Message,
        name: &[u8],
        value: &[u8],
        add: bool,
    ) -> Result<(), Status> {
        if name.first() == Some(&b':') || message == Message::Request && is_host(name) {
            self.write_pseudo(message, name, value);
            return Ok(());
        }
        let (name, value) = field(name, value).ok_or(Status::BadArgument)?;
        if is_framing(name.as_str()) {
            return Ok(());
        }
        let fields = self.fields_mut(message);
        if fields.len() >= FIELDS_MAX && (add || !fields.contains_key(&name)) {
            return Err(Status::Internal);
        }
        if add {
            fields.append(name, value);
        } else {
            fields.insert(name, value);
        }
        Ok(())
    }

    /// Removes a field. Without its `Content-Length`, a message's body may change its length.
    pub(super) fn remove(&mut self, message: Message, name: &[u8]) {
        let Ok(name) = HeaderName::from_bytes(name) else { return };
        if name == header::CONTENT_LENGTH {
            self.free_length(message);
            return;
        }
        let is_host = message == Message::Request && is_host_name(&name);
        if !is_host && !is_framing(name.as_str()) {
            self.fields_mut(message).remove(name);
        }
    }

    /// Writes all fields anew; those that guests may not write stay.
    pub(super) fn write_all(&mut self, message: Message, pairs: &[(&[u8], &[u8])]) {
        let names: Vec<HeaderName> = self.fields(message).keys().cloned().collect();
        for name in names {
            let kept = pairs.iter().any(|(key, _)| key.eq_ignore_ascii_case(name.as_ref()));
            // A length that is left out is a length that is taken away.
            if name != header::CONTENT_LENGTH || !kept {
                self.remove(message, name.as_ref());
            }
        }
        for (name, value) in pairs {
            // As a client's fields are: one that is none is left out.
            if self.write(message, name, value, true).is_err() {
                tracing::debug!("a guest wrote what is no field");
            }
        }
    }

    fn free_length(&mut self, message: Message) {
        match (message, self.phase) {
            (Message::Request, Phase::RequestHeaders) => {
                let length = self.request.headers.get(header::CONTENT_LENGTH);
                self.marks.request_body_changes |= length.is_some_and(|length| length != "0");
            }
            (Message::Response, Phase::ResponseHeaders) => {
                let has_body =
                    may_have_body(self.response.status) && self.request.method != Method::HEAD;
                if has_body && self.response.headers.contains_key(header::CONTENT_LENGTH) {
                    body_changes(&mut self.response);
                }
            }
            _ => {}
        }
    }

    fn is_hidden(&self, message: Message, name: &HeaderName) -> bool {
        message == Message::Request
            && (is_host_name(name)
                || self.marks.request_body_changes && name == header::CONTENT_LENGTH)
    }

    /// What cannot be is left as it is: the ABI has no way to say so that guests would survive.
    fn write_pseudo(&mut self, message: Message, name: &[u8], value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        match (message, name) {
            (Message::Request, b":path") => self.write_path(text),
            (Message::Request, b":method") => self.write_method(text),
            (Message::Request, b":authority" | b"host") => self.write_authority(text),
            (Message::Response, b":status") => self.write_status(text),
            _ => {}
        }
    }

    fn write_path(&mut self, text: &str) {
        if set_path(&mut self.request, &mut self.marks, text).is_err() {
            tracing::debug!("a guest wrote what is no path");
        }
    }

    /// `HEAD` and `CONNECT` frame the response: they neither come nor go.
    fn write_method(&mut self, text: &str) {
        let frames = |method: &Method| method == Method::HEAD || method == Method::CONNECT;
        if let Ok(method) = text.parse::<Method>()
            && !frames(&method)
            && !frames(&self.request.method)
        {
            self.request.method = method;
        }
    }

    fn write_authority(&mut self, text: &str) {
        let (Ok(authority), Ok(value)) = (text.parse::<Authority>(), HeaderValue::from_str(text))
        else {
            return;
        };
        if self.request.uri.authority().is_some() {
            let mut parts: Parts = std::mem::take(&mut self.request.uri).into_parts();
            parts.authority = Some(authority);
            // Only the authority is another, so that the parts still fit.
            self.request.uri = Uri::from_parts(parts).unwrap_or_default();
        }
        self.request.headers.insert(header::HOST, value);
    }

    /// A status that frames the response (1xx, 204, 205, 304) neither comes nor goes.
    fn write_status(&mut self, text: &str) {
        if let Ok(status) = text.parse::<StatusCode>()
            && may_have_body(status)
            && may_have_body(self.response.status)
        {
            self.response.status = status;
        }
    }

    /// The path with its query.
    pub(super) fn path(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// The host that was asked for: RFC 9113, 8.3.1.
    pub(super) fn authority(&self) -> &[u8] {
        match self.request.headers.get(header::HOST) {
            Some(host) => host.as_bytes(),
            None => self.request.uri.authority().map_or(b"", |host| host.as_str().as_bytes()),
        }
    }

    /// The scheme that the client used.
    pub(super) fn scheme(&self) -> &str {
        self.place.scheme
    }
}

/// Whether a response of this status has a body like others.
pub(super) fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 204 | 205 | 304 | 600..)
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

fn is_host_name(name: &HeaderName) -> bool {
    name == header::HOST
}
