//! The admin listener's socket and its connections.
//!
//! Connections are bounded in number and in the time that a head may take, so that whoever may connect
//! cannot take what is kept in reserve for others. The loop is our own: axum's has no such bounds.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::secured::Terms;
use crate::config::AdminAddress;
use crate::upgrade::{Handed, SocketName};

/// Connections at once: three for each of fifty pages that are open, of which a browser keeps two idle
/// for a while, and a hundred for scrapers, probes and people.
const CONNECTIONS_MAX: usize = 256;

/// How long a client may leave what it was sent unacknowledged: one that is gone, or that never reads,
/// holds its place no longer.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take to send a head, and how long it is kept between two requests: a
/// little more than the minute between two scrapes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a connection that was accepted last may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How long answers under way may take to be read at the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long accepting pauses when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The admin listener's socket, which listens though nobody accepts yet.
#[derive(Debug)]
pub struct AdminSocket {
    socket: Socket,
    /// As the file has it, where the port may be 0.
    configured: AdminAddress,
    address: AdminAddress,
    /// The socket's inode, so that only our own file is removed at the end.
    inode: Option<u64>,
}

impl AdminSocket {
    /// Binds `address` and listens.
    ///
    /// # Errors
    /// If it is in use, not of this host, or not permitted.
    pub fn bind(address: &AdminAddress) -> anyhow::Result<Self> {
        let bound = match address {
            AdminAddress::Ip(address) => bind_ip(*address),
            AdminAddress::Unix { path, mode } => bind_unix(path, *mode),
        };
        let socket = bound.with_context(|| format!("the admin listener cannot use {address}"))?;
        Self::of(socket, address.clone())
    }

    fn of(socket: Socket, configured: AdminAddress) -> anyhow::Result<Self> {
        socket.set_nonblocking(true)?;
        let (address, inode) = match configured.clone() {
            AdminAddress::Ip(_) => {
                let local = socket.local_addr()?.as_socket();
                (AdminAddress::Ip(local.context("the admin socket has no IP address")?), None)
            }
            AdminAddress::Unix { path, mode } => {
                let inode = std::fs::metadata(&path).ok().map(|file| file.ino());
                (AdminAddress::Unix { path, mode }, inode)
            }
        };
        Ok(Self { socket, configured, address, inode })
    }

    /// Takes over `socket`, which listens already at what the file has as `address`.
    ///
    /// # Errors
    /// If it is no such socket.
    pub fn inherited(socket: &OwnedFd, address: AdminAddress) -> anyhow::Result<Self> {
        Self::of(socket.try_clone()?.into(), address)
    }

    /// Where `socket` is, as a file has it.
    #[must_use]
    pub fn place(socket: &OwnedFd) -> Option<String> {
        let address = SockRef::from(socket).local_addr().ok()?;
        let ip = address.as_socket().map(|address| address.to_string());
        ip.or_else(|| Some(format!("unix:{}", address.as_pathname()?.display())))
    }

    /// A descriptor of it, for another process.
    ///
    /// # Errors
    /// If there is none left.
    pub fn handed(&self) -> io::Result<Handed> {
        let name = SocketName {
            listener: "admin".to_owned(),
            is_admin: true,
            configured: self.configured.to_string(),
            bound: self.address.to_string(),
        };
        Ok(Handed { name, socket: self.socket.try_clone()?.into() })
    }

    /// Where it listens, with the port that 0 became.
    #[must_use]
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// What removes the file of a Unix socket.
    #[must_use]
    pub fn file(&self) -> Option<SocketFile> {
        match &self.address {
            AdminAddress::Ip(_) => None,
            AdminAddress::Unix { path, .. } => {
                Some(SocketFile { path: path.clone(), inode: self.inode? })
            }
        }
    }
}

/// The file of a Unix socket of ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Removes the file, unless another process has put its own there.
    pub fn remove(&self) {
        let is_ours = std::fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a socket's file stays behind");
        }
    }
}

fn bind_ip(address: SocketAddr) -> anyhow::Result<Socket> {
    // The standard library sets SO_REUSEADDR, so that a restart does not wait for old connections.
    Ok(std::net::TcpListener::bind(address)?.into())
}

fn bind_unix(path: &Path, mode: u32) -> anyhow::Result<Socket> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the mode that the socket has, less the umask: never is it open to more than it
    // shall be.
    fchmod(socket.as_fd(), Mode::from_raw_mode(mode)).map_err(io::Error::from)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(128)?;
    Ok(socket)
}

/// Removes a socket that nobody listens on: what a process leaves that was killed.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(file) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        bail!("there is something there that is no socket: remove it, or write another path");
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => bail!("another process listens there: end it, or write another path"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).context("the socket that is there cannot be removed")
        }
        Err(error) => Err(error).context("there is a socket already"),
    }
}

/// Serves `router` on `socket` until `stop` is raised or the runtime ends.
///
/// # Errors
/// If the socket cannot be used.
pub(super) async fn serve(
    socket: AdminSocket,
    router: Router,
    tls: impl Fn() -> Option<Terms>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    match socket.address {
        AdminAddress::Ip(_) => {
            let listener = tokio::net::TcpListener::from_std(socket.socket.into())?;
            accept(permits, router, listener, tls, stop).await
        }
        AdminAddress::Unix { .. } => {
            let listener = tokio::net::UnixListener::from_std(socket.socket.into())?;
            // Who may connect is a matter of the file's mode.
            accept(permits, router, listener, || None, stop).await
        }
    }
}

/// Waits until `stop` is raised; who could raise it may be gone, then nobody does.
async fn raised(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What connections come from.
trait Listener {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        let (stream, _) = self.accept().await?;
        // Where the kernel refuses, the connection works without it.
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_MAX)).ok();
        Ok(stream)
    }
}

impl Listener for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn accept(
    permits: Arc<Semaphore>,
    router: Router,
    listener: impl Listener,
    tls: impl Fn() -> Option<Terms>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // Told apart from `stop`, whose receiver says that the socket is open.
    let end = watch::Sender::new(false);
    loop {
        let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let next = tokio::select! {
            () = raised(&mut stop) => break,
            next = listener.next() => next,
        };
        let stream = match next {
            Ok(stream) => stream,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // The terms in force now: a certificate is exchanged without a new socket.
        let (router, tls, end) = (router.clone(), tls(), end.subscribe());
        tokio::spawn(async move {
            match tls {
                None => connection(stream, router, end).await,
                Some(terms) => {
                    if let Some(stream) = terms.handshake(stream).await {
                        connection(stream, router, end).await;
                    }
                }
            }
            drop(permit);
        });
    }
    drop((listener, stop));
    end.send_replace(true);
    // Who reads its answer more slowly does without the rest of it.
    timeout(GOODBYE, end.closed()).await.ok();
    Ok(())
}

/// Serves one connection until the client or `end` ends it. What goes wrong with it is the client's.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut end: watch::Receiver<bool>,
) {
    let is_answered = Arc::new(AtomicBool::new(false));
    let answered = is_answered.clone();
    let router = router.layer(map_response(move |response: Response| {
        answered.store(true, Ordering::Relaxed);
        ready(response)
    }));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = raised(&mut end) => {}
    }
    // The first request may be on its way.
    if !is_answered.load(Ordering::Relaxed)
        && timeout(FIRST_REQUEST, connection.as_mut()).await.is_ok()
    {
        return;
    }
    connection.as_mut().graceful_shutdown();
    connection.await.ok();
}
