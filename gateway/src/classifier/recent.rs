//! What is known of HTTP/2 connections, whose requests share nothing that could carry it.
//!
//! A fixed number of places, one connection each: another one that falls to the same place takes it,
//! and what it costs is a second lookup.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Known;

const PLACES: usize = 4096;

type Place = Mutex<Option<(SocketAddr, SystemTime, Arc<Known>)>>;

/// Connections by peer and the time they were made at.
#[derive(Debug)]
pub(super) struct Recent(Box<[Place]>);

impl Default for Recent {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl Recent {
    /// What is remembered, or what `look_up` finds now.
    pub(super) fn or_else(
        &self,
        peer: SocketAddr,
        established: SystemTime,
        look_up: impl FnOnce() -> Option<Arc<Known>>,
    ) -> Option<Arc<Known>> {
        let place = &self.0[place_of(peer)];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some((of, since, known)) if *of == peer && *since == established => Some(known.clone()),
            _ => {
                let known = look_up()?;
                *place = Some((peer, established, known.clone()));
                Some(known)
            }
        }
    }
}

/// A client's ports differ from one connection to the next, so they spread what its address does not.
fn place_of(peer: SocketAddr) -> usize {
    let address = match peer.ip() {
        std::net::IpAddr::V4(address) => sallyport_balance::hash_key(&address.octets()),
        std::net::IpAddr::V6(address) => sallyport_balance::hash_key(&address.octets()),
    };
    (address as usize).wrapping_add(usize::from(peer.port())) % PLACES
}
