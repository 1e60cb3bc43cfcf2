//! Bare Pingora: one upstream, no file, nothing but proxying.
//!
//! Owns the arguments of `bare-pingora` and how one variant of it differs from another. It has no
//! routes: every request goes the same way.

use super::{Reload, Setup, Unsupported};
use crate::site::{Feature, Place, Site};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How one bare Pingora differs from another, as in `steal=off,read=4096,write=0`.
///
/// `program=PATH` takes another build of `bare-pingora`, to compare features or allocators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Work stealing between threads; Pingora's default if none.
    pub steal: Option<bool>,
    /// Read buffer of a client connection; Pingora's default if none.
    pub read_buffer_bytes: Option<usize>,
    /// Write buffer of a client connection; Pingora's default if none.
    pub write_buffer_bytes: Option<usize>,
    /// Another build of the same program.
    pub program: Option<PathBuf>,
}

impl FromStr for Variant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut variant = Self::default();
        for setting in text.split(',') {
            let (key, value) = setting.split_once('=').context("a setting is KEY=VALUE")?;
            match key {
                "steal" => variant.steal = Some(on_or_off(value)?),
                "read" => variant.read_buffer_bytes = Some(value.parse().context("read")?),
                "write" => variant.write_buffer_bytes = Some(value.parse().context("write")?),
                "program" => variant.program = Some(value.into()),
                _ => bail!("no setting {key:?}: there are steal, read, write and program"),
            }
        }
        Ok(variant)
    }
}

fn on_or_off(value: &str) -> Result<bool> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => bail!("steal is on or off, not {value:?}"),
    }
}

/// What serves `site` with the program at `program`.
///
/// # Errors
/// The site has several endpoints, or does anything to requests.
pub fn setup(
    program: &Path,
    variant: &Variant,
    site: &Site,
    place: &Place,
) -> Result<Setup, Unsupported> {
    let [upstream] = &site.upstreams[..] else {
        return Err(Unsupported("bare Pingora has one upstream".to_owned()));
    };
    let [endpoint] = upstream.endpoints[..] else {
        return Err(Unsupported("bare Pingora has one endpoint".to_owned()));
    };
    if site.feature != Feature::None {
        return Err(Unsupported::feature("bare Pingora", &site.feature));
    }
    let program = variant.program.as_deref().unwrap_or(program).display().to_string();
    let mut command = vec![program, format!("--listen={}", place.listen)];
    command.extend([format!("--upstream={endpoint}"), format!("--threads={}", site.workers)]);
    command.extend(variant.arguments());
    Ok(Setup { files: Vec::new(), command, reload: Reload::Never })
}

impl Variant {
    fn arguments(&self) -> Vec<String> {
        let steal = self.steal.map(|steal| format!("--work-stealing={steal}"));
        let read = self.read_buffer_bytes.map(|bytes| format!("--read-buffer={bytes}"));
        let write = self.write_buffer_bytes.map(|bytes| format!("--write-buffer={bytes}"));
        [steal, read, write].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn one_endpoint() -> Site {
        Site::new(3, vec![vec!["127.0.0.1:9001".parse().unwrap()]])
    }

    #[test]
    fn a_variant_is_read_and_becomes_arguments() {
        let variant: Variant = "steal=off,read=4096,write=0".parse().unwrap();
        assert_eq!(variant.steal, Some(false));
        let setup = setup(Path::new("bare"), &variant, &one_endpoint(), &samples::place()).unwrap();
        let expected = ["--work-stealing=false", "--read-buffer=4096", "--write-buffer=0"];
        assert_eq!(setup.command[4..], expected);
    }

    #[test]
    fn what_is_not_said_is_left_to_pingora() {
        assert!(Variant::default().arguments().is_empty());
    }

    #[test]
    fn unknown_settings_are_errors() {
        for text in ["steal=maybe", "speed=9", "read", "read=much"] {
            assert!(text.parse::<Variant>().is_err(), "{text}");
        }
    }

    #[test]
    fn more_than_proxying_to_one_endpoint_is_not_to_be_had() {
        let refused = |site: &Site| {
            setup(Path::new("bare"), &Variant::default(), site, &samples::place()).unwrap_err()
        };
        assert!(refused(&samples::site()).0.contains("one upstream"));
        assert!(refused(&one_endpoint().with(Feature::Headers)).0.contains("header rewriting"));
    }
}
