//! The trace that a request belongs to, as far as filters are concerned.

/// A span of a trace: work for a request that others can be part of (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether its spans are recorded.
    pub is_sampled: bool,
}

impl TraceContext {
    /// The trace's id as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id as 16 hexadecimal digits.
    #[must_use]
    pub fn span_id_text(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}
