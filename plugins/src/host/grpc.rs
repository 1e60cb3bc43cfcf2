//! Calls of gRPC that filters make.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc;

use crate::trace::TraceContext;

/// A call of gRPC.
#[derive(Debug)]
pub struct GrpcCall {
    /// The service and the method: `/package.Service/Method`.
    pub path: String,
    /// What the head of the request says besides.
    pub metadata: HeaderMap,
    /// How long all of it may take; without, until it is dropped.
    pub timeout: Option<Duration>,
    /// The messages of the request, which ends with the channel.
    pub messages: mpsc::Receiver<Bytes>,
    /// The longest message of the response that is taken.
    pub message_bytes_max: usize,
    /// As that of a [`Call`](super::Call).
    pub trace: Option<TraceContext>,
}

/// What comes of a call before its end.
#[derive(Clone, Debug)]
pub enum GrpcEvent {
    /// The head of the response.
    Initial(HeaderMap),
    /// One message of it.
    Message(Bytes),
    /// What stands behind the messages.
    Trailing(HeaderMap),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    /// gRPC's code; 0 is success.
    pub code: u32,
    /// What there is to say of it.
    pub message: String,
}

impl GrpcStatus {
    /// `CANCELLED` and so on, of those that a caller may come to say itself.
    pub const UNKNOWN: u32 = 2;
    /// The time is over.
    pub const DEADLINE_EXCEEDED: u32 = 4;
    /// Something is larger than may be.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// It cannot be done here.
    pub const UNIMPLEMENTED: u32 = 12;
    /// The protocol was broken.
    pub const INTERNAL: u32 = 13;
    /// Nobody answers.
    pub const UNAVAILABLE: u32 = 14;

    /// One with this code.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether the call succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == 0
    }
}
