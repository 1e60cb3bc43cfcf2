//! One response being compressed.

use std::fmt;
use std::io;

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// How far back, as a power of two, Brotli and Zstandard look for what repeats. Their own choice of
/// megabytes is for files: here every response being sent has a window.
const WINDOW_BITS: u32 = 18;

/// How many entries, as a power of two, the tables have in which Zstandard finds what repeats. Its own
/// choice, made for files, takes 10 MiB at level 9 and 40 MiB at level 12; these cost 9 % more output
/// at most, with the window above.
fn zstd_table_bits(level: u32) -> u32 {
    if level < 6 { 16 } else { 17 }
}

/// What the encoder collects before it calls its writer, which is a vector.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// The encoder of one response.
pub(super) struct Coder(Option<Kind>);

enum Kind {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Encoder<'static, Vec<u8>>),
}

impl Coding {
    /// Its name in header fields.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What an encoder of this level takes in memory, in bytes, as measured and rounded up.
    pub(super) fn memory_bytes(self, level: u32) -> u64 {
        let kib = match (self, level) {
            (Self::Gzip, _) => 450,
            (Self::Brotli, ..=1) => 200,
            (Self::Brotli, 2 | 3) => 1_150,
            (Self::Brotli, 4) => 1_450,
            (Self::Brotli, 5) => 2_000,
            (Self::Brotli, _) => 3_050,
            (Self::Zstd, ..=5) => 950,
            (Self::Zstd, _) => 1_100,
        };
        kib << 10
    }
}

impl Coder {
    /// An encoder of this level.
    ///
    /// # Errors
    /// If memory is short or the level is none of the coding's.
    pub(super) fn new(coding: Coding, level: u32) -> io::Result<Self> {
        let out = Vec::new();
        Ok(Self(Some(match coding {
            Coding::Gzip => Kind::Gzip(GzEncoder::new(out, Compression::new(level))),
            Coding::Brotli => {
                let writer = CompressorWriter::new(out, BROTLI_BUFFER_BYTES, level, WINDOW_BITS);
                Kind::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = Encoder::new(out, level.try_into().unwrap_or(1))?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_BITS))?;
                encoder.set_parameter(CParameter::HashLog(zstd_table_bits(level)))?;
                encoder.set_parameter(CParameter::ChainLog(zstd_table_bits(level)))?;
                Kind::Zstd(encoder)
            }
        })))
    }

    /// Compresses `data`, and all of it: what the client can make of it must not wait for more, or
    /// events would come late. `None` where nothing comes out.
    ///
    /// # Errors
    /// If the encoder fails.
    pub(super) fn code(&mut self, data: &[u8], end: bool) -> io::Result<Option<Bytes>> {
        let Some(kind) = &mut self.0 else { return Ok(None) };
        if !data.is_empty() {
            kind.write(data, end)?;
        }
        let coded = match self.0.take_if(|_| end) {
            Some(kind) => kind.finish()?,
            None => self.0.as_mut().map(Kind::take).unwrap_or_default(),
        };
        Ok((!coded.is_empty()).then(|| coded.into()))
    }
}

impl Kind {
    fn write(&mut self, data: &[u8], end: bool) -> io::Result<()> {
        let out: &mut dyn io::Write = match self {
            Self::Gzip(gzip) => gzip,
            Self::Brotli(brotli) => &mut **brotli,
            Self::Zstd(zstd) => zstd,
        };
        out.write_all(data)?;
        if end { Ok(()) } else { out.flush() }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(gzip) => gzip.get_mut(),
            Self::Brotli(brotli) => brotli.get_mut(),
            Self::Zstd(zstd) => zstd.get_mut(),
        })
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Brotli(brotli) => Ok(brotli.into_inner()),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl fmt::Debug for Coder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Coder").finish_non_exhaustive()
    }
}
