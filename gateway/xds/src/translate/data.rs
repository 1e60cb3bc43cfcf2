//! Data that stands in a file, or in the resource itself.

use super::Scope;
use crate::fields::Fields;

/// What becomes of data that stands in a resource where ours names a file.
pub trait Inline {
    /// Keeps `data`, a part of a resource called `what`, and returns the path of its file.
    ///
    /// # Errors
    /// Why it is not kept, and what to write instead.
    fn keep(&self, what: &str, data: &[u8]) -> Inlined;

    /// Reads the file at `path`, whose text ours holds in itself.
    ///
    /// # Errors
    /// Why it is not read, and what to write instead.
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("is the file {path}, write its text itself by `inline_string`"))
    }
}

/// The path of the file that data was kept in, or why it was not.
pub type Inlined = Result<String, String>;

/// Keeps nothing: a file can only name others.
#[derive(Clone, Copy, Debug)]
pub struct NoInline;

impl Inline for NoInline {
    fn keep(&self, _: &str, _: &[u8]) -> Inlined {
        Err("stands in the configuration itself, write it to a file and name that by `filename`"
            .to_owned())
    }
}

/// The path of a file with what the `DataSource` `name` holds.
pub(super) fn file(scope: &Scope<'_>, fields: &Fields<'_>, name: &str) -> Option<String> {
    let source = fields.message(name)?;
    source
        .ignore("watched_directory", "every file is watched, and the folders that it is found by");
    if let Some(path) = source.text("filename") {
        return Some(path);
    }
    let data = inline(&source)?;
    match scope.keep(name, &data) {
        Ok(path) => Some(path),
        Err(why) => source.reject(why),
    }
}

/// What a `DataSource` holds by itself.
fn inline(source: &Fields<'_>) -> Option<Vec<u8>> {
    let text = source.text("inline_string").map(String::into_bytes);
    source.bytes("inline_bytes").or(text)
}

/// The text that the `DataSource` `name` holds.
pub(super) fn text_of(scope: &Scope<'_>, fields: &Fields<'_>, name: &str) -> Option<String> {
    let source = fields.message(name)?;
    source.ignore("watched_directory", "nothing is read from it");
    let data = match source.text("filename") {
        Some(path) => match scope.read(&path) {
            Ok(data) => data,
            Err(why) => return source.reject(why),
        },
        None => inline(&source).unwrap_or_default(),
    };
    match String::from_utf8(data) {
        Ok(text) => Some(text),
        Err(_) => source.reject("is no text in UTF-8"),
    }
}
