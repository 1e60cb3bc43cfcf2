//! What comes for a request while it waits: responses to its calls, and the guest's word from
//! another context.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::grpc::Told;
use super::scene::Control;
use crate::host::{CallError, Reply};

/// The response to a call of a guest's.
pub(super) type CallResult = Result<Reply, CallError>;

/// What comes for a guest.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The response to a call.
    Http(CallResult),
    /// A part of what comes of a call of gRPC. Dropping the sender says that it was taken.
    Grpc(Told, oneshot::Sender<()>),
}

/// Calls of one request that may be under way.
const PENDING_MAX: usize = 32;

/// A request's inbox; made with its first call, or when it is paused.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether the request waits, or a hook of its runs that may make it wait.
    open: bool,
    pending: usize,
    replies: VecDeque<(u32, Arrival)>,
    control: Control,
    lost: bool,
}

/// Something that came.
#[derive(Debug)]
pub(super) enum Event {
    /// What came of the call with this number.
    Reply(u32, Arrival),
    /// What the guest asked for from another context.
    Control(Control),
    /// The VM is gone, and with it what it knew of the request.
    Lost,
}

impl Inbox {
    /// Lets responses wait here for the request.
    pub(super) fn open(&self) {
        self.inner().open = true;
    }

    /// The request does not wait any more: returns what it did not take.
    pub(super) fn close(&self) -> VecDeque<(u32, Arrival)> {
        let mut inner = self.inner();
        inner.open = false;
        std::mem::take(&mut inner.replies)
    }

    /// Counts a call that begins; `false` if there are too many.
    pub(super) fn begin(&self) -> bool {
        let mut inner = self.inner();
        let may = inner.pending < PENDING_MAX;
        inner.pending += usize::from(may);
        may
    }

    /// Calls whose response did not come or was not taken yet.
    pub(super) fn pending(&self) -> usize {
        let inner = self.inner();
        inner.pending + inner.replies.len()
    }

    /// Takes a response; gives it back if the request does not wait.
    pub(super) fn reply(&self, call: u32, arrival: Arrival) -> Option<Arrival> {
        let mut inner = self.inner();
        // Of a call of gRPC more may come.
        if matches!(arrival, Arrival::Http(_)) {
            inner.pending = inner.pending.saturating_sub(1);
        }
        if !inner.open {
            return Some(arrival);
        }
        inner.replies.push_back((call, arrival));
        drop(inner);
        self.notify.notify_one();
        None
    }

    /// Counts the end of a call of gRPC.
    pub(super) fn ended(&self) {
        let mut inner = self.inner();
        inner.pending = inner.pending.saturating_sub(1);
    }

    /// Takes what the guest asks for.
    pub(super) fn control(&self, change: impl FnOnce(&mut Control)) {
        change(&mut self.inner().control);
        self.notify.notify_one();
    }

    /// The VM is gone.
    pub(super) fn lose(&self) {
        self.inner().lost = true;
        self.notify.notify_one();
    }

    /// Waits for something.
    pub(super) async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            self.notify.notified().await;
        }
    }

    fn take(&self) -> Option<Event> {
        let mut inner = self.inner();
        if inner.lost {
            return Some(Event::Lost);
        }
        if inner.control.is_set() {
            return Some(Event::Control(std::mem::take(&mut inner.control)));
        }
        inner.replies.pop_front().map(|(call, arrival)| Event::Reply(call, arrival))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
