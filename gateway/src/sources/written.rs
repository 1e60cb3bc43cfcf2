//! Fragments as text: for a fingerprint, for the history and for the disk.
//!
//! A fragment is written once, when it is delivered, and kept compressed. The configuration as one
//! text, which only who asks for it wants to see, is put together from such texts and the files.

use std::sync::Arc;

use sallyport_config::spec::Fragment;
use sallyport_config::{File, to_yaml};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::merge::Additions;
use crate::config::{compressed, decompressed};

/// A fragment as JSON.
#[derive(Debug)]
pub struct Written {
    /// The digest of the JSON.
    pub(super) sha256: [u8; 32],
    /// Whether anything in it may ask for the JA4 fingerprint of clients.
    pub(super) asks_ja4: bool,
    compressed: Box<[u8]>,
}

impl Written {
    /// Writes a fragment.
    pub(super) fn of(fragment: &Fragment) -> Arc<Self> {
        // Declared types are always written: their keys are texts.
        let json = serde_json::to_string(fragment).unwrap_or_default();
        Arc::new(Self {
            sha256: Sha256::digest(&json).into(),
            asks_ja4: json.contains("ja4"),
            compressed: compressed(&json),
        })
    }

    /// The JSON; `None` if it cannot be read back, which nothing causes.
    pub(super) fn json(&self) -> Option<String> {
        decompressed(&self.compressed)
    }

    /// What it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.compressed.len()
    }
}

/// The files and the fragments of all sources as one file, with references as they are written; `None`
/// if something of it cannot be read.
#[must_use]
pub fn whole(files: &[File], fragments: &[Arc<Written>]) -> Option<File> {
    let path = files.first()?.path.clone();
    let mut whole = crate::config::effective(files)?;
    let read = |written: &Arc<Written>| serde_json::from_str::<Fragment>(&written.json()?).ok();
    let fragments: Vec<Fragment> = fragments.iter().map(read).collect::<Option<_>>()?;
    let hosts = whole["virtual_hosts"].as_array().into_iter().flatten();
    let names = hosts.filter_map(|host| host["name"].as_str().map(Into::into));
    let additions = Additions::of(names, fragments.iter());
    for listener in whole["listeners"].as_array_mut().into_iter().flatten() {
        // As in `merge.rs`: what terminates nothing serves no hosts.
        let tls = &listener["tls"];
        let terminates = tls["passthrough"].is_null() || !tls["certificates"].is_null();
        if listener["virtual_hosts"].is_null() && terminates {
            listener["virtual_hosts"] = json!(additions.served);
            if let Some(certificates) = listener["tls"]["certificates"].as_array_mut() {
                let more = additions.certificates.iter();
                certificates.extend(more.map(|certificate| json!(certificate)));
            }
        }
    }
    for fragment in &fragments {
        let Fragment { listeners, upstreams, virtual_hosts, certificates: _ } = fragment;
        append(&mut whole["listeners"], json!(listeners));
        append(&mut whole["upstreams"], json!(upstreams));
        append(&mut whole["virtual_hosts"], json!(virtual_hosts));
    }
    drop_null(&mut whole);
    Some(File { path, text: to_yaml(&whole).ok()? })
}

fn append(list: &mut Value, more: Value) {
    if let (Some(list), Value::Array(more)) = (list.as_array_mut(), more) {
        list.extend(more);
    }
}

/// Leaves out what is not there: a key that is written has a value.
fn drop_null(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}
