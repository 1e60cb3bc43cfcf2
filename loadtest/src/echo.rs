//! A WebSocket echo: the origin behind the gateway in the scenario `websocket`.
//!
//! It runs in the process of the runner, one thread a connection, and says back whatever text or
//! bytes it hears. It knows nothing of gateways. To see that the scenario notices broken
//! connections it can be told to break them.

use crate::process::free_address;
use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tungstenite::{WebSocket, accept};

/// A listening echo; dropping it ends the listening, and every connection ends with its client.
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Echo {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// There is none, or no thread can be started.
    pub fn start() -> Result<Self> {
        Self::listen(usize::MAX)
    }

    /// One that drops each connection, without a goodbye, after so many messages.
    ///
    /// # Errors
    /// As [`Echo::start`].
    pub fn breaking_after(messages: usize) -> Result<Self> {
        Self::listen(messages)
    }

    fn listen(messages_max: usize) -> Result<Self> {
        let address = free_address()?;
        let listener = TcpListener::bind(address).context("the echo cannot listen")?;
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        thread::Builder::new().name("echo".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || converse(stream, messages_max));
            }
        })?;
        Ok(Self { address, ended })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; where nobody accepts any more there is nobody to wake.
        drop(TcpStream::connect(self.address));
    }
}

/// Until the client closes or goes away, which the client sees for itself.
fn converse(stream: TcpStream, messages_max: usize) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if let Ok(mut socket) = accept(stream) {
        for _ in 0..messages_max {
            if say_back(&mut socket).is_err() {
                return;
            }
        }
    }
}

fn say_back(socket: &mut WebSocket<TcpStream>) -> tungstenite::Result<()> {
    let message = socket.read()?;
    if message.is_text() || message.is_binary() {
        socket.send(message)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::{Message, client};

    fn connected(echo: &Echo) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(echo.address).unwrap();
        client(format!("ws://{}/", echo.address), stream).unwrap().0
    }

    #[test]
    fn says_back_what_it_hears() {
        let echo = Echo::start().unwrap();
        let mut socket = connected(&echo);
        for said in [Message::text("one"), Message::binary(vec![1, 2])] {
            socket.send(said.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), said);
        }
    }

    #[test]
    fn breaks_a_connection_where_it_should() {
        let echo = Echo::breaking_after(1).unwrap();
        let mut socket = connected(&echo);
        socket.send(Message::text("one")).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("one"));
        assert!(socket.read().is_err());
    }

    #[test]
    fn nobody_listens_when_it_is_gone() {
        let echo = Echo::start().unwrap();
        let address = echo.address;
        drop(echo);
        while TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
    }
}
