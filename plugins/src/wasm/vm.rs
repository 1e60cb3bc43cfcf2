//! One running instance of a module, with the plugin's own context.

use std::sync::{Arc, Weak};
use std::time::Duration;

use wasmtime::{
    AsContextMut, Instance, Store, Trap, TypedFunc, UpdateDeadline, WasmParams, WasmResults,
};

use super::abi::{CONTINUE, Failure, ROOT, VERSIONS};
use super::grpc::{Shown, Told};
use super::hostcalls;
use super::inbox::Arrival;
use super::plugin::Plugin;
use super::queues::Queues;
use super::scene::{Phase, Props, Scene};
use super::slot::Slot;
use super::state::{ReplyShown, State};
use super::wasi::Exit;
use crate::host::CallError;

/// Ended contexts that a guest may hold on to; beyond them they are deleted all the same.
const ENDING_MAX: usize = 1000;

/// One VM.
pub(super) struct Vm {
    store: Store<State>,
    hooks: Hooks,
}

/// Context, call, fields, body bytes and trailers.
type CallResponse = (u32, u32, u32, u32, u32);

/// Context, call of gRPC, and how much of something there is, or the status.
type OfCall = (u32, u32, u32);

/// The hook of a head. That of ABI 0.1.0 is not told whether anything comes after it.
enum HeadersHook {
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
    WithoutEnd(TypedFunc<(u32, u32), u32>),
}

impl HeadersHook {
    fn find(
        instance: Instance,
        store: &mut Store<State>,
        name: &str,
    ) -> wasmtime::Result<Option<Self>> {
        // A module may export several versions: the newest counts.
        let old =
            VERSIONS.iter().find(|version| instance.get_export(&mut *store, version).is_some())
                == VERSIONS.last();
        if old {
            return Ok(optional(instance, store, name)?.map(Self::WithoutEnd));
        }
        Ok(optional(instance, store, name)?.map(Self::WithEnd))
    }

    fn with_end(&self) -> Option<&TypedFunc<(u32, u32, u32), u32>> {
        if let Self::WithEnd(function) = self { Some(function) } else { None }
    }

    fn without_end(&self) -> Option<&TypedFunc<(u32, u32), u32>> {
        if let Self::WithoutEnd(function) = self { Some(function) } else { None }
    }
}

/// What the module exports, of what is called after the start.
struct Hooks {
    create: Option<TypedFunc<(u32, u32), ()>>,
    request_headers: Option<HeadersHook>,
    request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    response_headers: Option<HeadersHook>,
    response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    call_response: Option<TypedFunc<CallResponse, ()>>,
    grpc_initial: Option<TypedFunc<OfCall, ()>>,
    grpc_message: Option<TypedFunc<OfCall, ()>>,
    grpc_trailing: Option<TypedFunc<OfCall, ()>>,
    grpc_close: Option<TypedFunc<OfCall, ()>>,
    tick: Option<TypedFunc<u32, ()>>,
    queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    done: Option<TypedFunc<u32, u32>>,
    log: Option<TypedFunc<u32, ()>>,
    delete: Option<TypedFunc<u32, ()>>,
}

/// Why a VM did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The module is not what the ABI asks for, or there is no room for another VM.
    #[error("it cannot be started: {0:#}")]
    Instance(wasmtime::Error),
    /// It ended in this function.
    #[error("it failed in {0}: {1:#}")]
    Failed(&'static str, wasmtime::Error),
    /// It took too long in this function.
    #[error("it took over {1} ms in {0}")]
    Deadline(&'static str, u128),
    /// It asked for more memory than it may have in this function.
    #[error("it needs more than {1} bytes of memory in {0}")]
    Memory(&'static str, usize),
    /// It refuses its configuration.
    #[error("it refuses its configuration: {0} returned false")]
    Refused(&'static str),
}

impl Vm {
    /// Starts a VM, and the plugin's context in it. Its calls, timer and queues wait until it is
    /// [put to work](Self::put_to_work); those of a trial never come to be.
    pub(super) fn start(plugin: &Arc<Plugin>, trial: bool) -> Result<Self, StartError> {
        let pre = &plugin.compiled.pre;
        let state = State::new(plugin.clone(), trial);
        let mut store = Store::new(pre.module().engine(), state);
        store.limiter(|state| &mut state.limit);
        store.epoch_deadline_callback(|mut context| {
            match context.data_mut().deadline.has_passed() {
                true => Err(Trap::Interrupt.into()),
                false => Ok(UpdateDeadline::Continue(1)),
            }
        });
        // One deadline for all functions of the start.
        limit_call(&mut store, plugin.settings.start_deadline);
        let instance = pre.instantiate(&mut store);
        let instance = instance.map_err(|error| start_error(&store, "its start", error))?;
        let hooks = Hooks::find(instance, &mut store).map_err(StartError::Instance)?;
        let memory = instance.get_memory(&mut store, "memory");
        let allocate = match optional(instance, &mut store, "proxy_on_memory_allocate") {
            Ok(None) => optional(instance, &mut store, "malloc"),
            found => found,
        };
        store.data_mut().memory = memory;
        store.data_mut().allocate = allocate.map_err(StartError::Instance)?;
        let mut vm = Self { store, hooks };
        vm.initialise(instance)?;
        vm.configure(instance)?;
        Ok(vm)
    }

    /// As the ABI has it: `_initialize` and `main`, or `_start`.
    fn initialise(&mut self, instance: Instance) -> Result<(), StartError> {
        if let Some(function) = self.find::<(), ()>(instance, "_initialize")? {
            self.starting("_initialize", &function, ())?;
            // C and Rust have it take two arguments.
            if let Ok(function) =
                instance.get_typed_func::<(u32, u32), u32>(&mut self.store, "main")
            {
                self.starting("main", &function, (0, 0))?;
            }
        } else if let Some(function) = self.find::<(), ()>(instance, "_start")? {
            self.starting("_start", &function, ())?;
        }
        Ok(())
    }

    fn configure(&mut self, instance: Instance) -> Result<(), StartError> {
        if let Some(create) = self.hooks.create.clone() {
            self.starting("proxy_on_context_create", &create, (ROOT, 0))?;
        }
        let settings = &self.state().plugin.settings;
        let steps = [
            ("proxy_on_vm_start", settings.vm_configuration.len()),
            ("proxy_on_configure", settings.configuration.len()),
        ];
        for (name, bytes) in steps {
            let Some(function) = self.find::<(u32, u32), u32>(instance, name)? else { continue };
            self.state().vm_is_starting = name == "proxy_on_vm_start";
            // Configuration files are far under 4 GiB.
            if self.starting(name, &function, (ROOT, bytes as u32))? == Some(0) {
                return Err(StartError::Refused(name));
            }
        }
        self.state().vm_is_starting = false;
        Ok(())
    }

    fn find<P: WasmParams, R: WasmResults>(
        &mut self,
        instance: Instance,
        name: &str,
    ) -> Result<Option<TypedFunc<P, R>>, StartError> {
        optional(instance, &mut self.store, name).map_err(StartError::Instance)
    }

    /// Calls a function of the start; `None` where it ended the program in good order, as a command
    /// does.
    fn starting<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<Option<R>, StartError> {
        let state = self.store.data_mut();
        (state.active, state.effective) = (ROOT, 0);
        match function.call(&mut self.store, params) {
            Ok(result) => Ok(Some(result)),
            Err(error) if error.downcast_ref() == Some(&Exit(0)) => Ok(None),
            Err(error) => Err(start_error(&self.store, name, error)),
        }
    }

    /// Requests may come to it from now on, in this slot and under this generation.
    pub(super) fn put_to_work(&mut self, slot: Weak<Slot>, generation: u64) {
        let state = self.store.data_mut();
        (state.slot, state.generation) = (slot, generation);
        for queue in std::mem::take(&mut state.queues) {
            Queues::of_process().read(queue, state.slot.clone());
        }
        for (number, upstream, call) in std::mem::take(&mut state.deferred_calls) {
            hostcalls::send_call(state, &upstream, call, number, None);
        }
        hostcalls::keep_time(state);
    }

    /// What the host keeps for it.
    pub(super) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Makes a context for a request.
    pub(super) fn new_stream(&mut self) -> Result<u32, Failure> {
        let id = self.state().next_stream();
        self.call(|hooks| hooks.create.as_ref(), id, (id, ROOT))?;
        Ok(id)
    }

    /// Puts a request on stage.
    pub(super) fn enter(&mut self, stream: u32, props: &mut Props<'_>) {
        let state = self.store.data_mut();
        let scene = &mut state.scene;
        scene.stream = stream;
        scene.phase = props.phase;
        scene.has_response = props.response.is_some();
        scene.swap(props);
        if state.plugin.compiled.reads_properties {
            scene.place.learn(props.about, props.outcome);
        }
    }

    /// Takes it off again.
    pub(super) fn leave(&mut self, props: &mut Props<'_>) {
        let scene: &mut Scene = &mut self.store.data_mut().scene;
        scene.swap(props);
        scene.stream = 0;
        scene.phase = Phase::None;
        scene.has_response = false;
    }

    /// Calls the hook of the phase on stage; returns what the guest wants done.
    pub(super) fn hook(
        &mut self,
        phase: Phase,
        id: u32,
        size: u32,
        end: bool,
    ) -> Result<u32, Failure> {
        let params = (id, size, u32::from(end));
        let action = match phase {
            Phase::RequestHeaders => self.headers(|hooks| hooks.request_headers.as_ref(), params),
            Phase::RequestBody => self.call(|hooks| hooks.request_body.as_ref(), id, params),
            Phase::ResponseHeaders => self.headers(|hooks| hooks.response_headers.as_ref(), params),
            Phase::ResponseBody => self.call(|hooks| hooks.response_body.as_ref(), id, params),
            Phase::ResponseTrailers => {
                self.call(|hooks| hooks.response_trailers.as_ref(), id, (id, size))
            }
            Phase::None | Phase::Log => Ok(None),
        };
        Ok(action?.unwrap_or(CONTINUE))
    }

    fn headers(
        &mut self,
        hook: impl Fn(&Hooks) -> Option<&HeadersHook>,
        params: (u32, u32, u32),
    ) -> Result<Option<u32>, Failure> {
        let (id, size, _) = params;
        if hook(&self.hooks).is_some_and(|hook| hook.with_end().is_some()) {
            return self.call(|hooks| hook(hooks)?.with_end(), id, params);
        }
        self.call(|hooks| hook(hooks)?.without_end(), id, (id, size))
    }

    /// Tells the guest of what came of a call.
    pub(super) fn reply(&mut self, call: u32, arrival: Arrival) -> Result<(), Failure> {
        match arrival {
            Arrival::Http(result) => self.http_reply(call, result.map(ReplyShown::new)),
            Arrival::Grpc(told, _taken) => self.tell(call, told),
        }
    }

    /// Tells it of a call of gRPC, unless it has cancelled that.
    fn tell(&mut self, number: u32, told: Told) -> Result<(), Failure> {
        let state = self.store.data_mut();
        if !state.talks.contains_key(&number) {
            return Ok(());
        }
        if matches!(told, Told::Reply(_) | Told::Closed(_)) {
            state.forget_talk(number);
        }
        let called = match told {
            Told::Initial(headers) => {
                let params = (ROOT, number, headers.len() as u32);
                state.shown.initial = Some(headers);
                self.call(|hooks| hooks.grpc_initial.as_ref(), ROOT, params)
            }
            Told::Message(message) | Told::Reply(message) => {
                let params = (ROOT, number, message.len() as u32);
                state.shown.message = Some(message);
                self.call(|hooks| hooks.grpc_message.as_ref(), ROOT, params)
            }
            Told::Trailing(trailers) => {
                let params = (ROOT, number, trailers.len() as u32);
                state.shown.trailing = Some(trailers);
                self.call(|hooks| hooks.grpc_trailing.as_ref(), ROOT, params)
            }
            Told::Closed(status) => {
                let params = (ROOT, number, status.code);
                state.call_status = (status.code, status.message);
                self.call(|hooks| hooks.grpc_close.as_ref(), ROOT, params)
            }
        };
        let state = self.store.data_mut();
        state.shown = Shown::default();
        state.call_status = (0, String::new());
        called.map(drop)
    }

    fn http_reply(
        &mut self,
        call: u32,
        result: Result<ReplyShown, CallError>,
    ) -> Result<(), Failure> {
        let state = self.store.data_mut();
        let (fields, bytes) = match &result {
            Ok(reply) => (reply.headers.len() + 1, reply.body.len()),
            Err(_) => (0, 0),
        };
        state.call_status = match &result {
            Ok(_) => (0, String::new()),
            Err(error) => (super::abi::CALL_BROKEN, error.to_string()),
        };
        state.reply = result.ok();
        let params = (ROOT, call, fields as u32, bytes as u32, 0);
        let called = self.call(|hooks| hooks.call_response.as_ref(), ROOT, params);
        let state = self.store.data_mut();
        state.reply = None;
        state.call_status = (0, String::new());
        called.map(drop)
    }

    /// A timer has run out.
    pub(super) fn tick(&mut self) -> Result<(), Failure> {
        self.call(|hooks| hooks.tick.as_ref(), ROOT, ROOT)?;
        self.reap()
    }

    /// A queue has an item.
    pub(super) fn queue_ready(&mut self, queue: u32) -> Result<(), Failure> {
        self.call(|hooks| hooks.queue_ready.as_ref(), ROOT, (ROOT, queue))?;
        self.reap()
    }

    /// Ends the context of a request. `log` says whether the guest may write its log entry.
    pub(super) fn end(&mut self, id: u32, log: bool) -> Result<(), Failure> {
        let done = self.call(|hooks| hooks.done.as_ref(), id, id)?;
        self.state().streams.remove(&id);
        self.state().forget_talks_of(id);
        if done == Some(0) && self.state().ending.len() < ENDING_MAX {
            self.state().ending.insert(id);
            return Ok(());
        }
        if log {
            self.call(|hooks| hooks.log.as_ref(), id, id)?;
        }
        self.call(|hooks| hooks.delete.as_ref(), id, id)?;
        Ok(())
    }

    /// Deletes the contexts that the guest has become done with.
    pub(super) fn reap(&mut self) -> Result<(), Failure> {
        while let Some(id) = self.store.data_mut().ended.pop() {
            self.call(|hooks| hooks.log.as_ref(), id, id)?;
            self.call(|hooks| hooks.delete.as_ref(), id, id)?;
        }
        Ok(())
    }

    /// Calls a function that the module may export.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        hook: impl FnOnce(&Hooks) -> Option<&TypedFunc<P, R>>,
        context: u32,
        params: P,
    ) -> Result<Option<R>, Failure> {
        let Some(function) = hook(&self.hooks) else { return Ok(None) };
        let state = self.store.data_mut();
        (state.active, state.effective, state.limit.refused) = (context, 0, false);
        state.field_refused = false;
        let deadline = state.plugin.settings.deadline;
        limit_call(&mut self.store, deadline);
        match function.call(&mut self.store, params) {
            Ok(result) => Ok(Some(result)),
            Err(error) => Err(failure(&self.store, &error)),
        }
    }
}

impl Hooks {
    fn find(instance: Instance, store: &mut Store<State>) -> wasmtime::Result<Self> {
        Ok(Self {
            create: optional(instance, store, "proxy_on_context_create")?,
            request_headers: HeadersHook::find(instance, store, "proxy_on_request_headers")?,
            request_body: optional(instance, store, "proxy_on_request_body")?,
            response_headers: HeadersHook::find(instance, store, "proxy_on_response_headers")?,
            response_body: optional(instance, store, "proxy_on_response_body")?,
            response_trailers: optional(instance, store, "proxy_on_response_trailers")?,
            call_response: optional(instance, store, "proxy_on_http_call_response")?,
            grpc_initial: optional(instance, store, "proxy_on_grpc_receive_initial_metadata")?,
            grpc_message: optional(instance, store, "proxy_on_grpc_receive")?,
            grpc_trailing: optional(instance, store, "proxy_on_grpc_receive_trailing_metadata")?,
            grpc_close: optional(instance, store, "proxy_on_grpc_close")?,
            tick: optional(instance, store, "proxy_on_tick")?,
            queue_ready: optional(instance, store, "proxy_on_queue_ready")?,
            done: optional(instance, store, "proxy_on_done")?,
            log: optional(instance, store, "proxy_on_log")?,
            delete: optional(instance, store, "proxy_on_delete")?,
        })
    }
}

/// The call that follows may take this long. The first look at the clock is at the end of an epoch.
fn limit_call(store: &mut Store<State>, deadline: Duration) {
    store.data_mut().deadline.begin(deadline);
    store.set_epoch_deadline(1);
}

/// The function of this name, if the module exports one; an error if it has another type.
fn optional<P: WasmParams, R: WasmResults>(
    instance: Instance,
    store: &mut Store<State>,
    name: &str,
) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
    let Some(function) = instance.get_func(store.as_context_mut(), name) else { return Ok(None) };
    let typed = function.typed(store.as_context_mut());
    typed.map(Some).map_err(|error| error.context(format!("{name} has the wrong type")))
}

fn start_error(store: &Store<State>, name: &'static str, error: wasmtime::Error) -> StartError {
    let settings = &store.data().plugin.settings;
    if store.data().limit.refused {
        return StartError::Memory(name, settings.memory_bytes);
    }
    if error.downcast_ref() == Some(&Trap::Interrupt) {
        return StartError::Deadline(name, settings.start_deadline.as_millis());
    }
    StartError::Failed(name, error)
}

fn failure(store: &Store<State>, error: &wasmtime::Error) -> Failure {
    let failure = if error.downcast_ref() == Some(&Trap::Interrupt) {
        Failure::Deadline
    } else if store.data().limit.refused {
        Failure::Memory
    } else if store.data().field_refused {
        Failure::Field
    } else {
        Failure::Trap
    };
    let filter = &*store.data().plugin.name;
    tracing::warn!(filter, reason = %failure, "a WebAssembly filter failed: {error:#}");
    failure
}
