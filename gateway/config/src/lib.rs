//! A configuration file: read whole, every problem at once with its line, watched for edits.
//!
//! The gateway and the classifier's loader read files of the same manner with this. [`Sources`] are
//! the files as they were on disk; [`parse`] makes a [`Node`] tree of one; readers take values out of
//! it and note in a [`Sink`] what is wrong; [`Problems::locate`] gives each finding its line; and
//! [`watch`] says when to do all that again. It deliberately does not know what any key means.
//!
//! ```
//! use sallyport_config::{File, Node, Place, Problems, parse, scalar};
//!
//! let file = File { path: "demo.yaml".into(), text: "name: a\nwait: 5\ncolour: red\n".into() };
//! let mut problems = Vec::new();
//! let value = parse(0, &file.text, &mut problems).expect("it is YAML");
//! let node = Node { value: &value, place: Place::File(0) };
//! node.mapping(&mut problems, |fields, sink| {
//!     let name = fields.required(sink, "name", scalar::name);
//!     let wait = fields.optional(sink, "wait", scalar::duration);
//!     Some((name?, wait))
//! });
//! let said = Problems::locate(problems, &[file]).to_string();
//! assert_eq!(
//!     said,
//!     "demo.yaml:2: wait: is 5, not a string with a unit, write 5s if it is seconds, or 5ms\n\
//!      demo.yaml:3: colour: unknown key `colour`, known keys here: `name`, `wait`"
//! );
//! ```

pub mod decode;
pub mod delivery;
mod entries;
mod files;
mod lines;
mod problem;
pub mod process;
pub mod references;
pub mod regular;
pub mod scalar;
pub mod schema;
mod source;
pub mod spec;
mod strict;
mod tree;
pub mod units;
mod value;
pub mod watch;

pub use entries::Entries;
pub use files::Files;
pub use problem::{Found, Problem, Problems, Severity};
pub use source::{FILE_BYTES_MAX, File, Sources, hexadecimal};
pub use tree::{Fields, Node, Place, Sink};
pub use value::{Mapping, Value};

/// Writes `value` as a YAML file.
///
/// # Errors
/// What YAML cannot hold, as text.
pub fn to_yaml(value: &impl serde::Serialize) -> Result<String, String> {
    serde_yaml::to_string(value).map_err(|error| error.to_string())
}

/// Parses the text of the file with index `file`; what is wrong with its syntax is noted with the
/// line that the parser gives.
pub fn parse(file: usize, text: &str, sink: &mut Sink) -> Option<Value> {
    match value::read(file, text) {
        Ok((value, found)) => {
            sink.extend(found);
            Some(value)
        }
        Err(found) => {
            sink.push(found);
            None
        }
    }
}
