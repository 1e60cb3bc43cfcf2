//! What may be set of `compression`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::{Bytes, Int};
use serde::{Deserialize, Serialize};

/// Compresses responses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompressionSpec {
    /// Codings, the preferred first.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub algorithms: Vec<CodingName>,
    /// How much work is put into each coding.
    pub levels: LevelsSpec,
    /// Media types that are compressed: `text/html`, `text/*` or `*+json`. Text by its many names by
    /// default.
    #[schemars(length(min = 1))]
    pub types: Option<Vec<Box<str>>>,
    /// Shorter responses are left alone, where their length is known.
    pub min_bytes: Bytes<0, 1_073_741_824>,
    /// What all responses being compressed may take; those beyond are sent as they are.
    pub memory: Bytes<4_194_304, 1_099_511_627_776>,
}

impl Default for CompressionSpec {
    fn default() -> Self {
        Self {
            algorithms: vec![CodingName::Zstd, CodingName::Brotli, CodingName::Gzip],
            levels: LevelsSpec::default(),
            types: None,
            // Below, the head is most of the response, and compression gains a packet at best.
            min_bytes: Bytes(1 << 10),
            // Some 250 responses at the default levels, and a fraction of what a small machine has.
            memory: Bytes(256 << 20),
        }
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is not known"))]
pub enum CodingName {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    #[serde(rename = "br")]
    Brotli,
    /// RFC 1952.
    Gzip,
}

/// How much work is put into each coding. Above the bounds a piece of a body holds a worker for longer
/// than a request should take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LevelsSpec {
    /// Of zstd.
    pub zstd: Int<1, 12>,
    /// Of Brotli. From 7 on a response would take 9 MiB and more.
    pub br: Int<1, 6>,
    /// Of gzip.
    pub gzip: Int<1, 9>,
}

impl Default for LevelsSpec {
    fn default() -> Self {
        Self { zstd: Int(3), br: Int(4), gzip: Int(5) }
    }
}
