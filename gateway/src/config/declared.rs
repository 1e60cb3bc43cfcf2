//! What is declared, in parts: the main file, the files that it includes, and what other sources
//! declare.
//!
//! A part is plain data with a number, by which problems name it. What it means is decided by
//! [`resolve`](super::resolve), for parts from anywhere alike.

use std::fmt;
use std::sync::Arc;

use sallyport_config::decode::{self, Decoded, Pieces, Replaced};
use sallyport_config::references::{self, Named, Reference};
use sallyport_config::spec::{self, Fragment, Included, Spec};
use sallyport_config::{File, Files, Found, Place, Problem, Severity, Sink, Sources, Value};
use sallyport_plugin::Reader;

/// What a reference to a file may stand for: a token, a password, an address. Anything larger is
/// named by a key that reads files.
const REFERENCE_BYTES_MAX: usize = 64 << 10;

/// One file's part of what is declared.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Its number, which is its index among the origins.
    pub(super) file: usize,
    /// What it declares.
    pub(super) spec: Spec,
    /// What of it is not what was written.
    pub(super) replaced: Replaced,
    /// What of it is taken from the environment and from files.
    references: Vec<Reference>,
}

impl<T: Into<Spec>> From<(usize, Decoded<T>)> for Part {
    fn from((file, decoded): (usize, Decoded<T>)) -> Self {
        let Decoded { value, replaced, references } = decoded;
        Self { file, spec: value.into(), replaced, references }
    }
}

/// What the files of a configuration declare: the main file and those that it includes.
#[derive(Debug, Default)]
pub struct Declaration {
    /// The parts in the order of their numbers: first the main file's, which declares nothing if
    /// nothing of the file could be read.
    parts: Vec<Part>,
    /// Whether anything asks for the JA4 fingerprint of clients.
    asks_ja4: bool,
    /// What is wrong with the files as they are written.
    problems: Vec<Found>,
    /// The files that references name.
    named_files: Files,
}

/// What a source besides the files declares.
#[derive(Debug)]
pub struct Joined {
    /// What its problems name in place of a file.
    origin: File,
    fragment: Arc<Fragment>,
    asks_ja4: bool,
}

/// What a configuration is resolved from.
#[derive(Clone, Debug)]
pub struct Whole<'w> {
    /// The files.
    pub files: &'w Sources,
    /// What they declare.
    pub declaration: &'w Declaration,
    /// The main file's listeners, perhaps with what is added to them.
    pub listeners: &'w [spec::Listener],
    /// What other sources declare.
    pub fragments: &'w [Joined],
    /// The fingerprint of all this.
    pub sha256: String,
}

/// All that is declared.
#[derive(Debug)]
pub(super) struct Declared<'d> {
    /// The parts that are files, in the order of their numbers.
    pub(super) parts: &'d [Part],
    /// Where parts come from, by their numbers: the files, then the sources besides.
    pub(super) origins: Vec<&'d File>,
    /// Whether anything asks for the JA4 fingerprint of clients.
    pub(super) asks_ja4: bool,
    listeners: &'d [spec::Listener],
    fragments: &'d [Joined],
}

impl Declaration {
    /// Decodes the files, the main one first. What is wrong is noted, and stands in the parts as an
    /// example, so that the rest can be judged further. Files that references name are read by
    /// `reader`; what `pieces` remembers of large files is not decoded again.
    pub(super) fn of_files(
        files: &[File],
        reader: &mut Reader<'_>,
        mut pieces: Option<&mut Pieces>,
    ) -> Self {
        let (mut parts, mut problems) = (Vec::with_capacity(files.len()), Sink::new());
        if let Some(pieces) = &mut pieces {
            pieces.begin(files.iter().map(|file| file.text.len()).sum());
        }
        let sink = &mut problems;
        let mut read = |named: Named<'_>, place: &Place<'_>, sink: &mut Sink| {
            referred(named, place, reader, sink)
        };
        for (file, File { text, .. }) in files.iter().enumerate() {
            let known = pieces.as_mut().and_then(|pieces| in_pieces(pieces, file, text));
            if let Some(spec) = known {
                parts.push(Part { file, spec, ..Part::default() });
            } else if file == 0 {
                let main = decode::filled::<Spec>(0, text, &mut read, sink);
                parts.push(main.map_or_else(Part::default, |decoded| (0, decoded).into()));
            } else if holds_nothing(text) {
                note_empty(file, sink);
            } else if let Some(decoded) = decode::filled::<Included>(file, text, &mut read, sink) {
                parts.push((file, decoded).into());
            }
        }
        if let Some(pieces) = pieces
            && !problems.iter().any(Found::is_error)
        {
            pieces.end();
        }
        // In a name it does no harm, and every key and variable that asks has it.
        let asks_ja4 = files.iter().any(|file| file.text.contains("ja4"));
        Self { parts, asks_ja4, problems, named_files: reader.files().clone() }
    }

    /// What the main file says: what there is one of stands there alone.
    #[must_use]
    pub fn main(&self) -> &Spec {
        &self.parts[0].spec
    }

    /// The virtual hosts of all files.
    pub fn virtual_hosts(&self) -> impl Iterator<Item = &spec::VirtualHost> {
        self.parts.iter().flat_map(|part| &part.spec.virtual_hosts)
    }

    /// Whether all that is written could be read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.problems.iter().any(Found::is_error)
    }

    /// Whether decoding the same texts again would give the same. Reads the files that references name.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.named_files.are_current()
    }

    pub(super) fn problems(&self) -> &[Found] {
        &self.problems
    }

    pub(super) fn named_files(&self) -> &Files {
        &self.named_files
    }
}

impl Joined {
    /// What the source called `source` declares, and whether that asks for the JA4 fingerprint of
    /// clients.
    #[must_use]
    pub fn new(source: &str, fragment: Arc<Fragment>, asks_ja4: bool) -> Self {
        let origin = File { path: format!("source {source}").into(), text: String::new() };
        Self { origin, fragment, asks_ja4 }
    }

    /// Whether a problem is with what this source declares.
    #[must_use]
    pub fn is_origin_of(&self, problem: &Problem) -> bool {
        self.origin.path == problem.file
    }
}

impl<'w> Whole<'w> {
    /// These files alone, which declare this.
    #[must_use]
    pub fn of_files(files: &'w Sources, declaration: &'w Declaration) -> Self {
        let (listeners, sha256) = (&declaration.main().listeners[..], files.sha256().to_owned());
        Self { files, declaration, listeners, fragments: &[], sha256 }
    }

    /// Where its parts come from, by their numbers: the files, then the sources besides.
    #[must_use]
    pub fn origins(&self) -> Vec<&'w File> {
        let sources = self.fragments.iter().map(|joined| &joined.origin);
        self.files.files().iter().chain(sources).collect()
    }
}

impl<'d> Declared<'d> {
    pub(super) fn of(whole: &Whole<'d>) -> Self {
        let Whole { declaration, listeners, fragments, .. } = *whole;
        Self {
            parts: &declaration.parts,
            origins: whole.origins(),
            asks_ja4: declaration.asks_ja4 || fragments.iter().any(|joined| joined.asks_ja4),
            listeners,
            fragments,
        }
    }

    /// What the main file says, but for its listeners: what there is one of stands there alone.
    pub(super) fn main(&self) -> &'d Spec {
        &self.parts[0].spec
    }

    /// The listeners of all parts, each with its spot.
    pub(super) fn listeners(&self) -> Vec<(Spot, &'d spec::Listener)> {
        let of_files = self.parts.first().map(|main| (main.file, self.listeners));
        self.entries("listeners", of_files.into_iter(), |fragment| &fragment.listeners)
    }

    /// The upstreams of all parts, each with its spot.
    pub(super) fn upstreams(&self) -> Vec<(Spot, &'d spec::Upstream)> {
        let of_files = self.parts.iter().map(|part| (part.file, &part.spec.upstreams[..]));
        self.entries("upstreams", of_files, |fragment| &fragment.upstreams)
    }

    /// The virtual hosts of all parts, each with its spot.
    pub(super) fn virtual_hosts(&self) -> Vec<(Spot, &'d spec::VirtualHost)> {
        let of_files = self.parts.iter().map(|part| (part.file, &part.spec.virtual_hosts[..]));
        self.entries("virtual_hosts", of_files, |fragment| &fragment.virtual_hosts)
    }

    fn entries<S>(
        &self,
        section: &'static str,
        of_files: impl Iterator<Item = (usize, &'d [S])>,
        of_fragment: fn(&Fragment) -> &[S],
    ) -> Vec<(Spot, &'d S)> {
        let of_fragments = (self.files()..).zip(self.fragments);
        let of_fragments = of_fragments.map(|(file, it)| (file, of_fragment(&it.fragment)));
        let entries = of_files.chain(of_fragments).flat_map(|(file, entries)| {
            let entries = entries.iter().enumerate();
            entries.map(move |(index, spec)| (Spot { file, section, index }, spec))
        });
        entries.collect()
    }

    /// How many of the origins are files.
    pub(super) fn files(&self) -> usize {
        self.origins.len() - self.fragments.len()
    }

    /// Whether anything is not what was written.
    pub(super) fn has_replaced(&self) -> bool {
        self.parts.iter().any(|part| !part.replaced.is_empty())
    }

    /// Takes what references stand for out of a problem: it may be a secret.
    pub(super) fn hide_values(&self, found: &mut Found) {
        let part = self.parts.iter().find(|part| part.file == found.file);
        for reference in part.iter().flat_map(|part| &part.references) {
            reference.hide_in(found);
        }
    }

    /// Whether a problem is with an example, which stands in for what was told already.
    pub(super) fn is_of_replaced(&self, found: &Found) -> bool {
        let part = self.parts.iter().find(|part| part.file == found.file);
        part.is_some_and(|part| part.replaced.holds(&found.place))
    }
}

/// What a file declares, decoded piece by piece; `None` where it is to be decoded as a whole.
fn in_pieces(pieces: &mut Pieces, file: usize, text: &str) -> Option<Spec> {
    if references::may_be_in(text) {
        return None;
    }
    match file {
        0 => pieces.main(text),
        _ => pieces.included(text).map(Spec::from),
    }
}

/// What a reference stands for, from the process's environment or from a file without the end of
/// its last line. Files are watched with the configuration.
fn referred(
    named: Named<'_>,
    place: &Place<'_>,
    reader: &mut Reader<'_>,
    sink: &mut Sink,
) -> Option<String> {
    if place.to_string().starts_with("include[") {
        return place.refuse(sink, "has a reference", "name the files themselves");
    }
    let name = match named {
        Named::Env(name) => return variable(name, place, sink),
        Named::File(name) => name,
    };
    let (path, bytes) = reader.file(name, place, sink)?;
    let path = path.display();
    if bytes.len() > REFERENCE_BYTES_MAX {
        let what = format!("{path} has {} bytes, over the 64 KiB of a value", bytes.len());
        return place.refuse(sink, what, "name a smaller file");
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Some(line.strip_suffix('\r').unwrap_or(line).to_owned())
        }
        Err(_) => place.refuse(sink, format!("{path} is not UTF-8"), "name a file of text"),
    }
}

fn variable(name: &str, place: &Place<'_>, sink: &mut Sink) -> Option<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        let what = format!("{name:?} is no name of a variable");
        return place.refuse(sink, what, "write ${env:NAME} with letters, digits and `_`");
    }
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => {
            let what = format!("the environment has no {name}");
            let fix = format!(
                "set it where the gateway is started: `export {name}=…`, or in a unit \
                               `Environment={name}=…`"
            );
            place.refuse(sink, what, fix)
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            place.refuse(sink, format!("the environment's {name} is not UTF-8"), "set it to text")
        }
    }
}

/// Notes a file that is being written, or that was emptied to take what is in it away.
fn note_empty(file: usize, sink: &mut Sink) {
    let (severity, fix) = (Severity::Note, "remove it if it stays so".to_owned());
    let (place, what) = (String::new(), "is empty: nothing is taken from it".to_owned());
    sink.push(Found { severity, file, place, line: None, what, fix });
}

/// Whether `text` is a file of no value. One that is long and all comments is none.
fn holds_nothing(text: &str) -> bool {
    const LONG: usize = 16 << 10;
    text.len() < LONG && sallyport_config::parse(0, text, &mut Vec::new()) == Some(Value::Null)
}

/// The files of one configuration as one, as they are written: references are not filled in.
pub(super) fn as_written(files: &[File]) -> Option<serde_json::Value> {
    let mut whole: Option<serde_json::Value> = None;
    for (file, File { text, .. }) in files.iter().enumerate() {
        // What cannot be had is told when a configuration is resolved, and shown as it is written.
        let (mut sink, mut read) = (Sink::new(), |_: Named<'_>, _: &Place<'_>, _: &mut Sink| None);
        let part: Part = match file {
            0 => (0, decode::filled::<Spec>(0, text, &mut read, &mut sink)?).into(),
            _ => match decode::filled::<Included>(file, text, &mut read, &mut sink) {
                Some(decoded) => (file, decoded).into(),
                // One that is empty has nothing to add.
                None => continue,
            },
        };
        let mut value = serde_json::to_value(&part.spec).ok()?;
        part.references.iter().for_each(|reference| reference.restore(&mut value));
        let Some(whole) = &mut whole else {
            value["include"] = serde_json::json!([]);
            whole = Some(value);
            continue;
        };
        for section in ["upstreams", "virtual_hosts"] {
            if let (Some(all), Some(more)) =
                (whole[section].as_array_mut(), value[section].as_array_mut())
            {
                all.append(more);
            }
        }
    }
    whole
}

/// Where one of the entries of a section was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) file: usize,
    pub(super) section: &'static str,
    pub(super) index: usize,
}

impl Spot {
    /// Calls `then` with the place of the entry.
    pub(super) fn at<T>(self, then: impl FnOnce(&Place<'_>) -> T) -> T {
        let file = Place::File(self.file);
        let section = Place::Key(&file, self.section);
        then(&Place::Item(&section, self.index))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}[{}]", self.section, self.index)
    }
}
