//! How a request ended: the class of its status code, and the kind of error if it was one.
//!
//! These are the label values of the exposition, kept in one place so that a figure and its label
//! cannot drift apart. Which cause is which kind is decided by whoever saw it happen.

/// The class of a status code, as `code_class` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum CodeClass {
    /// 100 to 199.
    Informational,
    /// 200 to 299.
    Success,
    /// 300 to 399.
    Redirection,
    /// 400 to 499.
    ClientError,
    /// 500 to 599.
    ServerError,
    /// No response went out, or one with a code that has no class.
    None,
}

impl CodeClass {
    /// Every class, in the order of the exposition.
    pub const ALL: [Self; 6] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::None,
    ];

    /// The class of `status`; 0 stands for no response.
    #[inline]
    pub fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// The value of the label `code_class`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::None => "none",
        }
    }
}

/// What went wrong with a request, as `kind` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ErrorKind {
    /// A 4xx response, for no more specific reason.
    ClientError,
    /// A 5xx response, for no more specific reason.
    ServerError,
    /// A time limit ran out.
    Timeout,
    /// No connection to the endpoint could be made.
    Connect,
    /// A connection broke before the response was complete.
    Reset,
    /// The upstream had no endpoint to send to.
    NoEndpoint,
    /// What the origin answered breaks the protocol.
    BadResponse,
    /// The gateway had no descriptor left.
    Resources,
}

impl ErrorKind {
    /// Every kind, in the order of the exposition.
    pub const ALL: [Self; 8] = [
        Self::ClientError,
        Self::ServerError,
        Self::Timeout,
        Self::Connect,
        Self::Reset,
        Self::NoEndpoint,
        Self::BadResponse,
        Self::Resources,
    ];

    /// What a status says of itself when nothing more specific is known.
    #[inline]
    pub fn of(status: u16) -> Option<Self> {
        match CodeClass::of(status) {
            CodeClass::ClientError => Some(Self::ClientError),
            CodeClass::ServerError => Some(Self::ServerError),
            _ => None,
        }
    }

    /// The value of the label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::NoEndpoint => "no_endpoint",
            Self::BadResponse => "bad_response",
            Self::Resources => "resources",
        }
    }
}

#[cfg(test)]
mod tests;
