//! `sallyport-classifier run`: start-up and shutdown, in order.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use sallyport_config::process::{NotifyState, Signals, notify};
use sallyport_config::watch;

use super::{Failure, load};
use crate::config::Lists;
use crate::control::Control;
use crate::kernel::Notices;
use crate::metrics::{self, Metrics};
use crate::pinned::{Access, Maps};

/// How often the loader says that it is at work.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The longest time between two looks at interfaces, links and pins. They cost microseconds.
const LOOK: Duration = Duration::from_millis(250);

// What is lost is back within a second, also where one look comes just before it.
const _: () = assert!(3 * LOOK.as_millis() < 1_000);

/// Load the program, attach it and follow the file.
#[derive(Debug, Parser)]
pub struct Args {
    /// The configuration file
    #[arg(long)]
    config: PathBuf,
    /// Leave the program attached and its maps pinned at the end
    #[arg(long)]
    keep: bool,
}

/// Works until told to end.
///
/// # Errors
/// If the configuration has problems or the kernel refuses.
pub fn main(args: &Args) -> Result<(), Failure> {
    let mut lists = Lists::default();
    let loaded = load(&args.config, &mut lists)?;
    let pin_path = loaded.config.pin_path.clone();
    let socket = loaded.config.metrics.map(bind).transpose()?;
    let background = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before anything is attached or pinned: an end that is asked for from now on tidies up.
    let mut signals = {
        let _entered = background.enter();
        Signals::listen().context("cannot listen for signals")?
    };

    let control = Arc::new(Control::start(loaded, lists)?);
    let served = serve(&background, socket, || {
        let maps = Maps::open(&pin_path, Access::Read)?;
        Ok(Metrics { maps, control: control.clone() })
    });
    let started = served.and_then(|()| {
        heartbeat(control.clone())?;
        look_after(control.clone())?;
        let reloader = control.clone();
        let follow = move |attempt| reloader.reload(attempt);
        watch::spawn(args.config.clone(), follow).context("cannot start the reload thread")
    });
    let result = started.map(|waker| {
        notify(NotifyState::Ready);
        background.block_on(signals.until_told_to_end(&waker));
    });

    notify(NotifyState::Stopping);
    control.end(args.keep)?;
    tracing::info!(kept = args.keep, "ended");
    Ok(result?)
}

fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = TcpListener::bind(address)
        .with_context(|| format!("metrics.address: cannot listen on {address}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn serve(
    background: &tokio::runtime::Runtime,
    socket: Option<TcpListener>,
    metrics: impl FnOnce() -> anyhow::Result<Metrics>,
) -> anyhow::Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    let address = socket.local_addr()?;
    let metrics = metrics()?;
    let _entered = background.enter();
    let socket = tokio::net::TcpListener::from_std(socket)?;
    background.spawn(async move {
        if let Err(error) = metrics::serve(socket, metrics).await {
            tracing::error!(%error, "the metrics listener ended");
        }
    });
    tracing::info!(name = %"metrics", %address, "listening");
    Ok(())
}

fn heartbeat(control: Arc<Control>) -> anyhow::Result<()> {
    let beat = move || {
        loop {
            control.beat();
            std::thread::sleep(HEARTBEAT);
        }
    };
    let thread = std::thread::Builder::new().name("heartbeat".into());
    thread.spawn(beat).map(drop).context("cannot start the heartbeat thread")
}

/// Apart from the heartbeat: looking waits for the kernel's lock of interfaces, and for edits.
fn look_after(control: Arc<Control>) -> anyhow::Result<()> {
    // Before the first look: what happens from now on is noticed.
    let notices = Notices::open();
    let look = move || {
        loop {
            control.look_after();
            notices.wait(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("interfaces".into());
    thread.spawn(look).map(drop).context("cannot start the thread for interfaces")
}
