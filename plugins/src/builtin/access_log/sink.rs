//! Where lines end up.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

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
    /// Makes it ready to be written: on the writer's thread, since that may take its time.
    ///
    /// # Errors
    /// If that fails. A file that cannot be opened is tried again with the next lines.
    pub(super) fn open(&self) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Self::Stdout => Box::new(Stdout::open()?),
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

/// How often a full pipe is tried. It is waited for as long as it has a reader: meanwhile lines are
/// queued, and lost where the queue is full.
const FULL_EVERY: Duration = Duration::from_millis(5);

/// Lines on their way into a stream of bytes.
#[derive(Default)]
struct Stream {
    buffer: Vec<u8>,
    /// Whether a line was begun and not ended: the next one begins with a line's end.
    is_torn: bool,
}

impl Stream {
    /// Writes all lines with one call, as far as the system takes them so.
    fn write(&mut self, lines: &[Line], out: &mut dyn Write) -> Result<usize, (usize, io::Error)> {
        self.buffer.clear();
        if self.is_torn && !lines.is_empty() {
            self.buffer.push(b'\n');
        }
        let before = self.buffer.len();
        for line in lines {
            self.buffer.extend_from_slice(line.text.as_bytes());
            self.buffer.push(b'\n');
        }
        let (bytes, result) = write_some(&self.buffer, out);
        if let Some(last) = self.buffer[..bytes].last() {
            self.is_torn = *last != b'\n';
        }
        let ends = self.buffer[before.min(bytes)..bytes].iter().filter(|byte| **byte == b'\n');
        let written = ends.count();
        result.map(|()| written).map_err(|error| (written, error))
    }
}

/// Writes as much of `buffer` as `out` takes; returns how many bytes that was.
fn write_some(buffer: &[u8], out: &mut dyn Write) -> (usize, io::Result<()>) {
    let mut bytes = 0;
    while bytes < buffer.len() {
        match out.write(&buffer[bytes..]) {
            Ok(0) => return (bytes, Err(ErrorKind::WriteZero.into())),
            Ok(more) => bytes += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(FULL_EVERY);
            }
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

struct Stdout {
    /// Not [`io::stdout`], whose buffer would keep what could not be written.
    file: File,
    stream: Stream,
}

impl Stdout {
    fn open() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, stream: Stream::default() })
    }
}

impl Sink for Stdout {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        self.stream.write(lines, &mut self.file)
    }
}

/// A file that is written at its end, and opened again when `SIGUSR1` says that it was moved away.
struct Appended {
    path: PathBuf,
    file: Option<File>,
    is_asked: Arc<AtomicBool>,
    signal: SigId,
    stream: Stream,
}

impl Appended {
    fn open(path: PathBuf) -> io::Result<Self> {
        let is_asked = Arc::new(AtomicBool::new(false));
        let signal = signal_hook::flag::register(SIGUSR1, is_asked.clone())?;
        let mut opened = Self { path, file: None, is_asked, signal, stream: Stream::default() };
        if let Err(error) = opened.make_ready() {
            tracing::error!(path = %opened.path.display(), %error, "an access log cannot be opened");
        }
        Ok(opened)
    }

    fn make_ready(&mut self) -> io::Result<()> {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            self.file = None;
        }
        if self.file.is_some() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        // Not for everybody: it holds addresses of people. Without waiting: the reader of a named pipe
        // may never come.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let options = options.append(true).create(true).mode(0o640).custom_flags(flags);
        self.file = Some(options.open(&self.path).map_err(|error| named_pipe(&self.path, error))?);
        self.stream.is_torn = is_torn(&self.path);
        Ok(())
    }
}

/// ENXIO by a name that a person can act on.
fn named_pipe(path: &Path, error: io::Error) -> io::Error {
    let is_pipe = || fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    match error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) && is_pipe() {
        true => io::Error::other("no process reads the named pipe"),
        false => error,
    }
}

/// Whether a file that is there ends within a line, as one does on a disk that was full.
fn is_torn(path: &Path) -> bool {
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let last = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        io::Result::Ok(last[0])
    };
    is_file && last().is_ok_and(|last| last != b'\n')
}

impl Sink for Appended {
    fn write(&mut self, lines: &[Line]) -> Result<usize, (usize, io::Error)> {
        self.make_ready().map_err(|error| (0, error))?;
        let Some(file) = &mut self.file else { return Ok(0) };
        let written = self.stream.write(lines, file);
        if written.is_err() {
            self.file = None;
        }
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

#[cfg(test)]
mod tests;
