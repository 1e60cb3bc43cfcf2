//! Numbers and names of proxy-wasm ABI 0.2.1, of which 0.2.0 is a part, and where 0.1.0 differs.

use std::fmt;

/// Exports that tell a module's ABI, of those that are served.
pub(super) const VERSIONS: [&str; 3] =
    ["proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0", "proxy_abi_version_0_1_0"];

/// What such exports begin with.
pub(super) const VERSION_PREFIX: &str = "proxy_abi_version_";

/// The plugin's own context; those of requests have higher numbers.
pub(super) const ROOT: u32 = 1;

/// `proxy_action_t`: anything else pauses.
pub(super) const CONTINUE: u32 = 0;

/// What [`proxy_get_status`](super::hostcalls) says after a call that failed, as Envoy does
/// (`BrokenConnection`).
pub(super) const CALL_BROKEN: u32 = 11;

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    Serialization = 3,
    BadMemory = 6,
    Empty = 7,
    CasMismatch = 8,
    Internal = 10,
    Unimplemented = 12,
}

/// `proxy_buffer_type_t`, those that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferKind {
    RequestBody,
    ResponseBody,
    CallBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    /// Of TCP streams and foreign functions: never there.
    Absent,
}

impl BufferKind {
    pub(super) fn from_number(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            4 => Self::CallBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            2 | 3 | 8 => Self::Absent,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// `proxy_map_type_t`, those that there are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    Request,
    Response,
    ResponseTrailers,
    CallHeaders,
    GrpcInitial,
    GrpcTrailing,
    /// Trailers that the gateway does not pass on: always empty.
    Absent,
}

impl MapKind {
    pub(super) fn from_number(number: u32) -> Result<Self, Status> {
        Ok(match number {
            0 => Self::Request,
            2 => Self::Response,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitial,
            5 => Self::GrpcTrailing,
            6 => Self::CallHeaders,
            1 | 7 => Self::Absent,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// Why a call of the guest's ended early: with a status, or for good.
#[derive(Debug)]
pub(super) enum Fault {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// What the guest gets for a call that ended so.
pub(super) fn answer(result: Result<(), Fault>) -> wasmtime::Result<u32> {
    match result {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Fault::Status(status)) => Ok(status as u32),
        Err(Fault::Trap(error)) => Err(error),
    }
}

/// Why the guest could not do its part. The text is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It ended itself or did what WebAssembly forbids.
    Trap,
    /// A call took longer than `deadline`.
    Deadline,
    /// It asked for more than `memory`, and then ended.
    Memory,
    /// It ended itself after it was refused a field that it wrote.
    Field,
    /// It could not be started.
    Start,
    /// It held more of a body back than may be held.
    Body,
    /// It did not let a request go on in time.
    Paused,
    /// It failed too often of late, or for this source, to be called again yet.
    Bypassed,
    /// Its VM is being started.
    Starting,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Field => "field",
            Self::Start => "start",
            Self::Body => "body",
            Self::Paused => "paused",
            Self::Bypassed => "bypassed",
            Self::Starting => "starting",
        })
    }
}
