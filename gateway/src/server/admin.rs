//! The admin listener, which comes and goes with the configuration as others do.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use sallyport_config::Found;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{AdminSocket, SocketFile};
use crate::config::{Admin, AdminAddress};
use crate::upgrade::Handed;

/// How long a socket may take to be closed, and answers under way to be written.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The admin listener, if there is one, and how it is served.
#[derive(Default)]
pub(super) struct AdminListener {
    running: Option<Running>,
    serve: Option<Box<Serve>>,
    /// A socket that another process has left to this one, and where that had it in its configuration.
    inherited: Option<(String, OwnedFd)>,
    /// Those that accept no more, until their answers are written.
    ending: Vec<JoinHandle<()>>,
}

type Serve = dyn Fn(AdminSocket, watch::Receiver<bool>) -> JoinHandle<()> + Send;

struct Running {
    configured: AdminAddress,
    address: String,
    file: Option<SocketFile>,
    /// The socket once more, for a process that replaces this one.
    handed: Handed,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// What becomes of the admin listener.
#[derive(Debug)]
pub(super) enum PlannedAdmin {
    /// There is none.
    None,
    /// It stays where it is, with this address in the configuration.
    Stays(AdminAddress),
    /// It is there from now on.
    New(AdminAddress, AdminSocket, Handed),
}

impl fmt::Debug for AdminListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.running.as_ref().map(|running| &running.address);
        f.debug_tuple("AdminListener").field(&address).finish()
    }
}

impl AdminListener {
    pub(super) fn serve_by(&mut self, serve: Box<Serve>) {
        self.serve = Some(serve);
    }

    /// Binds what `admin` needs, if that is not there.
    pub(super) fn prepare(&self, admin: Option<&Admin>) -> Result<PlannedAdmin, Found> {
        let Some(admin) = admin else { return Ok(PlannedAdmin::None) };
        let address = admin.address.clone();
        if self.running.as_ref().is_some_and(|it| is_same_place(&it.configured, &address)) {
            return Ok(PlannedAdmin::Stays(address));
        }
        let found = self.inherited.as_ref().filter(|(there, _)| *there == address.to_string());
        let socket = match found {
            Some((_, socket)) => AdminSocket::inherited(socket, address.clone()),
            None => AdminSocket::bind(&address),
        };
        let prepared = socket.and_then(|socket| Ok((socket.handed()?, socket)));
        match prepared {
            Ok((handed, socket)) => Ok(PlannedAdmin::New(address, socket, handed)),
            Err(error) => {
                let fix = "choose another address, or end what is there";
                Err(Found::error(0, "admin.address".to_owned(), format!("{error:#}"), fix))
            }
        }
    }

    /// Puts the plan in force. Returns the address of a listener that is new.
    pub(super) fn apply(&mut self, planned: PlannedAdmin) -> Option<String> {
        self.inherited = None;
        match planned {
            PlannedAdmin::Stays(address) => {
                self.stay(address);
                None
            }
            PlannedAdmin::None => {
                self.end();
                None
            }
            PlannedAdmin::New(configured, socket, handed) => {
                self.end();
                let (address, file) = (socket.address().to_string(), socket.file());
                let stop = watch::Sender::new(false);
                let task = self.serve.as_ref().map(|serve| serve(socket, stop.subscribe()));
                let shown = address.clone();
                self.running = Some(Running { configured, address, file, handed, stop, task });
                Some(shown)
            }
        }
    }

    /// Uses `socket` where a configuration has the listener at `configured`.
    pub(super) fn inherit(&mut self, configured: String, socket: OwnedFd) {
        self.inherited = Some((configured, socket));
    }

    /// The socket for another process, if there is one.
    pub(super) fn handed(&self) -> io::Result<Option<Handed>> {
        self.running.as_ref().map(|running| running.handed.copy()).transpose()
    }

    /// Ends the listener here: another process has its socket, and the file of that.
    pub(super) fn leave(&mut self) {
        if let Some(left) = self.running.take() {
            left.stop.send_replace(true);
            // One that it would accept now would be asked for by somebody who means the other process.
            wait_until(|| left.stop.receiver_count() == 0);
            self.ending.extend(left.task);
        }
    }

    /// Ends the listener, and returns when its answers are written.
    pub(super) fn finish(&mut self) {
        self.end();
        wait_until(|| self.ending.iter().all(JoinHandle::is_finished));
    }

    /// Ends the listener: connections when they are idle.
    pub(super) fn end(&mut self) {
        let Some(gone) = self.running.take() else { return };
        tracing::info!(name = "admin", address = gone.address, "no longer listening");
        gone.stop.send_replace(true);
        self.ending.retain(|task| !task.is_finished());
        self.ending.extend(gone.task);
        if let Some(file) = gone.file {
            file.remove();
        }
    }

    fn stay(&mut self, address: AdminAddress) {
        let Some(running) = &mut self.running else { return };
        if let AdminAddress::Unix { path, mode } = &address
            && running.configured != address
            && let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(*mode))
        {
            tracing::error!(%error, "the admin socket keeps the mode it has");
        }
        running.configured = address;
    }
}

/// Waits until `condition` holds, but not for ever.
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether the socket that listens at one is that of the other; the mode of a file can change.
fn is_same_place(one: &AdminAddress, other: &AdminAddress) -> bool {
    match (one, other) {
        (AdminAddress::Unix { path: one, .. }, AdminAddress::Unix { path: other, .. }) => {
            one == other
        }
        _ => one == other,
    }
}
