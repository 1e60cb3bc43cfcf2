//! What the host keeps of one request between its hooks.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, response};

use super::abi::{CONTINUE, Failure};
use super::buffer::Buffer;
use super::inbox::{Arrival, Inbox};
use super::scene::{Control, Phase, Props};
use super::slot::{Caller, Slot};
use super::vm::Vm;
use crate::exchange::{Exchange, Outcome};
use crate::filter::Answer;

/// One request.
pub(super) struct Stream {
    slot: Arc<Slot>,
    /// Of the VM that knows it; 0 where none does.
    generation: u64,
    /// Its context there.
    id: u32,
    /// Where the request comes from.
    source: Option<IpAddr>,
    /// Whether the filter has failed it: no more hooks are called.
    pub(super) failed: bool,
    pub(super) inbox: Option<Arc<Inbox>>,
    /// Body held back.
    pub(super) request_body: Buffer,
    pub(super) response_body: Buffer,
}

/// The message that a hook is about, besides the request.
#[derive(Default)]
pub(super) struct Extra<'a> {
    pub(super) response: Option<&'a mut response::Parts>,
    pub(super) trailers: Option<&'a mut HeaderMap>,
    pub(super) outcome: Option<&'a Outcome<'a>>,
}

/// What becomes of a request after its guest was called.
#[derive(Debug)]
pub(super) enum Verdict {
    Go,
    Answer(Box<Answer>),
    /// The guest holds it. `calls` says whether a response is to come, `wakes` whether anything else
    /// may make the guest let it go.
    Pause {
        calls: bool,
        wakes: bool,
    },
}

/// Runs one call into the guest for one request.
pub(super) struct Turn<'a> {
    pub(super) stream: &'a mut Stream,
    props: Props<'a>,
}

impl Stream {
    /// A request that no VM knows yet.
    pub(super) fn new(slot: Arc<Slot>) -> Self {
        Self {
            slot,
            generation: 0,
            id: 0,
            source: None,
            failed: false,
            inbox: None,
            request_body: Buffer::default(),
            response_body: Buffer::default(),
        }
    }

    /// Whether a VM may know it.
    pub(super) fn is_known(&self) -> bool {
        self.generation != 0
    }

    fn caller(&self) -> Caller {
        Caller { source: self.source, generation: self.generation }
    }

    /// The body held back in this phase.
    pub(super) fn held(&mut self, phase: Phase) -> &mut Buffer {
        if phase == Phase::ResponseBody { &mut self.response_body } else { &mut self.request_body }
    }

    /// Drops the bodies that are held back.
    pub(super) fn drop_held(&mut self) {
        self.request_body.take();
        self.response_body.take();
    }

    /// It does not wait any more: what it did not take goes to the guest without it.
    pub(super) fn close_inbox(&mut self) {
        let Some(inbox) = &self.inbox else { return };
        for (call, arrival) in inbox.close() {
            self.slot.deliver_later(self.generation, call, arrival);
        }
    }

    /// Makes the guest know it.
    fn introduce(&mut self, vm: &mut Vm, generation: u64) -> Result<(), Failure> {
        if self.generation != generation {
            self.id = vm.new_stream()?;
            self.generation = generation;
            self.inbox = None;
        }
        Ok(())
    }
}

impl<'a> Turn<'a> {
    /// For this request in this phase.
    pub(super) fn new(
        x: &'a mut Exchange<'_>,
        phase: Phase,
        extra: Extra<'a>,
        slot: impl FnOnce() -> Arc<Slot>,
    ) -> Self {
        let Exchange { request, about, marks, slot: state } = x;
        let state = state.get_or_insert_with(|| Box::new(Stream::new(slot())));
        let stream: &mut Stream = state.downcast_mut().expect("a filter has one type of state");
        stream.source = about.client.or_else(|| about.peer.map(|peer| peer.ip()));
        let Extra { response, trailers, outcome } = extra;
        let props = Props { phase, request, marks, about, response, trailers, outcome };
        Self { stream, props }
    }

    /// Calls the phase's hook. `end` says that nothing comes after it.
    pub(super) fn hook(self, end: bool) -> Result<Verdict, Failure> {
        let phase = self.props.phase;
        self.run(|vm, id| {
            let scene = &vm.state().scene;
            let size = match phase {
                Phase::RequestBody | Phase::ResponseBody => {
                    u32::try_from(scene.body.len()).unwrap_or(u32::MAX)
                }
                _ => scene.count_of(phase),
            };
            vm.hook(phase, id, size, end)
        })
    }

    /// Tells the guest of what came of a call of the request's.
    pub(super) fn reply(self, call: u32, arrival: Arrival) -> Result<Verdict, Failure> {
        // Nothing but the guest's word lets it go on.
        self.run(|vm, _| vm.reply(call, arrival).map(|()| CONTINUE + 1))
    }

    /// Ends it. The guest may write its log entry.
    pub(super) fn end(self) -> Result<(), Failure> {
        let Self { stream, mut props } = self;
        let slot = stream.slot.clone();
        let (id, caller) = (stream.id, stream.caller());
        stream.generation = 0;
        stream.close_inbox();
        let ended = slot.with_same(caller, |vm, _| {
            vm.enter(id, &mut props);
            stream.swap(vm, Phase::Log);
            let ended = vm.end(id, true).and_then(|()| vm.reap());
            vm.leave(&mut props);
            ended
        });
        ended.unwrap_or(Ok(()))
    }

    fn run(
        self,
        call: impl FnOnce(&mut Vm, u32) -> Result<u32, Failure>,
    ) -> Result<Verdict, Failure> {
        let Self { stream, mut props } = self;
        let slot = stream.slot.clone();
        slot.with(stream.caller(), |vm, generation| {
            stream.introduce(vm, generation)?;
            if let Some(inbox) = &stream.inbox {
                inbox.open();
            }
            vm.enter(stream.id, &mut props);
            stream.swap(vm, props.phase);
            let called = call(vm, stream.id);
            stream.swap(vm, props.phase);
            vm.leave(&mut props);
            let control = std::mem::take(&mut vm.state().scene.control);
            let action = called?;
            vm.reap()?;
            Ok(stream.verdict(vm, action, control))
        })
    }
}

impl Stream {
    /// Puts what is the request's own on stage, or takes it off.
    fn swap(&mut self, vm: &mut Vm, phase: Phase) {
        let scene = &mut vm.state().scene;
        if matches!(phase, Phase::RequestBody | Phase::ResponseBody) {
            std::mem::swap(&mut scene.body, self.held(phase));
        }
    }

    fn verdict(&mut self, vm: &mut Vm, action: u32, control: Control) -> Verdict {
        let state = vm.state();
        if let Some(verdict) = said(control) {
            return verdict;
        }
        if action == CONTINUE {
            if let Some(Some(inbox)) = state.streams.get(&self.id) {
                self.inbox = Some(inbox.clone());
            }
            return Verdict::Go;
        }
        self.inbox = state.inbox(self.id);
        if let Some(inbox) = &self.inbox {
            inbox.open();
        }
        let calls = self.inbox.as_ref().is_some_and(|inbox| inbox.pending() > 0);
        Verdict::Pause { calls, wakes: state.wakes }
    }
}

/// What the guest's word amounts to, if it gave one.
pub(super) fn said(control: Control) -> Option<Verdict> {
    if let Some(answer) = control.answer {
        return Some(Verdict::Answer(answer));
    }
    if control.closed {
        let text = "the filter closed the stream";
        let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "wasm_closed", text);
        return Some(Verdict::Answer(Box::new(answer)));
    }
    control.go_on.then_some(Verdict::Go)
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_known() {
            self.close_inbox();
            self.slot.end(self.caller(), self.id);
        }
    }
}
