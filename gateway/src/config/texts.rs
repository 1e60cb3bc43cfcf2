//! The text of a configuration that was read, kept small for whoever asks later what it was.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sallyport_config::{File, Sources};

/// The files of one configuration, compressed, each with its path.
#[derive(Clone, Debug)]
pub struct Texts(Arc<[(PathBuf, Box<[u8]>)]>);

impl Texts {
    /// Those of `sources`.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let files = sources.files().iter();
        Self(files.map(|file| (file.path.clone(), compressed(&file.text))).collect())
    }

    /// What they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, text)| text.len()).sum()
    }

    /// The files as they were; `None` if one cannot be read back, which nothing causes.
    #[must_use]
    pub fn files(&self) -> Option<Vec<File>> {
        let read = |(path, text): &(PathBuf, Box<[u8]>)| {
            let mut read = String::new();
            DeflateDecoder::new(&text[..]).read_to_string(&mut read).ok()?;
            Some(File { path: path.clone(), text: read })
        };
        self.0.iter().map(read).collect()
    }
}

fn compressed(text: &str) -> Box<[u8]> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // Memory takes whatever is written.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.unwrap_or_default().into_boxed_slice()
}
