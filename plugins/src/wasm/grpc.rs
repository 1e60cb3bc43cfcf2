//! Calls of gRPC under way in one VM.
//!
//! A call's task hands over one thing after the other: the next is read from the origin once the
//! guest was told of the one before, so that nothing piles up and nothing comes out of order.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::inbox::{Arrival, Inbox};
use super::slot::Slot;
use crate::host::{GrpcEvent, GrpcStatus};

/// A call under way. It is cancelled when this is dropped.
#[derive(Debug)]
pub(super) struct Talk {
    /// The context that it belongs to.
    pub(super) context: u32,
    /// Whether it has more than one message in each direction.
    pub(super) is_stream: bool,
    /// Where its messages go; `None` once there are no more.
    pub(super) messages: Option<mpsc::Sender<Bytes>>,
    /// That of its request; `None` where it is the plugin's.
    pub(super) inbox: Option<Arc<Inbox>>,
    pub(super) task: AbortHandle,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something that comes of a call.
#[derive(Debug)]
pub(super) enum Told {
    Initial(HeaderMap),
    Message(Bytes),
    Trailing(HeaderMap),
    /// The one message of a call that is no stream: nothing follows.
    Reply(Bytes),
    /// The end.
    Closed(GrpcStatus),
}

/// What a guest reads of it while it is told.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) initial: Option<HeaderMap>,
    pub(super) message: Option<Bytes>,
    pub(super) trailing: Option<HeaderMap>,
}

/// How the guest is told.
pub(super) struct Teller {
    pub(super) slot: Weak<Slot>,
    pub(super) generation: u64,
    pub(super) number: u32,
    pub(super) inbox: Option<Arc<Inbox>>,
}

impl Teller {
    /// Tells the guest, and waits until it was told.
    async fn tell(&self, told: Told) {
        let (taken, is_taken) = oneshot::channel();
        let mut arrival = Arrival::Grpc(told, taken);
        if let Some(inbox) = &self.inbox {
            match inbox.reply(self.number, arrival) {
                // The sender is dropped with what it came with, whoever takes that.
                None => return drop(is_taken.await),
                Some(back) => arrival = back,
            }
        }
        if let Some(slot) = self.slot.upgrade() {
            slot.deliver(self.generation, self.number, arrival, false);
        }
    }

    /// Tells of a stream until its end.
    pub(super) async fn stream(
        self,
        talking: impl Future<Output = GrpcStatus>,
        mut events: mpsc::Receiver<GrpcEvent>,
    ) {
        let relaying = async {
            while let Some(event) = events.recv().await {
                self.tell(match event {
                    GrpcEvent::Initial(headers) => Told::Initial(headers),
                    GrpcEvent::Message(message) => Told::Message(message),
                    GrpcEvent::Trailing(trailers) => Told::Trailing(trailers),
                })
                .await;
            }
        };
        let (status, ()) = tokio::join!(talking, relaying);
        self.tell(Told::Closed(status)).await;
    }

    /// Tells of a call's one message, or why there is none.
    pub(super) async fn call(
        self,
        talking: impl Future<Output = GrpcStatus>,
        mut events: mpsc::Receiver<GrpcEvent>,
    ) {
        let relaying = async {
            let mut message = None;
            while let Some(event) = events.recv().await {
                if let GrpcEvent::Message(came) = event {
                    message = Some(came);
                }
            }
            message
        };
        let (status, message) = tokio::join!(talking, relaying);
        let told = match message {
            _ if !status.is_success() => Told::Closed(status),
            Some(message) => Told::Reply(message),
            None => {
                let status = GrpcStatus::new(GrpcStatus::INTERNAL, "no message came");
                Told::Closed(status)
            }
        };
        self.tell(told).await;
    }
}
