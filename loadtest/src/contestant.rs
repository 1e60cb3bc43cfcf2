//! The proxies that take part, and how each is described on the command line.
//!
//! Owns names and variants, and turns each into the program, the file and the arguments that start
//! it. Starting is [`crate::bench`]'s part, so that everything here can be tested without a process.

use crate::sallyport::{self, Filters};
use crate::{envoy, nginx};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The proxies that take part unless the command line says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// nginx as a reverse proxy with upstream keep-alive.
    Nginx,
    /// Bare Pingora with Pingora's defaults: the yardstick.
    Bare,
    /// Bare Pingora with the gateway's runtime and buffers.
    BareTuned,
    /// The gateway.
    Sallyport,
}

impl Choice {
    /// Its name on the command line and in every table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Bare => "bare",
            Self::BareTuned => "bare-tuned",
            Self::Sallyport => "sallyport",
        }
    }
}

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

impl Variant {
    fn command(&self, program: &Path, listen: SocketAddr, upstream: SocketAddr) -> Vec<String> {
        let program = self.program.as_deref().unwrap_or(program).display().to_string();
        let mut command = vec![program, format!("--listen={listen}")];
        command.extend([format!("--upstream={upstream}"), "--threads=1".to_owned()]);
        command.extend(self.steal.map(|steal| format!("--work-stealing={steal}")));
        command.extend(self.read_buffer_bytes.map(|bytes| format!("--read-buffer={bytes}")));
        command.extend(self.write_buffer_bytes.map(|bytes| format!("--write-buffer={bytes}")));
        command
    }
}

/// The filters whose fields the origin shows.
pub const NATIVE_MAX: usize = 5;

/// One proxy of a run.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Its name in the tables.
    pub name: String,
    /// What is to be started.
    pub kind: Kind,
}

/// The programs there are.
#[derive(Clone, Debug)]
pub enum Kind {
    /// nginx, from the search path.
    Nginx,
    /// `bare-pingora` at this path.
    Bare(PathBuf, Variant),
    /// The gateway at this path.
    Sallyport(PathBuf, Filters),
    /// Envoy at this path, with the example guest `header` if that is given.
    Envoy(PathBuf, Option<PathBuf>),
}

/// The addresses of one proxy of a run.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Where it takes requests.
    pub listen: SocketAddr,
    /// Where the gateway's admin listens; the others have none.
    pub admin: SocketAddr,
    /// Where requests go.
    pub upstream: SocketAddr,
}

impl Contestant {
    /// Fails if the program it needs is not where it should be.
    pub fn check(&self) -> Result<()> {
        let (program, remedy) = match &self.kind {
            Kind::Nginx => return Ok(()),
            Kind::Bare(program, variant) => {
                let remedy = "build it with `cargo build --release -p loadtest`";
                (variant.program.as_ref().unwrap_or(program), remedy)
            }
            Kind::Sallyport(program, _) => {
                (program, "build it, name it with --sallyport, or leave it out with --only")
            }
            Kind::Envoy(program, _) => {
                (program, "get it with `sh loadtest/install-wheel.sh envoy`")
            }
        };
        anyhow::ensure!(program.is_file(), "{}: no such program; {remedy}", program.display());
        self.check_module()
    }

    fn check_module(&self) -> Result<()> {
        let (Kind::Sallyport(_, Filters::Wasm(module)) | Kind::Envoy(_, Some(module))) = &self.kind
        else {
            return Ok(());
        };
        let remedy = "build it with `sh plugins/examples/build.sh`";
        anyhow::ensure!(module.is_file(), "{}: no such module; {remedy}", module.display());
        Ok(())
    }

    /// What the origin must answer at [`crate::bench::SEEN`] if the filters run.
    pub fn seen(&self) -> String {
        let (native, wasm) = match &self.kind {
            Kind::Sallyport(_, Filters::Native(count)) => (*count, ""),
            Kind::Sallyport(_, Filters::Wasm(_)) | Kind::Envoy(_, Some(_)) => (0, "hello"),
            _ => (0, ""),
        };
        let value = |number| if number <= native { "b," } else { "," };
        (1..=NATIVE_MAX).map(value).collect::<String>() + wasm
    }

    /// Writes whatever file it reads into `dir`, and gives the command that starts it.
    pub fn prepare(&self, at: Addresses, prefixes: &[String], dir: &Path) -> Result<Vec<String>> {
        let conf = dir.join("proxy.conf");
        match &self.kind {
            Kind::Nginx => {
                fs::write(&conf, nginx::proxy(at.listen, at.upstream, prefixes, dir))?;
                Ok(nginx::command(&conf))
            }
            Kind::Bare(program, variant) => Ok(variant.command(program, at.listen, at.upstream)),
            Kind::Sallyport(program, filters) => {
                let Addresses { listen, admin, upstream } = at;
                let text = sallyport::configuration(listen, admin, upstream, prefixes, filters);
                fs::write(&conf, text)?;
                Ok(sallyport::command(program, &conf))
            }
            Kind::Envoy(program, module) => {
                // Envoy goes by the name's end.
                let conf = dir.join("proxy.yaml");
                let text =
                    envoy::configuration(at.listen, at.upstream, prefixes, module.as_deref());
                fs::write(&conf, text)?;
                Ok(envoy::command(program, &conf))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_is_read_and_becomes_arguments() {
        let variant: Variant = "steal=off,read=4096,write=0".parse().unwrap();
        assert_eq!(variant.steal, Some(false));
        let address = "127.0.0.1:80".parse().unwrap();
        let command = variant.command(Path::new("bare-pingora"), address, address);
        let expected = ["--work-stealing=false", "--read-buffer=4096", "--write-buffer=0"];
        assert_eq!(command[4..], expected);
    }

    #[test]
    fn what_is_not_said_is_left_to_pingora() {
        let address = "127.0.0.1:80".parse().unwrap();
        let command = Variant::default().command(Path::new("bare-pingora"), address, address);
        assert_eq!(command.len(), 4);
    }

    #[test]
    fn unknown_settings_are_errors() {
        for text in ["steal=maybe", "speed=9", "read", "read=much"] {
            assert!(text.parse::<Variant>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_program_is_named_with_a_remedy() {
        let kind = Kind::Sallyport("/nowhere/sallyport".into(), Filters::None);
        let error = Contestant { name: "sallyport".to_owned(), kind }.check().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nowhere/sallyport") && text.contains("--only"), "{text}");
    }

    #[test]
    fn the_origin_sees_what_filters_set() {
        let seen = |kind| Contestant { name: String::new(), kind }.seen();
        assert_eq!(seen(Kind::Nginx), ",,,,,");
        assert_eq!(seen(Kind::Sallyport("s".into(), Filters::Native(2))), "b,b,,,,");
        assert_eq!(seen(Kind::Envoy("e".into(), Some("m".into()))), ",,,,,hello");
    }
}
