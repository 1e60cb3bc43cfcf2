//! Text with variables in it, such as `${client} asked for ${path}`.
//!
//! Parsed when the configuration is read, so that a variable that does not exist is a problem there
//! and rendering cannot fail. What a request does not have renders as nothing; a header field whose
//! text comes out empty is left out. `$$` is a dollar sign.
//!
//! | variable | is |
//! |---|---|
//! | `${method}` | the method |
//! | `${path}`, `${query}` | the path and the query, as they go upstream |
//! | `${client_path}` | the path with its query as it was before filters changed it |
//! | `${host}` | the host that the client asked for, with its port if it has one, whatever a filter made of it |
//! | `${client}`, `${peer}` | the client's address; the address at the other end of the connection |
//! | `${request_id}` | `X-Request-Id`, as the origin gets it |
//! | `${trace_id}`, `${span_id}` | the request's trace, and its span in it, where there is tracing |
//! | `${listener}`, `${virtual_host}`, `${route}`, `${upstream}`, `${endpoint}` | where it belongs |
//! | `${header.NAME}` | a header field of the request; several lines are joined by `, `, those of `cookie` by `; ` |
//! | `${capture.GROUP}` | a group, by name or number, of the regex that the route matched the path with |
//! | `${hint.network}`, `${hint.zone}`, `${hint.protocol}`, `${hint.screens}`, `${hint.syn_rate}` | what the classifier says |
//! | `${hint.ja4}` | the JA4 fingerprint of the client's TLS hello |
//! | `${tls.version}`, `${tls.sni}`, `${tls.alpn}`, `${tls.cipher}` | what the TLS handshake has settled |
//! | `${tls.client.subject}`, `${tls.client.san}`, `${tls.client.serial}`, `${tls.client.fingerprint}` | the client's certificate: subject (RFC 4514), names separated by commas, serial number, SHA-256 |
//!
//! Where a request has ended, as in an access log, there are also:
//!
//! | variable | is |
//! |---|---|
//! | `${time}` | when it ended: RFC 3339, UTC, with milliseconds |
//! | `${status}` | the status, 0 where no response went out |
//! | `${cause}` | what failed, as in `X-Sallyport-Error` |
//! | `${duration_ms}` | the time from the head's arrival, in milliseconds |
//! | `${request_bytes}`, `${response_bytes}` | body bytes received and sent |
//! | `${response.NAME}` | a header field of the response; several lines are joined by `, ` |

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Version, header, request};
use sallyport_config::{Node, Place, Sink};
use sallyport_route::{BracedError, Piece, pieces};

use crate::exchange::{About, Exchange, Marks, Outcome};

pub(crate) mod time;

/// A text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

/// Something of a request that a text may mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The method.
    Method,
    /// The path that goes upstream.
    Path,
    /// The query that goes upstream.
    Query,
    /// The path and query before filters changed them.
    ClientPath,
    /// The host that was asked for.
    Host,
    /// The client's address.
    Client,
    /// The address at the other end of the connection.
    Peer,
    /// The request's id.
    RequestId,
    /// The request's trace.
    TraceId,
    /// The request's span in it.
    SpanId,
    /// The listener's name.
    Listener,
    /// The virtual host's name.
    VirtualHost,
    /// The route's name.
    Route,
    /// The upstream's name.
    Upstream,
    /// The endpoint's address.
    Endpoint,
    /// A header field of the request.
    Header(HeaderName),
    /// A group of the route's regex.
    Capture(Box<str>),
    /// The network that the classifier found.
    HintNetwork,
    /// The zone.
    HintZone,
    /// The protocol.
    HintProtocol,
    /// The screens tripped, separated by commas.
    HintScreens,
    /// SYNs a second.
    HintSynRate,
    /// The JA4 fingerprint of the client.
    HintJa4,
    /// The version of TLS.
    TlsVersion,
    /// The name that was asked for in the handshake.
    TlsSni,
    /// The protocol that was agreed on in the handshake.
    TlsAlpn,
    /// The cipher suite.
    TlsCipher,
    /// The subject of the client's certificate.
    TlsClientSubject,
    /// Its names and addresses, separated by commas.
    TlsClientSan,
    /// Its serial number.
    TlsClientSerial,
    /// Its SHA-256.
    TlsClientFingerprint,
    /// When the request ended.
    Time,
    /// The status sent.
    Status,
    /// What failed.
    Cause,
    /// The time taken.
    DurationMs,
    /// Body bytes received.
    RequestBytes,
    /// Body bytes sent.
    ResponseBytes,
    /// A header field of the response.
    Response(HeaderName),
}

/// What variables are read from.
#[derive(Clone, Copy, Debug)]
pub struct Told<'v> {
    /// The request's head.
    pub request: &'v request::Parts,
    /// Where it comes from and belongs.
    pub about: &'v About<'v>,
    /// What filters have decided about it.
    pub marks: &'v Marks,
}

/// What a text may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A request, from its head on.
    Request,
    /// A request that has ended.
    Ended,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` without its `}`.
    #[error("`${{` is not closed")]
    Open,
    /// A `$` before something else.
    #[error("`$` stands alone")]
    Dollar,
    /// `$name`, as nginx has it.
    #[error("`${0}` has no braces; write {braced}", braced = in_braces(.0))]
    Bare(String),
    /// No such variable.
    #[error("there is no variable {0:?} here")]
    Unknown(String),
}

/// What a reader of templates tells whoever wrote a wrong one.
const FIX: &str =
    "write text with variables such as ${path} or ${header.x-user}; $$ is a dollar sign";

fn bare(rest: &str) -> TemplateError {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
    match rest.starts_with(|character: char| character.is_ascii_alphabetic() || character == '_') {
        true => TemplateError::Bare(rest[..end].to_owned()),
        false => TemplateError::Dollar,
    }
}

/// What nginx calls `name` as it is called here.
fn in_braces(name: &str) -> String {
    let known = match name {
        "remote_addr" => "client",
        "request_uri" => "client_path",
        "uri" => "path",
        "request_method" => "method",
        "http_host" => "host",
        "request_time" => "duration_ms",
        "bytes_sent" | "body_bytes_sent" => "response_bytes",
        "time_iso8601" | "time_local" => "time",
        _ => {
            return match name.strip_prefix("http_") {
                Some(field) => format!("${{header.{}}}", field.replace('_', "-")),
                None => format!("${{{name}}}"),
            };
        }
    };
    format!("${{{known}}}")
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    /// If it has a variable that does not exist in `scope`, or a `$` that begins none.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, TemplateError> {
        let pieces = pieces(text).map_err(|error| match error {
            BracedError::Dollar(rest) => bare(rest),
            BracedError::Open => TemplateError::Open,
        })?;
        let part = |piece| match piece {
            Piece::Text(text) => Ok(Part::Text(text)),
            Piece::Name(name) => Variable::parse(name, scope).map(Part::Variable),
        };
        let parts = pieces.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// Reads one from a configuration.
    pub fn read(node: Node<'_>, sink: &mut Sink, scope: Scope) -> Option<Self> {
        node.parsed(sink, FIX, |text| Self::parse(text, scope))
    }

    /// As [`Template::read`], where `text` was read from `place` already.
    pub fn read_at(text: &str, place: &Place<'_>, sink: &mut Sink, scope: Scope) -> Option<Self> {
        place.parsed(sink, text, FIX, |text| Self::parse(text, scope))
    }

    /// The text, if it is the same for every request.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variable, if the text is one and nothing else.
    #[must_use]
    pub fn variable(&self) -> Option<&Variable> {
        match self.parts.as_slice() {
            [Part::Variable(variable)] => Some(variable),
            _ => None,
        }
    }

    /// Appends the text for this request to `out`.
    pub fn render(&self, x: &Exchange<'_>, outcome: Option<&Outcome<'_>>, out: &mut String) {
        self.render_with(x, outcome, out, |value, out| out.push_str(value));
    }

    /// As [`Template::render`], where `write` appends the values of variables: they are the client's
    /// to choose, and some places must not have them as they are.
    pub fn render_with(
        &self,
        x: &Exchange<'_>,
        outcome: Option<&Outcome<'_>>,
        out: &mut String,
        mut write: impl FnMut(&str, &mut String),
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => {
                    if let Some(value) = variable.value(x, outcome) {
                        write(&value, out);
                    }
                }
            }
        }
    }
}

impl Variable {
    /// The variable of this name.
    ///
    /// # Errors
    /// If there is none, or not in `scope`.
    pub fn parse(name: &str, scope: Scope) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::Unknown(name.to_owned());
        let field = |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|_| unknown());
        Ok(match name {
            "method" => Self::Method,
            "path" => Self::Path,
            "query" => Self::Query,
            "client_path" => Self::ClientPath,
            "host" => Self::Host,
            "client" => Self::Client,
            "peer" => Self::Peer,
            "request_id" => Self::RequestId,
            "trace_id" => Self::TraceId,
            "span_id" => Self::SpanId,
            "listener" => Self::Listener,
            "virtual_host" => Self::VirtualHost,
            "route" => Self::Route,
            "upstream" => Self::Upstream,
            "endpoint" => Self::Endpoint,
            "hint.network" => Self::HintNetwork,
            "hint.zone" => Self::HintZone,
            "hint.protocol" => Self::HintProtocol,
            "hint.screens" => Self::HintScreens,
            "hint.syn_rate" => Self::HintSynRate,
            "hint.ja4" => Self::HintJa4,
            "tls.version" => Self::TlsVersion,
            "tls.sni" => Self::TlsSni,
            "tls.alpn" => Self::TlsAlpn,
            "tls.cipher" => Self::TlsCipher,
            "tls.client.subject" => Self::TlsClientSubject,
            "tls.client.san" => Self::TlsClientSan,
            "tls.client.serial" => Self::TlsClientSerial,
            "tls.client.fingerprint" => Self::TlsClientFingerprint,
            "time" if scope == Scope::Ended => Self::Time,
            "status" if scope == Scope::Ended => Self::Status,
            "cause" if scope == Scope::Ended => Self::Cause,
            "duration_ms" if scope == Scope::Ended => Self::DurationMs,
            "request_bytes" if scope == Scope::Ended => Self::RequestBytes,
            "response_bytes" if scope == Scope::Ended => Self::ResponseBytes,
            _ => match name.split_once('.') {
                Some(("header", name)) => Self::Header(field(name)?),
                Some(("capture", group)) if !group.is_empty() => Self::Capture(group.into()),
                Some(("response", name)) if scope == Scope::Ended => Self::Response(field(name)?),
                _ => return Err(unknown()),
            },
        })
    }

    /// Whether its values are numbers.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::DurationMs
                | Self::RequestBytes
                | Self::ResponseBytes
                | Self::HintSynRate
        )
    }

    /// Its value; `None` where the request has none. Bytes that are no UTF-8 are replaced.
    pub fn value<'v>(
        &self,
        x: &'v Exchange<'_>,
        outcome: Option<&'v Outcome<'_>>,
    ) -> Option<Cow<'v, str>> {
        self.of(Told { request: x.request, about: x.about, marks: x.marks }, outcome)
    }

    /// As [`value`](Self::value), where no filter is at work.
    pub fn of<'v>(&self, x: Told<'v>, outcome: Option<&'v Outcome<'_>>) -> Option<Cow<'v, str>> {
        let about = x.about;
        let number = |number: u64| Some(Cow::from(number.to_string()));
        match self {
            Self::Method => Some(x.request.method.as_str().into()),
            Self::Path => Some(split(x.path_and_query()).0.into()),
            Self::Query => split(x.path_and_query()).1.map(Cow::from),
            Self::ClientPath => Some(client_path(x).into()),
            Self::Host => x.about.host.map(Cow::from).or_else(|| host(x)),
            Self::Client => about.client.map(|client| client.to_string().into()),
            Self::Peer => about.peer.map(|peer| peer.to_string().into()),
            Self::RequestId => field(&x.request.headers, "x-request-id"),
            Self::TraceId => about.trace.map(|trace| trace.trace_id_text().into()),
            Self::SpanId => about.trace.map(|trace| trace.span_id_text().into()),
            Self::Listener => Some(about.listener.into()),
            Self::VirtualHost => Some(about.virtual_host.into()),
            Self::Route => Some(about.route.into()),
            Self::Upstream => about.upstream.map(Cow::from),
            Self::Endpoint => about.endpoint.map(|endpoint| endpoint.to_string().into()),
            Self::Header(name) => field(&x.request.headers, name.as_str()),
            Self::Capture(group) => {
                let path = split(client_path(x)).0;
                about.path_regex?.capture(path, group).map(Cow::from)
            }
            Self::HintNetwork => about.hints?.network.as_deref().map(Cow::from),
            Self::HintZone => about.hints?.zone.as_deref().map(Cow::from),
            Self::HintProtocol => about.hints?.protocol.map(Cow::from),
            Self::HintScreens => Some(about.hints?.screens.join(",").into()),
            Self::HintSynRate => number(about.hints?.syn_rate.into()),
            Self::HintJa4 => about.tls?.ja4.map(Cow::from),
            Self::TlsVersion => Some(about.tls?.version.into()),
            Self::TlsSni => about.tls?.sni.map(Cow::from),
            Self::TlsAlpn => about.tls?.alpn.map(Cow::from),
            Self::TlsCipher => Some(about.tls?.cipher.into()),
            Self::TlsClientSubject => Some((&*about.tls?.client?.subject).into()),
            Self::TlsClientSan => Some(about.tls?.client?.sans.join(",").into()),
            Self::TlsClientSerial => Some((&*about.tls?.client?.serial).into()),
            Self::TlsClientFingerprint => Some((&*about.tls?.client?.fingerprint).into()),
            Self::Time => outcome.map(|_| time::rfc3339(SystemTime::now()).into()),
            Self::Status => number(outcome?.status.map_or(0, |status| status.as_u16().into())),
            Self::Cause => outcome?.cause.map(Cow::from),
            Self::DurationMs => {
                let mut text = String::new();
                // Writing to a string cannot fail.
                write!(text, "{:.3}", outcome?.duration.as_secs_f64() * 1e3).ok()?;
                Some(text.into())
            }
            Self::RequestBytes => number(outcome?.request_bytes),
            Self::ResponseBytes => number(outcome?.response_bytes),
            Self::Response(name) => field(&outcome?.response?.headers, name.as_str()),
        }
    }
}

impl<'v> Told<'v> {
    fn path_and_query(self) -> &'v str {
        self.request.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

fn client_path(x: Told<'_>) -> &str {
    x.marks.client_path.as_deref().unwrap_or_else(|| x.path_and_query())
}

fn split(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

/// RFC 9113, 8.3.1: HTTP/2 has it in `:authority`.
fn host(x: Told<'_>) -> Option<Cow<'_, str>> {
    let authority = || x.request.uri.authority().map(|authority| authority.as_str().into());
    match field(&x.request.headers, header::HOST.as_str()) {
        None if x.request.version == Version::HTTP_2 => authority(),
        found => found,
    }
}

/// The value of a field. Its lines are one list (RFC 9110, 5.3), but for cookies, whose pairs a
/// semicolon separates (RFC 9113, 8.2.3).
fn field<'v>(headers: &'v http::HeaderMap, name: &str) -> Option<Cow<'v, str>> {
    let mut lines = headers.get_all(name).iter();
    let text = |line: &'v HeaderValue| String::from_utf8_lossy(line.as_bytes());
    let mut value = text(lines.next()?);
    let separator = if name == header::COOKIE { "; " } else { ", " };
    for line in lines {
        let value = value.to_mut();
        value.push_str(separator);
        value.push_str(&text(line));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::{Scope, Template, TemplateError};

    #[test]
    fn what_is_no_template_is_refused() {
        let parse = |text| Template::parse(text, Scope::Request);
        assert_eq!(parse("costs $5"), Err(TemplateError::Dollar));
        assert_eq!(parse("${path"), Err(TemplateError::Open));
        assert_eq!(parse("${pth}"), Err(TemplateError::Unknown("pth".into())));
        assert_eq!(parse("${status}"), Err(TemplateError::Unknown("status".into())));
        assert_eq!(parse("${header.a b}"), Err(TemplateError::Unknown("header.a b".into())));
        assert!(Template::parse("${status}", Scope::Ended).is_ok());
    }

    #[test]
    fn constants_are_known() {
        let parse = |text| Template::parse(text, Scope::Request).unwrap();
        assert_eq!(parse("costs $$5").constant(), Some("costs $5"));
        assert_eq!(parse("").constant(), Some(""));
        assert_eq!(parse("a ${path}").constant(), None);
    }
}
