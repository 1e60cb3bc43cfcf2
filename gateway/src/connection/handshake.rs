//! What comes between accepting a connection and its first request.

use std::sync::Arc;

use pingora_core::protocols::Stream;
use sallyport_stats::ConnectionRefusal;

use super::facts::Connection;
use super::proxy_protocol::{self, Refusal};
use super::socket::ClientSocket;
use super::tls;
use crate::proxy::Shared;

/// Brings a connection from its first byte to where requests begin. `None` if it ends here.
///
/// A PROXY header comes first. After it is where TLS stands: it reads from `socket`, and gives back the
/// stream of what is in it and `connection` with [`tls`](Connection::tls) filled in. Whatever waits here
/// is boxed, so that connections in clear text do not carry its state, and ends with a deadline of its
/// own: nobody else counts the time.
pub(super) async fn handshake(
    arrived: Box<(ClientSocket, Connection)>,
    shared: &Shared,
) -> Option<(Stream, Arc<Connection>)> {
    let (mut socket, mut connection) = *arrived;
    let (sends_header, bounds) = {
        let (snapshot, index) = connection.listener.pin(&shared.live)?;
        let listener = &snapshot.listeners[index];
        let bounds = listener.tls.as_ref().zip(snapshot.tls(index)).map(|(settings, tls)| {
            let (timeout, handshakes) = (settings.handshake_timeout, settings.max_handshakes);
            let passes_on = snapshot.passes_on(index);
            (tls.stats.clone(), tls::Limits { timeout, handshakes, passes_on })
        });
        (listener.sends_proxy_header(connection.peer.ip()), bounds)
    };
    if sends_header {
        Box::pin(take_proxy_header(&mut socket, &mut connection, shared)).await?;
    }
    match bounds {
        Some(bounds) => Box::pin(tls::accept(socket, connection, shared, bounds)).await,
        None => Some((Box::new(socket), Arc::new(connection))),
    }
}

/// Reads the PROXY header and lets the client in that it names, by the rules for all clients.
async fn take_proxy_header(
    socket: &mut ClientSocket,
    connection: &mut Connection,
    shared: &Shared,
) -> Option<()> {
    let header = match proxy_protocol::read(socket).await {
        Ok(header) => header,
        Err(refusal) => {
            // Whoever looks whether the port is open says nothing.
            if refusal != Refusal::Ended {
                connection.listener.refused(ConnectionRefusal::ProxyProtocol);
                tracing::debug!(peer = %connection.peer, %refusal, "a PROXY header was refused");
            }
            return None;
        }
    };
    if let Some((source, destination)) = header.addresses {
        (connection.peer, connection.local) = (source, destination);
        if shared.verdicts.holds(source.ip()) {
            shared.verdicts.refuse_connection();
            return None;
        }
        let (snapshot, index) = connection.listener.pin(&shared.live)?;
        let settings = &snapshot.listeners[index];
        let (most, prefix) = (settings.max_connections_per_source, shared.verdicts.ipv6_prefix());
        if !settings.trusts(source.ip())
            && let Err(reason) = socket.seat().count_source(source.ip(), most, prefix)
        {
            connection.listener.refused(reason);
            return None;
        }
    }
    connection.proxied = Some(Box::new(header));
    Some(())
}
