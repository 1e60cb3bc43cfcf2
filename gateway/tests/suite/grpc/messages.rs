//! The messages of `grpc.testing`, the package by which gRPC's own implementations are compared.

use prost::Message;

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Payload {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) body: Vec<u8>,
}

impl Payload {
    pub(super) fn of(bytes: usize) -> Option<Self> {
        Some(Self { kind: 0, body: vec![0; bytes] })
    }
}

/// Bytes of a payload, 0 of none.
pub(super) fn bytes(payload: Option<&Payload>) -> usize {
    payload.map_or(0, |payload| payload.body.len())
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct EchoStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SimpleRequest {
    #[prost(int32, tag = "2")]
    pub(super) response_size: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    pub(super) response_status: Option<EchoStatus>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SimpleResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StreamingInputCallRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StreamingInputCallResponse {
    #[prost(int32, tag = "1")]
    pub(super) aggregated_payload_size: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ResponseParameters {
    #[prost(int32, tag = "1")]
    pub(super) size: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StreamingOutputCallRequest {
    #[prost(message, repeated, tag = "2")]
    pub(super) response_parameters: Vec<ResponseParameters>,
    #[prost(message, optional, tag = "3")]
    pub(super) payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    pub(super) response_status: Option<EchoStatus>,
}

impl StreamingOutputCallRequest {
    /// Asks for responses of these sizes.
    pub(super) fn asking(sizes: &[i32], payload: usize) -> Self {
        let response_parameters = sizes.iter().map(|size| ResponseParameters { size: *size });
        Self {
            response_parameters: response_parameters.collect(),
            payload: Payload::of(payload),
            response_status: None,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct StreamingOutputCallResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) payload: Option<Payload>,
}
