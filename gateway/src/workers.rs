//! Worker threads, each with a runtime of its own.
//!
//! What belongs to a connection stays on one thread: its socket, its requests, their timers and the
//! connections to origins that they use. Pingora's pool of runtimes does not do that: it accepts on one thread,
//! whose reactor then wakes the others for every socket.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads that run what they are given until they are told to end.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    end: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count).map(|_| Worker::start()).collect::<io::Result<_>>().map(Self)
    }

    /// A handle to each.
    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter().map(|worker| &worker.runtime)
    }

    /// Ends all of them, and what they run; what blocks a thread is waited for no longer than `patience`.
    pub fn end(self, patience: Duration) {
        let told = self.0.into_iter().map(|worker| {
            // One that has ended has nobody to tell.
            worker.end.send(patience).ok();
            worker.thread
        });
        let threads: Vec<_> = told.collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, told) = oneshot::channel();
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(move || {
            if let Ok(patience) = runtime.block_on(told) {
                runtime.shutdown_timeout(patience);
            }
        })?;
        Ok(Self { runtime: handle, end, thread })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_has_a_thread_of_its_own_until_they_end() {
        let workers = Workers::start(3).unwrap();
        let (sender, threads) = mpsc::channel();
        for worker in workers.handles() {
            let sender = sender.clone();
            worker.spawn(async move {
                sender.send(thread::current().id()).unwrap();
                // Holds the channel open for as long as the runtime lives.
                std::future::pending::<()>().await;
            });
        }
        drop(sender);
        let seen: HashSet<_> = threads.iter().take(3).collect();
        assert_eq!(seen.len(), 3);
        workers.end(Duration::from_secs(1));
        assert_eq!(threads.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
