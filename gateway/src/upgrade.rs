//! An upgrade: the binary now on disk is started, given every listening socket, and takes over.
//!
//! The sockets stay the same ones, so that no connection that waits in one of their queues is lost;
//! nobody ever shuts a shared socket down. They go over a socket that is the new process's standard
//! input, a frame each (`upgrade/frame.rs`), since Pingora's own way ends at 32 descriptors; verdicts
//! and the keys of session tickets go with them (`upgrade/state.rs`). The old
//! process takes connections until the new one has said that it does, and for a second longer: one
//! that dies early is then no worse than none.
//!
//! What is here runs in the old process; [`heir`] is the new one's side.

mod frame;
pub mod heir;
pub mod state;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use self::frame::SocketName;
use self::frame::{Frame, receive, send};
use self::state::StatePart;

/// The variable that tells a process to look for sockets at its standard input.
const HEIR_VARIABLE: &str = "SALLYPORT_HEIR";

/// How long a new process may take until it serves: compiling WebAssembly takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a new process must live, once it serves, before it is left alone.
const PROBATION: Duration = Duration::from_secs(1);

/// How often a new process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How this process was started, and so how the next one is.
#[derive(Clone, Debug)]
pub struct Launch {
    binary: PathBuf,
    arguments: Vec<std::ffi::OsString>,
}

/// A listening socket, and which one it is.
#[derive(Debug)]
pub struct Handed {
    /// Which.
    pub name: SocketName,
    /// A descriptor of it.
    pub socket: OwnedFd,
}

/// Why there was no upgrade. The process that was there serves on.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// This process cannot be replaced.
    #[error("this process was not started by `sallyport run`: end it and start it again")]
    Impossible,
    /// The new binary could not be started.
    #[error("{} cannot be started: {error}", .binary.display())]
    Start {
        /// Which.
        binary: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It said why it cannot serve.
    #[error("the new process cannot serve: {0}")]
    Refused(String),
    /// It ended.
    #[error("the new process ended ({0}) before it served: its log may say more")]
    Ended(ExitStatus),
    /// It ended although it had begun to serve.
    #[error("the new process ended ({0}) as soon as it served: its log may say more")]
    EndedLater(ExitStatus),
    /// It took too long.
    #[error("the new process was not ready within {} s and was ended", PATIENCE.as_secs())]
    Late,
    /// The sockets could not be handed over.
    #[error("the sockets could not be handed over: {0}")]
    Handover(#[from] io::Error),
}

impl Handed {
    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// If there is none left.
    pub fn copy(&self) -> io::Result<Self> {
        Ok(Self { name: self.name.clone(), socket: self.socket.try_clone()? })
    }
}

impl Launch {
    /// How this process was started. To be called at its start: later, the working folder may be
    /// another and the binary may have been replaced.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = arguments.next().map(PathBuf::from);
        // A link that is called by its own path may lead elsewhere by then, which is what is wanted.
        let by_path = called.filter(|called| called.components().count() > 1);
        let binary = match by_path {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        };
        Ok(Self { binary, arguments: arguments.collect() })
    }

    /// Starts the binary now on disk and hands it `sockets` and `state`. Returns the number of the new process
    /// once it serves.
    ///
    /// # Errors
    /// If it does not come to that. Its process is gone then.
    pub fn hand_over(&self, sockets: &[Handed], state: Vec<StatePart>) -> Result<u32, Failed> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.binary)
            .args(&self.arguments)
            .env(HEIR_VARIABLE, "stdin")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| Failed::Start { binary: self.binary.clone(), error })?;
        let mut heir = Heir { child, stream: ours, is_kept: false };
        heir.give(sockets, state)?;
        heir.until_it_serves()?;
        heir.is_kept = true;
        Ok(heir.child.id())
    }
}

/// The new process. Ended with this value unless it is kept.
struct Heir {
    child: Child,
    stream: UnixStream,
    is_kept: bool,
}

impl Drop for Heir {
    fn drop(&mut self) {
        if !self.is_kept {
            // One that has ended already cannot be.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

impl Heir {
    fn give(&mut self, sockets: &[Handed], state: Vec<StatePart>) -> Result<(), Failed> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        let give = move |stream: &UnixStream| -> io::Result<()> {
            for Handed { name, socket } in sockets {
                send(stream, &Frame::Socket(name.clone()), Some(socket))?;
            }
            for part in state {
                send(stream, &Frame::State(part), None)?;
            }
            send(stream, &Frame::End, None)
        };
        match give(&self.stream) {
            Ok(()) => Ok(()),
            // Whoever ended does not read. How it ended says more than that.
            Err(error) => Err(self.exited(LOOK_EVERY * 10).map_or(error.into(), Failed::Ended)),
        }
    }

    fn until_it_serves(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        self.stream.set_read_timeout(Some(LOOK_EVERY))?;
        while Instant::now() < deadline {
            match receive(&self.stream) {
                Ok(Some((Frame::Ready, _))) => return self.probation(),
                Ok(Some((Frame::Failed(reason), _))) => return Err(Failed::Refused(reason)),
                Ok(Some(_)) => {}
                Err(error) if is_timeout(&error) => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(Failed::Ended(status));
                    }
                }
                Ok(None) | Err(_) => {
                    let ended = self.exited(deadline.saturating_duration_since(Instant::now()));
                    return Err(ended.map_or(Failed::Late, Failed::Ended));
                }
            }
        }
        Err(Failed::Late)
    }

    fn probation(&mut self) -> Result<(), Failed> {
        self.exited(PROBATION).map_or(Ok(()), |status| Err(Failed::EndedLater(status)))
    }

    /// How the process ended, if it does within `patience`.
    fn exited(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
