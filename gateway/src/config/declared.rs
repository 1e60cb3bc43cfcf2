//! What is declared, in parts: the main file, the files that it includes, and what other sources
//! declare.
//!
//! A part is plain data with a number, by which problems name it. What it means is decided by
//! [`resolve`](super::resolve), for parts from anywhere alike.

use std::fmt;

use sallyport_config::decode::{self, Decoded, Replaced};
use sallyport_config::references::{Named, Reference};
use sallyport_config::spec::{Included, Spec};
use sallyport_config::{File, Found, Place, Severity, Sink, Value};
use sallyport_plugin::Reader;

/// What a reference to a file may stand for: a token, a password, an address. Anything larger is
/// named by a key that reads files.
const REFERENCE_BYTES_MAX: usize = 64 << 10;

/// One part of what is declared.
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

/// All that is declared.
#[derive(Debug)]
pub(super) struct Declared<'o> {
    /// The parts in the order of their numbers: first the main file's, which declares nothing if
    /// nothing of the file could be read.
    pub(super) parts: Vec<Part>,
    /// Where parts come from, by their numbers.
    pub(super) origins: &'o [File],
    /// Whether anything asks for the JA4 fingerprint of clients.
    pub(super) asks_ja4: bool,
}

impl<'o> Declared<'o> {
    /// Decodes the files, the main one first. What is wrong is noted, and stands in the parts as an
    /// example, so that the rest can be judged further. Files that references name are read by
    /// `reader`.
    pub(super) fn of_files(files: &'o [File], reader: &mut Reader<'_>, sink: &mut Sink) -> Self {
        let mut parts = Vec::with_capacity(files.len());
        let mut read = |named: Named<'_>, place: &Place<'_>, sink: &mut Sink| {
            referred(named, place, reader, sink)
        };
        for (file, File { text, .. }) in files.iter().enumerate() {
            if file == 0 {
                let main = decode::filled::<Spec>(0, text, &mut read, sink);
                parts.push(main.map_or_else(Part::default, |decoded| (0, decoded).into()));
            } else if holds_nothing(text) {
                note_empty(file, sink);
            } else if let Some(decoded) = decode::filled::<Included>(file, text, &mut read, sink) {
                parts.push((file, decoded).into());
            }
        }
        // In a name it does no harm, and every key and variable that asks has it.
        let asks_ja4 = files.iter().any(|file| file.text.contains("ja4"));
        Self { parts, origins: files, asks_ja4 }
    }

    /// One part that was not read from `origin` as it is: problems name places in `spec`.
    pub(super) fn of_spec(spec: Spec, origin: &'o File) -> Self {
        let asks_ja4 = serde_json::to_string(&spec).is_ok_and(|text| text.contains("ja4"));
        let parts = vec![Part { spec, ..Part::default() }];
        Self { parts, origins: std::slice::from_ref(origin), asks_ja4 }
    }

    /// All parts as one, with nothing left to include.
    pub(super) fn into_whole(self) -> Spec {
        let mut parts = self.parts.into_iter().map(|part| part.spec);
        let mut whole = parts.next().unwrap_or_default();
        for part in parts {
            whole.upstreams.extend(part.upstreams);
            whole.virtual_hosts.extend(part.virtual_hosts);
        }
        whole.include.clear();
        whole
    }

    /// What the main file says: what there is one of stands there alone.
    pub(super) fn main(&self) -> &Spec {
        &self.parts[0].spec
    }

    /// The entries of a section in all parts, each with its spot.
    pub(super) fn entries<'s, S>(
        &'s self,
        section: &'static str,
        of: impl Fn(&'s Spec) -> &'s [S],
    ) -> Vec<(Spot, &'s S)> {
        let entries = self.parts.iter().flat_map(|part| {
            let entries = of(&part.spec).iter().enumerate();
            entries.map(|(index, spec)| (Spot { file: part.file, section, index }, spec))
        });
        entries.collect()
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
