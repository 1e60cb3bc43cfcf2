//! The place of one thread's VM of one filter. The VM in it comes and goes; whoever kept something in
//! it knows by the generation whether it is still the same.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::abi::Failure;
use super::budget::Budget;
use super::inbox::CallResult;
use super::plugin::Plugin;
use super::state::ReplyShown;
use super::vm::Vm;

/// The place of one VM.
pub(super) struct Slot {
    pub(super) plugin: Arc<Plugin>,
    me: Weak<Self>,
    cell: Mutex<Cell>,
}

struct Cell {
    vm: Option<Vm>,
    /// Of the VM that is there; 0 before the first.
    generation: u64,
    budget: Budget,
}

impl Slot {
    /// An empty one.
    pub(super) fn new(plugin: Arc<Plugin>) -> Arc<Self> {
        let budget = Budget::new(plugin.settings.deadline);
        let cell = Cell { vm: None, generation: 0, budget };
        Arc::new_cyclic(|me| Self { plugin, me: me.clone(), cell: Mutex::new(cell) })
    }

    /// Runs `run` with the VM and its generation; starts a VM if there is none.
    ///
    /// # Errors
    /// If none can be started, and what `run` returns: the VM is then gone.
    pub(super) fn with<R>(
        &self,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut cell = self.lock();
        if cell.vm.is_none() {
            self.start(&mut cell)?;
        }
        self.run(&mut cell, run)
    }

    /// As [`Slot::with`], if the VM of this generation is still there.
    pub(super) fn with_same<R>(
        &self,
        generation: u64,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Option<Result<R, Failure>> {
        let mut cell = self.lock();
        let same = cell.generation == generation && cell.vm.is_some();
        same.then(|| self.run(&mut cell, run))
    }

    /// Ends the context of a request, if its VM is still there.
    pub(super) fn end(&self, generation: u64, stream: u32) {
        let mut cell = self.lock();
        if cell.generation != generation || cell.vm.is_none() {
            return;
        }
        // What failed is counted and logged where it happened.
        self.run(&mut cell, |vm, _| vm.end(stream, false)).ok();
    }

    /// Tells the guest of the response to a call, with no request on stage.
    pub(super) fn deliver(&self, generation: u64, call: u32, result: CallResult, is_root: bool) {
        let result = result.map(ReplyShown::new);
        let delivered = self.with_same(generation, |vm, _| {
            vm.state().root_calls -= usize::from(is_root);
            vm.reply(call, result)?;
            vm.reap()
        });
        if delivered.is_none() {
            tracing::debug!("a response came for a VM that is gone");
        }
    }

    /// Tells it of a response later, from the background.
    pub(super) fn deliver_later(&self, generation: u64, call: u32, result: CallResult) {
        if let (Some(background), Some(slot)) = (&self.plugin.host.background, self.me.upgrade()) {
            background.spawn(async move { slot.deliver(generation, call, result, false) });
        }
    }

    /// Tells the guest that a queue has an item; starts no VM for that.
    pub(super) fn queue_ready_later(self: Arc<Self>, queue: u32) {
        if let Some(background) = self.plugin.host.background.clone() {
            background.spawn(async move {
                let mut cell = self.lock();
                if cell.vm.is_some() {
                    // What failed is counted and logged where it happened.
                    self.run(&mut cell, |vm, _| vm.queue_ready(queue)).ok();
                }
            });
        }
    }

    /// Calls the guest's timer every `period`, until another is set or the VM is gone.
    pub(super) async fn keep_time(slot: Weak<Self>, generation: u64, timer: u64, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let Some(slot) = slot.upgrade() else { return };
            let run = slot.with_same(generation, |vm, _| {
                if vm.state().timer != timer {
                    return Ok(false);
                }
                vm.tick().map(|()| true)
            });
            if !matches!(run, Some(Ok(true))) {
                return;
            }
        }
    }

    fn start(&self, cell: &mut Cell) -> Result<(), Failure> {
        let began = Instant::now();
        if !cell.budget.is_left(began) {
            self.plugin.counters.bypassed.inc();
            return Err(Failure::Bypassed);
        }
        cell.generation += 1;
        match Vm::start(&self.plugin, self.me.clone(), cell.generation) {
            Ok(vm) => {
                self.plugin.counters.starts.inc();
                cell.vm = Some(vm);
                Ok(())
            }
            Err(error) => {
                let filter = &*self.plugin.name;
                tracing::warn!(filter, "a WebAssembly filter did not start: {error}");
                self.lost(cell, Failure::Start, began.elapsed());
                Err(Failure::Start)
            }
        }
    }

    fn run<R>(
        &self,
        cell: &mut Cell,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let vm = cell.vm.as_mut().expect("whoever calls this has looked");
        let result = run(vm, cell.generation);
        if let Err(failure) = &result {
            let took = vm.state().deadline.spent();
            self.lost(cell, *failure, took);
        }
        result
    }

    /// The VM is no good any more. Requests that wait in it begin anew in the next.
    fn lost(&self, cell: &mut Cell, failure: Failure, took: Duration) {
        self.plugin.counters.failed(&self.plugin.name, failure);
        cell.budget.spend(took, Instant::now());
        cell.discard();
    }

    fn lock(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(|poisoned| {
            // A function of the host panicked: what is on stage there is nobody knows whose.
            self.cell.clear_poison();
            let mut cell = poisoned.into_inner();
            cell.discard();
            cell
        })
    }
}

impl Cell {
    fn discard(&mut self) {
        let Some(mut vm) = self.vm.take() else { return };
        for inbox in vm.state().streams.values().flatten() {
            inbox.lose();
        }
    }
}
