//! Where lines end up.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use signal_hook::SigId;
use signal_hook::consts::SIGUSR1;

use super::writer::Line;
use crate::template::time::rfc3339;

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
    /// A syslog daemon.
    Syslog(Syslog),
}

/// A syslog daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Syslog {
    pub(super) address: Address,
    /// RFC 5424, 6.2.1.
    pub(super) facility: u8,
}

/// Where a syslog daemon takes datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Udp(SocketAddr),
    Unix(PathBuf),
}

/// What takes lines. It may block: it has a thread of its own.
pub(super) trait Sink: Send {
    /// Writes them; returns how many. An idle log writes none of them every second, so that a file that
    /// was moved away is let go.
    ///
    /// # Errors
    /// If not all could be written, with how many were.
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)>;
}

impl Target {
    /// Makes it ready to be written.
    ///
    /// # Errors
    /// If that fails. A file that cannot be opened is tried again with the next lines.
    pub(super) fn open(&self) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Self::Stdout => Box::new(Stdout(Vec::new())),
            Self::File(path) => Box::new(Appended::open(path.clone())?),
            Self::Syslog(syslog) => Box::new(Datagrams::open(syslog)?),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => out.write_str("stdout"),
            Self::File(path) => path.display().fmt(out),
            Self::Syslog(Syslog { address: Address::Udp(address), .. }) => address.fmt(out),
            Self::Syslog(Syslog { address: Address::Unix(path), .. }) => path.display().fmt(out),
        }
    }
}

/// Writes all lines with one call, as far as the system takes them so. Which of them a call that
/// failed has written cannot be known, so none counts.
fn together(
    lines: &[Line],
    buffer: &mut Vec<u8>,
    out: &mut dyn io::Write,
) -> Result<usize, (usize, io::Error)> {
    buffer.clear();
    for line in lines {
        buffer.extend_from_slice(line.text.as_bytes());
        buffer.push(b'\n');
    }
    out.write_all(buffer)
        .and_then(|()| out.flush())
        .map(|()| lines.len())
        .map_err(|error| (0, error))
}

struct Stdout(Vec<u8>);

impl Sink for Stdout {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        together(lines, &mut self.0, &mut io::stdout())
    }
}

/// A file that is written at its end, and opened again when `SIGUSR1` says that it was moved away.
struct Appended {
    path: PathBuf,
    file: Option<File>,
    is_asked: Arc<AtomicBool>,
    signal: SigId,
    buffer: Vec<u8>,
}

impl Appended {
    fn open(path: PathBuf) -> io::Result<Self> {
        let is_asked = Arc::new(AtomicBool::new(false));
        let signal = signal_hook::flag::register(SIGUSR1, is_asked.clone())?;
        let mut opened = Self { path, file: None, is_asked, signal, buffer: Vec::new() };
        if let Err(error) = opened.file() {
            tracing::error!(path = %opened.path.display(), %error, "an access log cannot be opened");
        }
        Ok(opened)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            self.file = None;
        }
        match &mut self.file {
            Some(file) => Ok(file),
            none => {
                // Not for everybody: it holds addresses of people.
                let mut options = OpenOptions::new();
                let options = options.append(true).create(true).mode(0o640);
                Ok(none.insert(options.open(&self.path)?))
            }
        }
    }
}

impl Sink for Appended {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let file = self.file().map_err(|error| (0, error))?;
        let written = together(lines, &mut buffer, file);
        if written.is_err() {
            self.file = None;
        }
        self.buffer = buffer;
        written
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.signal);
    }
}

/// A datagram for each line: RFC 5424, over UDP as RFC 5426 has it.
struct Datagrams {
    socket: Socket,
    /// What comes before and after the time.
    head: (String, String),
}

enum Socket {
    Udp(UdpSocket, SocketAddr),
    Unix(UnixDatagram, PathBuf),
}

/// RFC 5424, 6.2.1: informational.
const SEVERITY: u8 = 6;

impl Datagrams {
    fn open(syslog: &Syslog) -> io::Result<Self> {
        let socket = match &syslog.address {
            // Not connected: a daemon that is down for a while must not fail the line after.
            Address::Udp(to) => {
                let any: IpAddr = match to {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                Socket::Udp(UdpSocket::bind((any, 0))?, *to)
            }
            Address::Unix(path) => Socket::Unix(UnixDatagram::unbound()?, path.clone()),
        };
        let priority = syslog.facility * 8 + SEVERITY;
        let rest = format!("{} sallyport {} access - ", host_name(), std::process::id());
        Ok(Self { socket, head: (format!("<{priority}>1 "), rest) })
    }

    fn send(&self, line: &str) -> io::Result<usize> {
        let (before, after) = &self.head;
        let datagram = format!("{before}{} {after}{line}", rfc3339(SystemTime::now()));
        match &self.socket {
            Socket::Udp(socket, to) => socket.send_to(datagram.as_bytes(), to),
            Socket::Unix(socket, path) => socket.send_to(datagram.as_bytes(), path),
        }
    }
}

/// RFC 5424, 6.2.4: visible ASCII, or `-`.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { name.to_owned() } else { "-".to_owned() }
}

impl Sink for Datagrams {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        for (written, line) in lines.iter().enumerate() {
            self.send(&line.text).map_err(|error| (written, error))?;
        }
        Ok(lines.len())
    }
}
