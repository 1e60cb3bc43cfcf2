//! The scene of an experiment: an origin, a folder for files, and proxies started on demand.
//!
//! Owns what every experiment shares: which proxies take part, which CPU each program gets, the
//! kernel setting held for the run, and the check that a proxy answers rightly before it is
//! measured. What is measured is the experiment's own matter.

use crate::client::Client;
use crate::congestion::Congestion;
use crate::contestant::{Contestant, seen};
use crate::interrupt::Interrupt;
use crate::origin::{Origin, Stage};
use crate::process::{Process, free_address};
use crate::proxies::Setup;
use crate::site::{Feature, Place, Site};
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;
use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Routes of the proxies that have routes; the load asks for the one in the middle.
const ROUTES: usize = 100;
/// The path that every request asks for.
pub const PATH: &str = "/r00050/x";
/// The path on the same route at which the origin answers with the fields that filters set.
pub const SEEN: &str = "/r00050/seen";
/// How long a proxy may take until it answers rightly; ten thousand routes take some of them a while.
const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A limit low enough to be met, and more requests than it admits.
const LOW_PER_S: u32 = 5;
const ABOVE_LOW: usize = 50;

/// Who runs where: the proxy under test has a CPU of its own, so that nothing else is in its account.
#[derive(Clone, Copy, Debug, clap::Args, Serialize)]
pub struct Cpus {
    /// CPU of the proxy under test, with all its workers.
    #[arg(long = "proxy-cpu", value_name = "CPU", default_value_t = 0)]
    #[serde(rename = "proxy_cpu")]
    pub proxy: usize,
    /// CPU of the origins and the load.
    #[arg(long = "load-cpu", value_name = "CPU", default_value_t = 1)]
    #[serde(rename = "load_cpu")]
    pub load: usize,
}

impl Cpus {
    /// Fails if both are the same.
    pub fn check(self) -> Result<Self> {
        ensure!(self.proxy != self.load, "the proxy needs a CPU of its own");
        Ok(self)
    }
}

/// What every experiment takes from the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct SceneOptions {
    /// Who runs where.
    #[command(flatten)]
    pub cpus: Cpus,
    /// Length of the origin's answer, up to 1 MiB.
    #[arg(long, default_value_t = 1024)]
    pub body_bytes: usize,
    /// Workers of each proxy, all on its CPU.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
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
pub fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

/// Everything that runs during an experiment but the proxies. Fields are dropped in this order:
/// the origin ends before its folder goes and the kernel setting returns.
#[derive(Debug)]
pub struct Scene {
    /// What stands behind the proxies.
    pub origin: Origin,
    started: Cell<usize>,
    dir: TempDir,
    congestion: Congestion,
    /// Raised when the run should stop.
    pub interrupt: Interrupt,
    /// Who runs where.
    pub cpus: Cpus,
    workers: usize,
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
    contestant: Contestant,
    place: Place,
    setup: Setup,
}

impl Proxy {
    /// Where it takes those that come by the site's front.
    pub fn front(&self) -> SocketAddr {
        self.place.front
    }

    /// Where its admin listens, if it has one.
    pub fn admin(&self) -> SocketAddr {
        self.place.admin
    }

    /// Has it serve `site` from now on, as far as it can be told while it runs. When it does so is for
    /// its answers to show.
    ///
    /// # Errors
    /// It cannot do what the site asks for, cannot be told, or refused.
    pub fn reload(&mut self, site: &Site) -> Result<()> {
        let setup = self.contestant.setup(site, &self.place)?;
        setup.apply(&self.setup, &self.process)?;
        self.setup = setup;
        Ok(())
    }
}

/// What a run was made under, for its report.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// TCP congestion control in force.
    pub congestion_control: String,
    /// Who ran where.
    #[serde(flatten)]
    pub cpus: Cpus,
    /// Length of the origin's answer.
    pub body_bytes: usize,
    /// Routes of the proxies that have routes.
    pub routes: usize,
    /// Workers of each proxy.
    pub workers: usize,
}

impl Scene {
    /// Starts the origin. This process moves to the load's CPU and takes all the file descriptors
    /// it may; what it starts inherits that limit.
    pub fn set(options: &SceneOptions) -> Result<Self> {
        let cpus = options.cpus.check()?;
        ensure!(options.workers > 0, "somebody has to work");
        let interrupt = Interrupt::install()?;
        let congestion = Congestion::hold();
        raise_descriptor_limit()?;
        move_to(cpus.load)?;
        let dir = tempfile::Builder::new().prefix("sallyport-loadtest-").tempdir()?;
        let stage = Stage::one(options.body_bytes);
        let origin = Origin::start(&stage, cpus.load, dir.path(), &interrupt)?;
        Ok(Self {
            origin,
            started: Cell::new(0),
            dir,
            congestion,
            interrupt,
            workers: options.workers,
            cpus,
        })
    }

    /// Puts another origin behind proxies that are started from now on.
    pub fn restage(&mut self, stage: &Stage) -> Result<()> {
        self.origin = Origin::start(stage, self.cpus.load, &self.folder()?, &self.interrupt)?;
        Ok(())
    }

    /// Starts a proxy with a hundred routes and what the contestant does to requests.
    pub fn start(&self, contestant: &Contestant) -> Result<Proxy> {
        let site = Site::new(ROUTES, self.origin.upstreams.clone());
        let site = Site { workers: self.workers, ..site };
        self.serve(contestant, &site.with(contestant.feature.clone()))
    }

    /// Starts a proxy and sees that it passes on the origin's answer and that its feature works.
    ///
    /// # Errors
    /// [`crate::proxies::Unsupported`] if the proxy cannot do what the site asks for; it does not
    /// start, or does not answer rightly within a minute.
    pub fn serve(&self, contestant: &Contestant, site: &Site) -> Result<Proxy> {
        let proxy = self.launch(contestant, site)?;
        check_answer(proxy.address, self.origin.body_bytes).with_context(|| proxy.name.clone())?;
        check_feature(proxy.address, &site.feature).with_context(|| proxy.name.clone())?;
        Ok(proxy)
    }

    /// Sees that a limit of the same kind refuses what is above it, on a proxy of its own.
    pub fn check_limit(&self, contestant: &Contestant, site: &Site) -> Result<()> {
        let low = site.clone().with(Feature::RateLimit { per_s: LOW_PER_S });
        let proxy = self.launch(contestant, &low)?;
        let mut client = Client::connect(proxy.address)?;
        let answers: Vec<u16> =
            (0..ABOVE_LOW).filter_map(|_| Some(client.ask(PATH).ok()?.status)).collect();
        let refused = answers.iter().filter(|&&status| status == 429 || status == 503).count();
        ensure!(refused > 0, "{}: a limit of {LOW_PER_S}/s refused nothing", proxy.name);
        Ok(())
    }

    /// Starts a proxy and waits until it answers the first request.
    fn launch(&self, contestant: &Contestant, site: &Site) -> Result<Proxy> {
        let (listen, front, admin) = (free_address()?, free_address()?, free_address()?);
        let place = Place { listen, front, admin, dir: self.folder()? };
        let setup = contestant.setup(site, &place)?;
        setup.write()?;
        let process = Process::start("proxy", self.cpus.proxy, &setup.command, &place.dir)?;
        let (name, address) = (contestant.name.clone(), place.listen);
        let mut proxy =
            Proxy { name, address, process, contestant: contestant.clone(), place, setup };
        self.wait_for_answer(&mut proxy).with_context(|| proxy.name.clone())?;
        Ok(proxy)
    }

    fn wait_for_answer(&self, proxy: &mut Proxy) -> Result<()> {
        let deadline = Instant::now() + START;
        let answer = || Client::connect(proxy.address)?.fetch(PATH);
        while let Err(error) = answer() {
            self.interrupt.check()?;
            proxy.process.check_alive()?;
            let printed = proxy.process.printed();
            ensure!(Instant::now() < deadline, "does not serve ({error:#}): {}", printed.trim());
            sleep(POLL);
        }
        Ok(())
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
            cpus: self.cpus,
            body_bytes: self.origin.body_bytes,
            routes: ROUTES,
            workers: self.workers,
        }
    }

    fn folder(&self) -> Result<PathBuf> {
        self.started.set(self.started.get() + 1);
        let dir = self.dir.path().join(format!("proxy-{}", self.started.get()));
        fs::create_dir(&dir)?;
        Ok(dir)
    }
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

fn check_feature(address: SocketAddr, feature: &Feature) -> Result<()> {
    let answer = Client::connect(address)?.ask(SEEN)?;
    let (fields, expected) = (String::from_utf8_lossy(&answer.body), seen(feature));
    ensure!(fields == expected, "the origin saw {fields:?} of filters, not {expected:?}");
    if *feature == Feature::Headers {
        ensure!(answer.field("x-seen") == Some("b"), "the response lacks x-seen");
        ensure!(answer.field("x-origin").is_none(), "the response still has x-origin");
    }
    Ok(())
}

/// Descriptors this process and what it starts may open.
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Takes all the descriptors this process may have; what it starts inherits them.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Moves this process to `cpu`; what it starts follows.
///
/// # Errors
/// There is no such CPU to use.
pub fn move_to(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("there is no CPU {cpu} to use"))
}
