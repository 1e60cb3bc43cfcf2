//! What comes between accepting a connection and its first request.

use pingora_core::protocols::Stream;

use super::facts::Connection;
use super::socket::ClientSocket;
use super::tls;
use crate::proxy::Shared;

/// Brings a connection from its first byte to where requests begin. `None` if it ends here.
///
/// This is where TLS stands: it reads from `socket`, and gives back the stream of what is in it and
/// `connection` with [`tls`](Connection::tls) filled in. Whatever waits here is boxed, so that
/// connections in clear text do not carry its state, and ends with a deadline of its own: nobody
/// else counts the time.
pub(super) async fn handshake(
    socket: ClientSocket,
    connection: Connection,
    shared: &Shared,
) -> Option<(Stream, Connection)> {
    let bounds = {
        let (snapshot, index) = connection.listener.pin(&shared.live)?;
        snapshot.listeners[index].tls.as_ref().zip(snapshot.tls(index)).map(|(settings, tls)| {
            let (timeout, handshakes) = (settings.handshake_timeout, settings.max_handshakes);
            (tls.stats.clone(), tls::Limits { timeout, handshakes })
        })
    };
    match bounds {
        Some(bounds) => Box::pin(tls::accept(socket, connection, shared, bounds)).await,
        None => Some((Box::new(socket), connection)),
    }
}
