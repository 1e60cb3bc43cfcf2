//! The text of a configuration that was read, kept small for whoever asks later what it was.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sallyport_config::{File, Sources};

use crate::sources::{self, Written};

/// The files of one configuration, compressed, each with its path, and what other sources said.
#[derive(Clone, Debug)]
pub struct Texts {
    files: Arc<[(PathBuf, Box<[u8]>)]>,
    fragments: Arc<[Arc<Written>]>,
}

impl Texts {
    /// Those of `sources`.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let files = sources.files().iter();
        let files = files.map(|file| (file.path.clone(), compressed(&file.text))).collect();
        Self { files, fragments: Arc::default() }
    }

    /// These, together with what other sources said.
    #[must_use]
    pub fn with(self, fragments: Vec<Arc<Written>>) -> Self {
        Self { fragments: fragments.into(), ..self }
    }

    /// What they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let files = self.files.iter().map(|(_, text)| text.len());
        files.chain(self.fragments.iter().map(|written| written.bytes())).sum()
    }

    /// The files as they were; where other sources said something, all as one file. `None` if a text
    /// cannot be read back, which nothing causes.
    #[must_use]
    pub fn files(&self) -> Option<Vec<File>> {
        let read = |(path, text): &(PathBuf, Box<[u8]>)| {
            Some(File { path: path.clone(), text: decompressed(text)? })
        };
        let files: Vec<File> = self.files.iter().map(read).collect::<Option<_>>()?;
        if self.fragments.is_empty() {
            return Some(files);
        }
        Some(vec![sources::whole(&files, &self.fragments)?])
    }
}

/// `text`, compressed quickly rather than well.
pub(crate) fn compressed(text: &str) -> Box<[u8]> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // Memory takes whatever is written.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.unwrap_or_default().into_boxed_slice()
}

/// The text that was [`compressed`].
pub(crate) fn decompressed(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    DeflateDecoder::new(bytes).read_to_string(&mut text).ok()?;
    Some(text)
}
