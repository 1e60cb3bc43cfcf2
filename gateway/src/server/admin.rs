//! The admin listener, which comes and goes with the configuration as others do.

use std::fmt;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use sallyport_config::Found;
use tokio::sync::watch;

use crate::admin::{AdminSocket, SocketFile};
use crate::config::{Admin, AdminAddress};

/// The admin listener, if there is one, and how it is served.
#[derive(Default)]
pub(super) struct AdminListener {
    running: Option<Running>,
    serve: Option<Box<Serve>>,
}

type Serve = dyn Fn(AdminSocket, watch::Receiver<bool>) + Send;

struct Running {
    configured: AdminAddress,
    address: String,
    file: Option<SocketFile>,
    stop: watch::Sender<bool>,
}

/// What becomes of the admin listener.
#[derive(Debug)]
pub(super) enum PlannedAdmin {
    /// There is none.
    None,
    /// It stays where it is, with this address in the configuration.
    Stays(AdminAddress),
    /// It is there from now on.
    New(AdminAddress, AdminSocket),
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
        match AdminSocket::bind(&address) {
            Ok(socket) => Ok(PlannedAdmin::New(address, socket)),
            Err(error) => {
                let fix = "choose another address, or end what is there";
                Err(Found::error(0, "admin.address".to_owned(), format!("{error:#}"), fix))
            }
        }
    }

    /// Puts the plan in force. Returns the address of a listener that is new.
    pub(super) fn apply(&mut self, planned: PlannedAdmin) -> Option<String> {
        match planned {
            PlannedAdmin::Stays(address) => {
                self.stay(address);
                None
            }
            PlannedAdmin::None => {
                self.end();
                None
            }
            PlannedAdmin::New(configured, socket) => {
                self.end();
                let (address, file) = (socket.address().to_string(), socket.file());
                let stop = watch::Sender::new(false);
                if let Some(serve) = &self.serve {
                    serve(socket, stop.subscribe());
                }
                self.running = Some(Running { configured, address: address.clone(), file, stop });
                Some(address)
            }
        }
    }

    /// Ends the listener: connections when they are idle.
    pub(super) fn end(&mut self) {
        let Some(gone) = self.running.take() else { return };
        tracing::info!(name = "admin", address = gone.address, "no longer listening");
        gone.stop.send_replace(true);
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

/// Whether the socket that listens at one is that of the other; the mode of a file can change.
fn is_same_place(one: &AdminAddress, other: &AdminAddress) -> bool {
    match (one, other) {
        (AdminAddress::Unix { path: one, .. }, AdminAddress::Unix { path: other, .. }) => {
            one == other
        }
        _ => one == other,
    }
}
