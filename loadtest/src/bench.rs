//! The scene of an experiment: an origin, a folder for files, and proxies started on demand.
//!
//! Owns what every experiment shares: which proxies take part, which CPU each program gets, the
//! kernel setting held for the run, and the check that a proxy answers rightly before it is
//! measured. What is measured is the experiment's own matter.

use crate::client::Client;
use crate::congestion::Congestion;
use crate::contestant::{Addresses, Choice, Contestant, Kind, Variant};
use crate::interrupt::Interrupt;
use crate::process::{Process, free_address};
use crate::sallyport::Filters;
use crate::{nginx, sallyport};
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Routes of the proxies that have routes; the load asks for the one in the middle.
const ROUTES: usize = 100;
/// The path that every request asks for.
pub const PATH: &str = "/r050/x";
/// The path on the same route at which the origin answers with the fields that filters set.
pub const SEEN: &str = "/r050/seen";

/// What every experiment takes from the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct SceneOptions {
    /// CPU of the proxy under test.
    #[arg(long, default_value_t = 0)]
    pub proxy_cpu: usize,
    /// CPU of the origin and the load.
    #[arg(long, default_value_t = 1)]
    pub load_cpu: usize,
    /// Length of the origin's answer, up to 1 MiB.
    #[arg(long, default_value_t = 1024)]
    pub body_bytes: usize,
    /// The gateway's binary; the one beside this program if left out.
    #[arg(long, value_name = "PATH")]
    pub sallyport: Option<PathBuf>,
    /// Write every sample to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl SceneOptions {
    /// The gateway's binary, which need not be there.
    pub fn gateway(&self) -> Result<PathBuf> {
        self.sallyport.clone().map_or_else(|| beside("sallyport"), Ok)
    }
}

/// The program of this name in the folder of this one.
fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
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
                Choice::Sallyport => Kind::Sallyport(self.scene.gateway()?, Filters::None),
            };
            contestants.push(Contestant { name: choice.name().to_owned(), kind });
        }
        for settings in &self.bare {
            let kind = Kind::Bare(bare.clone(), settings.parse()?);
            contestants.push(Contestant { name: format!("bare {settings}"), kind });
        }
        for program in &self.against {
            let name = format!("against {}", program.display());
            let kind = Kind::Sallyport(program.clone(), Filters::None);
            contestants.push(Contestant { name, kind });
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

/// Everything that runs during an experiment but the proxies. Fields are dropped in this order:
/// the origin ends before its folder goes and the kernel setting returns.
#[derive(Debug)]
pub struct Scene {
    origin: Process,
    origin_address: SocketAddr,
    started: Cell<usize>,
    dir: TempDir,
    congestion: Congestion,
    /// Raised when the run should stop.
    pub interrupt: Interrupt,
    /// CPU of the proxy under test.
    pub proxy_cpu: usize,
    /// CPU of the origin and the load.
    pub load_cpu: usize,
    body_bytes: usize,
}

/// A proxy that has been seen to answer; dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    /// Its name in the tables.
    pub name: String,
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Its process, which on nginx's part has a child.
    pub process: Process,
}

/// What a run was made under, for its report.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// TCP congestion control in force.
    pub congestion_control: String,
    /// CPU of the proxy under test.
    pub proxy_cpu: usize,
    /// CPU of the origin and the load.
    pub load_cpu: usize,
    /// Length of the origin's answer.
    pub body_bytes: usize,
    /// Routes of the proxies that have routes.
    pub routes: usize,
}

impl Scene {
    /// Starts the origin. This process moves to the load's CPU and takes all the file descriptors
    /// it may; what it starts inherits that limit.
    pub fn set(options: &SceneOptions) -> Result<Self> {
        ensure!(options.body_bytes <= nginx::BODY_BYTES_MAX, "--body-bytes: at most 1 MiB");
        ensure!(options.proxy_cpu != options.load_cpu, "the proxy needs a CPU of its own");
        let interrupt = Interrupt::install()?;
        let congestion = Congestion::hold();
        raise_descriptor_limit()?;
        move_to(options.load_cpu)?;
        let dir = tempfile::Builder::new().prefix("sallyport-loadtest-").tempdir()?;
        let origin_address = free_address()?;
        let origin = start_origin(options, origin_address, dir.path(), &interrupt)?;
        Ok(Self {
            origin,
            origin_address,
            started: Cell::new(0),
            dir,
            congestion,
            interrupt,
            proxy_cpu: options.proxy_cpu,
            load_cpu: options.load_cpu,
            body_bytes: options.body_bytes,
        })
    }

    /// Starts a proxy and sees that it passes on the origin's answer and that its filters run.
    pub fn start(&self, contestant: &Contestant) -> Result<Proxy> {
        let dir = self.folder()?;
        let listen = free_address()?;
        let addresses = Addresses { listen, admin: free_address()?, upstream: self.origin_address };
        let command = contestant.prepare(addresses, &sallyport::prefixes(ROUTES), &dir)?;
        let mut process = Process::start("proxy", self.proxy_cpu, &command, &dir)?;
        let name = contestant.name.clone();
        process.wait_for_listener(listen, &self.interrupt).with_context(|| name.clone())?;
        check_answer(listen, self.body_bytes).with_context(|| name.clone())?;
        check_filters(listen, &contestant.seen()).with_context(|| name.clone())?;
        Ok(Proxy { name, address: listen, process })
    }

    /// Fails if the origin has ended.
    pub fn check_origin(&mut self) -> Result<()> {
        self.origin.check_alive()
    }

    /// The run's own folder, gone when the scene is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the run is made under.
    pub fn conditions(&self) -> Conditions {
        Conditions {
            congestion_control: self.congestion.in_force(),
            proxy_cpu: self.proxy_cpu,
            load_cpu: self.load_cpu,
            body_bytes: self.body_bytes,
            routes: ROUTES,
        }
    }

    fn folder(&self) -> Result<PathBuf> {
        self.started.set(self.started.get() + 1);
        let dir = self.dir.path().join(format!("proxy-{}", self.started.get()));
        fs::create_dir(&dir)?;
        Ok(dir)
    }
}

fn start_origin(
    options: &SceneOptions,
    listen: SocketAddr,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<Process> {
    let conf = dir.join("origin.conf");
    fs::write(&conf, nginx::origin(listen, options.body_bytes, dir))?;
    let mut origin = Process::start("origin", options.load_cpu, &nginx::command(&conf), dir)?;
    origin.wait_for_listener(listen, interrupt).context("the origin (Debian package nginx)")?;
    Ok(origin)
}

/// A few requests, so that lazy parts are up and the answer is known to be the origin's.
fn check_answer(address: SocketAddr, body_bytes: usize) -> Result<()> {
    let mut client = Client::connect(address)?;
    for _ in 0..16 {
        let body = client.fetch(PATH)?;
        ensure!(body.len() == body_bytes, "{} bytes came of {body_bytes}", body.len());
        ensure!(body.iter().all(|&byte| byte == b'x'), "the body is not the origin's");
    }
    Ok(())
}

fn check_filters(address: SocketAddr, expected: &str) -> Result<()> {
    let seen = String::from_utf8(Client::connect(address)?.fetch(SEEN)?)?;
    ensure!(seen == expected, "the origin saw {seen:?} of filters, not {expected:?}");
    Ok(())
}

/// Descriptors this process and what it starts may open.
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

fn move_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("there is no CPU {cpu} to use"))
}
