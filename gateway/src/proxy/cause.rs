//! What can go wrong with a request, and what each cause means to the client, to a retry and to the
//! metrics. Every other module names the cause; only this one knows the consequences.

use http::StatusCode;
use pingora_error::{Error, ErrorSource, ErrorType};
use sallyport_stats::ErrorKind;

use crate::connection::{Failure, Refusal};
use crate::descriptors;

/// Why a request was not served as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The request breaks the protocol or cannot be normalised; the text says how.
    BadRequest(&'static str),
    /// The head is over a limit.
    HeadTooLarge,
    /// The request-target is over a limit.
    TargetTooLong,
    /// The version of HTTP is not one that is spoken here.
    Version,
    /// The method is not one that is passed on.
    Method,
    /// The body is over a limit.
    BodyTooLarge,
    /// No virtual host or no route matched.
    NoRoute,
    /// The connection was made for a host with other rules for client certificates.
    Misdirected,
    /// The upstream has no endpoint that may be used.
    NoEndpoint,
    /// The upstream is at a limit.
    Limit,
    /// No endpoint could be connected to.
    Connect,
    /// TLS with the origin could not be agreed on, or its certificate is not to be believed.
    Tls,
    /// The origin, or the route's timeout, took too long.
    Timeout,
    /// The origin broke the connection off.
    Reset,
    /// The origin's response breaks the protocol.
    BadResponse,
    /// The client went away.
    ClientGone,
    /// The client took too long to send its body.
    ClientTimeout,
    /// The gateway had no descriptor left.
    Resources,
    /// A filter answered, for this reason.
    Answered(&'static str),
    /// A filter could not do its part.
    Filter,
    /// A defect of the gateway.
    Internal,
}

impl Cause {
    /// The cause behind an error that Pingora raised.
    pub(crate) fn of(error: &Error) -> Self {
        use ErrorType::{
            ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, ConnectionClosed,
            H1Error, InvalidCert, InvalidH2, InvalidHTTPHeader, ReadError, ReadTimedout,
            SocketError, TLSHandshakeFailure, TLSHandshakeTimedout, WriteError, WriteTimedout,
        };
        match (error.esource(), error.etype()) {
            (
                ErrorSource::Upstream,
                ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout,
            ) => Self::Timeout,
            (ErrorSource::Upstream, TLSHandshakeFailure | InvalidCert) => Self::Tls,
            (
                ErrorSource::Upstream,
                ConnectRefused | ConnectNoRoute | ConnectError | SocketError,
            ) => Self::Connect,
            (ErrorSource::Upstream, ReadError | WriteError | ConnectionClosed) => Self::Reset,
            (ErrorSource::Upstream, InvalidHTTPHeader | H1Error | InvalidH2) => Self::BadResponse,
            (ErrorSource::Upstream, _) => Self::Reset,
            (
                ErrorSource::Downstream,
                ReadError | WriteError | ConnectionClosed | WriteTimedout,
            ) => Self::ClientGone,
            (ErrorSource::Downstream, ReadTimedout) => Self::ClientTimeout,
            (ErrorSource::Downstream, _) => Self::BadRequest("the request is malformed"),
            (ErrorSource::Internal | ErrorSource::Unset, _) => Self::Internal,
        }
    }

    /// The cause behind a connection that Pingora could not make.
    pub(crate) fn of_connecting(error: &Error) -> Self {
        let io = error.root_cause().downcast_ref::<std::io::Error>();
        if io.is_some_and(descriptors::is_exhaustion) {
            descriptors::report_exhaustion();
            return Self::Resources;
        }
        match error.etype() {
            // What Pingora calls internal there is a socket that could not be made or bound: this
            // host has no such protocol, or no port left towards this endpoint. Another may do.
            ErrorType::InternalError => Self::Connect,
            _ => Self::of(error),
        }
    }

    /// The status of the response; `None` where there is nobody to respond to.
    pub(crate) fn status(self) -> Option<StatusCode> {
        Some(match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NoEndpoint | Self::Limit | Self::Resources => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect | Self::Tls | Self::Reset | Self::BadResponse => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Filter | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ClientGone | Self::Answered(_) => return None,
        })
    }

    /// The value of `X-Sallyport-Error`, and the first word of the body.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::Version => "version",
            Self::Method => "method",
            Self::BodyTooLarge => "body_too_large",
            Self::NoRoute => "no_route",
            Self::Misdirected => "misdirected",
            Self::NoEndpoint => "no_endpoint",
            Self::Limit => "limit",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::BadResponse => "bad_response",
            Self::ClientGone => "client_gone",
            Self::ClientTimeout => "client_timeout",
            Self::Resources => "resources",
            Self::Answered(reason) => reason,
            Self::Filter => "filter",
            Self::Internal => "internal",
        }
    }

    /// The sentence in the body.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::BadRequest(text) => text,
            Self::HeadTooLarge => "the request has too many or too large header fields",
            Self::TargetTooLong => "the request-target is too long",
            Self::Version => "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here",
            Self::Method => "CONNECT is not served here",
            Self::BodyTooLarge => "the request body is too large",
            Self::NoRoute => "no route matches this request",
            Self::Misdirected => "this host needs a connection of its own",
            Self::NoEndpoint => "no endpoint is available",
            Self::Limit => "the upstream has as many requests as it may",
            Self::Connect => "no endpoint could be connected to",
            Self::Tls => "TLS with the origin failed",
            Self::Timeout => "the origin took too long",
            Self::Reset => "the origin closed the connection",
            Self::BadResponse => "the origin's response is malformed",
            Self::ClientGone => "the client closed the connection",
            Self::ClientTimeout => "the request took too long to arrive",
            Self::Resources => "the gateway is out of file descriptors",
            Self::Answered(_) => "a filter answered",
            Self::Filter => "a filter could not do its part",
            Self::Internal => "the gateway failed",
        }
    }

    /// The `kind` under which the route counts it, where the status class does not say it all.
    pub(super) fn kind(self) -> Option<ErrorKind> {
        match self {
            Self::NoEndpoint => Some(ErrorKind::NoEndpoint),
            Self::Resources => Some(ErrorKind::Resources),
            other => other.upstream_kind(),
        }
    }

    /// The `kind` under which the endpoint counts it; `None` where the endpoint is not to blame.
    pub(crate) fn upstream_kind(self) -> Option<ErrorKind> {
        match self {
            Self::Connect | Self::Tls => Some(ErrorKind::Connect),
            Self::Timeout => Some(ErrorKind::Timeout),
            Self::Reset => Some(ErrorKind::Reset),
            Self::BadResponse => Some(ErrorKind::BadResponse),
            _ => None,
        }
    }

    /// Whether the client's connection is still at a request boundary, so that it can be kept.
    pub(super) fn keeps_connection(self) -> bool {
        use Cause::{Connect, Limit, Misdirected, NoEndpoint, NoRoute, Tls};
        matches!(self, NoRoute | Misdirected | NoEndpoint | Limit | Connect | Tls)
    }

    /// Whether the operator should read of it: what a client can cause at will is not.
    pub(super) fn is_upstream_failure(self) -> bool {
        self.upstream_kind().is_some() || matches!(self, Self::NoEndpoint | Self::Internal)
    }

    /// An error that carries this cause through Pingora; the context holds the cause itself.
    pub(super) fn into_error(self) -> Box<Error> {
        let status = self.status().map_or(400, |status| status.as_u16());
        Error::new(ErrorType::HTTPStatus(status))
    }
}

/// Whether the origin says that it did nothing with the stream: it refused it, or its connection ended before the
/// stream's turn came (RFC 9113, 6.8 and 8.7).
pub(super) fn is_refused_stream(error: &Error) -> bool {
    let Some(error) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    let reason = error.reason();
    let refused = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
    let went_away = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
    error.is_remote() && (refused || went_away)
}

/// Whether the head of the request did not get through to the origin as a whole, so that it cannot have acted on it.
/// Pingora says so in words only.
pub(super) fn is_head_unsent(error: &Error) -> bool {
    const WORDS: [&str; 2] = ["while writing request headers", "flushing request header"];
    let says = |words: &&str| error.context.as_ref().is_some_and(|it| it.as_str() == *words);
    *error.etype() == ErrorType::WriteError && WORDS.iter().any(says)
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(text) => Self::BadRequest(text),
            Refusal::TooLarge => Self::HeadTooLarge,
            Refusal::TargetTooLong => Self::TargetTooLong,
            Refusal::Version => Self::Version,
            Refusal::Connect => Self::Method,
            Refusal::Late => Self::ClientTimeout,
        }
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Body(text) => Self::BadRequest(text),
            Failure::AnswerLate => Self::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use pingora_error::{Error, ErrorType};
    use rustix::io::Errno;

    use super::Cause;

    /// As Pingora wraps what a system call says while it connects.
    fn connecting(etype: ErrorType, errno: Errno) -> Cause {
        let error = Error::because(etype, "socket", io::Error::from(errno));
        let mut error = Error::because(ErrorType::InternalError, "connect", error);
        error.as_up();
        Cause::of_connecting(&error)
    }

    #[test]
    fn only_what_no_endpoint_can_do_without_is_a_lack_of_resources() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS] {
            assert_eq!(connecting(ErrorType::SocketError, errno), Cause::Resources);
        }
        // Towards another endpoint there may be a port, or a protocol that this host has.
        assert_eq!(connecting(ErrorType::BindError, Errno::ADDRNOTAVAIL), Cause::Connect);
        assert_eq!(connecting(ErrorType::SocketError, Errno::AFNOSUPPORT), Cause::Connect);
    }
}
