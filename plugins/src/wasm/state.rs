//! What the host keeps for one VM, in its store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::watch;
use wasmtime::{Memory, ResourceLimiter, TypedFunc};

use super::abi::{ROOT, Status};
use super::deadline::Deadline;
use super::engine::TABLE_ELEMENTS_MAX;
use super::grpc::{Shown, Talk};
use super::inbox::Inbox;
use super::plugin::Plugin;
use super::scene::Scene;
use super::slot::Slot;
use crate::host::Call;

/// Calls of one plugin's context under way in one VM.
pub(super) const ROOT_CALLS_MAX: usize = 64;

/// What the host keeps for one VM.
pub(super) struct State {
    pub(super) plugin: Arc<Plugin>,
    /// Where the VM is found by what happens later; empty until it is put to work.
    pub(super) slot: Weak<Slot>,
    /// 0 until it is put to work.
    pub(super) generation: u64,
    /// Whether the VM only shows whether the module takes its configuration.
    trial: bool,
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    pub(super) limit: Limit,
    pub(super) deadline: Deadline,
    /// The context that the guest was called for.
    pub(super) active: u32,
    /// The context that the guest chose instead; 0 where it chose none.
    pub(super) effective: u32,
    pub(super) scene: Scene,
    /// The contexts of requests, with the inboxes of those that have one.
    pub(super) streams: HashMap<u32, Option<Arc<Inbox>>>,
    /// Contexts that ended, but that the guest is not done with.
    pub(super) ending: HashSet<u32>,
    /// Those of them that it has become done with.
    pub(super) ended: Vec<u32>,
    last_stream: u32,
    last_call: u32,
    /// Whether `proxy_on_vm_start` runs.
    pub(super) vm_is_starting: bool,
    /// Whether a field that the guest wrote was refused in this call.
    pub(super) field_refused: bool,
    /// Calls of the plugin's own context under way.
    pub(super) root_calls: usize,
    /// Whether anything but a request may call the guest: a timer or a queue.
    pub(super) wakes: bool,
    /// The period of its timer; zero where it has none.
    pub(super) period: Duration,
    /// Where the task of its timer learns the period; made with the first. The task ends with it.
    pub(super) timer: Option<watch::Sender<Duration>>,
    /// Queues that it reads.
    pub(super) queues: Vec<u32>,
    /// Calls of its start, with their numbers and upstreams: made when it is put to work.
    pub(super) deferred_calls: Vec<(u32, Box<str>, Call)>,
    /// Calls of gRPC under way, by their numbers.
    pub(super) talks: HashMap<u32, Talk>,
    /// What came of one of them, while the guest is told.
    pub(super) shown: Shown,
    pub(super) reply: Option<ReplyShown>,
    pub(super) call_status: (u32, String),
}

/// The response to a call, as the guest sees it.
pub(super) struct ReplyShown {
    pub(super) status: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl State {
    pub(super) fn new(plugin: Arc<Plugin>, trial: bool) -> Self {
        let limit = Limit { bytes: plugin.settings.memory_bytes, refused: false };
        Self {
            plugin,
            slot: Weak::new(),
            generation: 0,
            trial,
            memory: None,
            allocate: None,
            limit,
            deadline: Deadline::default(),
            active: ROOT,
            effective: 0,
            scene: Scene::default(),
            streams: HashMap::new(),
            ending: HashSet::new(),
            ended: Vec::new(),
            last_stream: ROOT,
            last_call: 0,
            vm_is_starting: false,
            field_refused: false,
            root_calls: 0,
            wakes: false,
            period: Duration::ZERO,
            timer: None,
            queues: Vec::new(),
            deferred_calls: Vec::new(),
            talks: HashMap::new(),
            shown: Shown::default(),
            reply: None,
            call_status: (0, String::new()),
        }
    }

    /// The context that functions of the host are about.
    pub(super) fn context(&self) -> u32 {
        if self.effective == 0 { self.active } else { self.effective }
    }

    /// What is on stage, if it is of the context in question.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    pub(super) fn on_stage(&mut self) -> Result<&mut Scene, Status> {
        let is = self.scene.stream != 0 && self.scene.stream == self.context();
        if is { Ok(&mut self.scene) } else { Err(Status::NotFound) }
    }

    /// A number for a new request's context.
    pub(super) fn next_stream(&mut self) -> u32 {
        loop {
            self.last_stream = self.last_stream.wrapping_add(1).max(ROOT + 1);
            let id = self.last_stream;
            if !self.streams.contains_key(&id) && !self.ending.contains(&id) {
                self.streams.insert(id, None);
                return id;
            }
        }
    }

    /// A number for a new call. After four billion they repeat, which no call lives to see.
    pub(super) fn next_call(&mut self) -> u32 {
        self.last_call = self.last_call.wrapping_add(1).max(1);
        self.last_call
    }

    /// The inbox of a request, made if it has none; `None` if there is no such request.
    pub(super) fn inbox(&mut self, stream: u32) -> Option<Arc<Inbox>> {
        let inbox = self.streams.get_mut(&stream)?;
        let made = inbox.get_or_insert_with(|| {
            let inbox = Inbox::default();
            // One that is not on stage may never come to wait.
            if self.scene.stream == stream {
                inbox.open();
            }
            Arc::new(inbox)
        });
        Some(made.clone())
    }

    /// Ends a call of gRPC, if it is under way.
    pub(super) fn forget_talk(&mut self, number: u32) -> bool {
        let Some(talk) = self.talks.remove(&number) else { return false };
        match &talk.inbox {
            Some(inbox) => inbox.ended(),
            None => self.root_calls -= 1,
        }
        true
    }

    /// Ends all of them that a request began.
    pub(super) fn forget_talks_of(&mut self, context: u32) {
        let of_it = self.talks.iter().filter(|(_, talk)| talk.context == context);
        for number in of_it.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.forget_talk(number);
        }
    }

    /// Whether this VM is only tried.
    pub(super) fn is_trial(&self) -> bool {
        self.trial
    }

    /// Whether requests may come to it, so that what it does has effects.
    pub(super) fn is_at_work(&self) -> bool {
        self.generation != 0
    }
}

/// What a VM may take.
pub(super) struct Limit {
    bytes: usize,
    /// Whether it was refused memory during the call.
    pub(super) refused: bool,
}

impl ResourceLimiter for Limit {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.refused |= desired > self.bytes;
        Ok(desired <= self.bytes)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn memories(&self) -> usize {
        1
    }
}
