//! Which sockets the next configuration listens on: those that are there already, and new ones.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sallyport_config::Found;

use super::admin::PlannedAdmin;
use crate::accept::Bound;
use crate::config::Listener;

/// Sockets for every listener of a configuration, that of the admin too.
#[derive(Debug)]
pub struct Plan {
    pub(super) listeners: Vec<Planned>,
    pub(super) admin: PlannedAdmin,
}

/// Sockets for one listener.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) name: Arc<str>,
    /// As the configuration has it; its port may be 0.
    pub(super) configured: SocketAddr,
    pub(super) bound: Bound,
}

/// Plans `listeners`, each with a socket for each of `workers`, as far as that can be; and the problems
/// with the others. `running` are names, configured addresses and sockets of those that listen now.
pub(super) fn plan<'r>(
    running: impl Iterator<Item = (&'r str, SocketAddr, &'r Bound)>,
    listeners: &[Listener],
    workers: usize,
) -> (Vec<Planned>, Vec<Found>) {
    let running = running.collect();
    let mut planner = Planner { running, bound: Vec::new(), problems: Vec::new() };
    let listeners = listeners.iter().enumerate().filter_map(|(index, listener)| {
        let place = || format!("listeners[{index}].address");
        planner.listen(&listener.name, listener.address, workers, place)
    });
    let listeners = listeners.collect();
    (listeners, planner.problems)
}

struct Planner<'r> {
    running: Vec<(&'r str, SocketAddr, &'r Bound)>,
    /// Addresses that were bound for this plan.
    bound: Vec<SocketAddr>,
    problems: Vec<Found>,
}

impl Planner<'_> {
    fn listen(
        &mut self,
        name: &Arc<str>,
        configured: SocketAddr,
        count: usize,
        place: impl Fn() -> String,
    ) -> Option<Planned> {
        let planned = |bound| Planned { name: name.clone(), configured, bound };
        if let Some(bound) = self.reused(name, configured, count) {
            return Some(planned(bound));
        }
        // The kernel lets sockets of one process share a port, also where one is bound to all
        // addresses; those of others are to be a problem.
        let running = self.running.iter().map(|(_, _, bound)| bound.address());
        let is_ours = running.chain(self.bound.iter().copied()).any(|it| overlap(it, configured));
        let bound =
            if is_ours { Bound::sharing(configured, count) } else { Bound::new(configured, count) };
        match bound {
            Ok(bound) => {
                self.bound.push(bound.address());
                Some(planned(bound))
            }
            Err(error) => {
                let what = format!("cannot listen on {configured}: {error}");
                self.problems.push(Found::error(0, place(), what, remedy(configured, &error)));
                None
            }
        }
    }

    /// The sockets that listen there now: of the same listener, or of one that has another name.
    fn reused(&self, name: &str, configured: SocketAddr, count: usize) -> Option<Bound> {
        let there = self
            .running
            .iter()
            .filter(|(_, address, bound)| *address == configured && bound.sockets().len() >= count);
        let mut there = there.filter(|(of, ..)| *of == name || configured.port() != 0);
        // Of several with port 0 the one with its name.
        let same = there.clone().find(|(of, ..)| *of == name);
        same.or_else(|| there.next()).map(|(_, _, bound)| (*bound).clone())
    }
}

/// Whether sockets bound to `one` and to `other` are in each other's way.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip().to_canonical() == other.ip().to_canonical())
}

fn remedy(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "stop what listens there (`ss -ltnp 'sport = :{port}'` shows it) or choose another port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            let any = if address.is_ipv4() { "0.0.0.0" } else { "[::]" };
            format!("write an address of this host, such as {any}:{port}")
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 on, or give sallyport CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

#[cfg(test)]
mod tests;
