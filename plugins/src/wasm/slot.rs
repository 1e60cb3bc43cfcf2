//! The place of one thread's VM of one filter. The VM in it comes and goes; whoever kept something in
//! it knows by the generation whether it is still the same.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::abi::Failure;
use super::budget::{Budget, Sources};
use super::inbox::Arrival;
use super::plugin::Plugin;
use super::stock::Stock;
use super::vm::Vm;

/// The place of one VM.
pub(super) struct Slot {
    pub(super) plugin: Arc<Plugin>,
    stock: Arc<Stock>,
    me: Weak<Self>,
    cell: Mutex<Cell>,
}

struct Cell {
    vm: Option<Vm>,
    /// Of the VM that is there; 0 before the first.
    generation: u64,
    budget: Budget,
    sources: Sources,
}

/// Who calls into a guest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller {
    /// The source of the request; `None` for what is no request's, and where it is not known.
    pub(super) source: Option<IpAddr>,
    /// The generation of the VM that knows the request; 0 where none does.
    pub(super) generation: u64,
}

impl Slot {
    /// An empty one, filled from `stock`.
    pub(super) fn new(stock: Arc<Stock>) -> Arc<Self> {
        let plugin = stock.plugin.clone();
        let deadline = plugin.settings.deadline;
        let cell = Cell {
            vm: None,
            generation: 0,
            budget: Budget::of_thread(deadline),
            sources: Sources::new(deadline),
        };
        Arc::new_cyclic(|me| Self { plugin, stock, me: me.clone(), cell: Mutex::new(cell) })
    }

    /// Runs `run` with the VM and its generation; takes a VM from the stock if there is none.
    ///
    /// # Errors
    /// If there is none to be had, if the VM does not know the caller and its source has used up what
    /// failures may take, and what `run` returns: the VM is then gone.
    pub(super) fn with<R>(
        &self,
        caller: Caller,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut cell = self.lock();
        if cell.vm.is_none() || cell.generation != caller.generation {
            self.admit(&mut cell, caller)?;
        }
        if cell.vm.is_none() {
            self.fill(&mut cell)?;
        }
        self.run(&mut cell, caller.source, run)
    }

    /// As [`Slot::with`], if the VM that knows the caller is still there.
    pub(super) fn with_same<R>(
        &self,
        caller: Caller,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Option<Result<R, Failure>> {
        let mut cell = self.lock();
        let same = cell.generation == caller.generation && cell.vm.is_some();
        same.then(|| self.run(&mut cell, caller.source, run))
    }

    /// Waits until a VM may be had.
    pub(super) async fn ready(&self) {
        self.stock.ready().await;
    }

    /// Ends the context of a request, if its VM is still there.
    pub(super) fn end(&self, caller: Caller, stream: u32) {
        // What failed is counted and logged where it happened.
        self.with_same(caller, |vm, _| vm.end(stream, false));
    }

    /// Tells the guest of what came of a call, with no request on stage.
    pub(super) fn deliver(&self, generation: u64, call: u32, arrival: Arrival, is_root: bool) {
        let caller = Caller { source: None, generation };
        let delivered = self.with_same(caller, |vm, _| {
            vm.state().root_calls -= usize::from(is_root);
            vm.reply(call, arrival)?;
            vm.reap()
        });
        if delivered.is_none() {
            tracing::debug!("a response came for a VM that is gone");
        }
    }

    /// Tells it of a response later, from the background.
    pub(super) fn deliver_later(&self, generation: u64, call: u32, arrival: Arrival) {
        if let (Some(background), Some(slot)) = (&self.plugin.host.background, self.me.upgrade()) {
            background.spawn(async move { slot.deliver(generation, call, arrival, false) });
        }
    }

    /// Tells the guest that a queue has an item; starts no VM for that.
    pub(super) fn queue_ready_later(self: Arc<Self>, queue: u32) {
        if let Some(background) = self.plugin.host.background.clone() {
            background.spawn(async move {
                let mut cell = self.lock();
                if cell.vm.is_some() {
                    // What failed is counted and logged where it happened.
                    self.run(&mut cell, None, |vm, _| vm.queue_ready(queue)).ok();
                }
            });
        }
    }

    /// Calls the timer of the VM of this generation every period, for as long as the VM is there. A
    /// period of zero stops it. A period that changes counts from the last tick, so that a guest that
    /// sets it with every request does not put the tick off.
    pub(super) async fn keep_time(
        slot: Weak<Self>,
        generation: u64,
        mut periods: watch::Receiver<Duration>,
    ) {
        let mut last = tokio::time::Instant::now();
        loop {
            let period = *periods.borrow_and_update();
            let tick = async {
                match period.is_zero() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep_until(last + period).await,
                }
            };
            tokio::select! {
                changed = periods.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if period.is_zero() {
                        last = tokio::time::Instant::now();
                    }
                    continue;
                }
                () = tick => last = tokio::time::Instant::now(),
            }
            let Some(slot) = slot.upgrade() else { return };
            let caller = Caller { source: None, generation };
            if !matches!(slot.with_same(caller, |vm, _| vm.tick()), Some(Ok(()))) {
                return;
            }
        }
    }

    /// Whether a source may come into contact with a VM that does not know it yet.
    fn admit(&self, cell: &mut Cell, caller: Caller) -> Result<(), Failure> {
        // Nearly always, and then the clock need not be asked.
        if cell.sources.are_whole() {
            return Ok(());
        }
        let charge = Budget::charge(self.stock.start_took());
        if cell.sources.has_left(caller.source, Instant::now(), charge) {
            return Ok(());
        }
        self.plugin.counters.bypassed.inc();
        Err(Failure::Bypassed)
    }

    fn fill(&self, cell: &mut Cell) -> Result<(), Failure> {
        let charge = Budget::charge(self.stock.start_took());
        let taken = match cell.budget.is_left(Instant::now(), charge) {
            true => self.stock.take(),
            false => Err(Failure::Bypassed),
        };
        if matches!(taken, Err(Failure::Bypassed)) {
            self.plugin.counters.bypassed.inc();
        }
        let mut vm = taken?;
        cell.generation += 1;
        vm.put_to_work(self.me.clone(), cell.generation);
        self.plugin.counters.starts.inc();
        cell.vm = Some(vm);
        Ok(())
    }

    fn run<R>(
        &self,
        cell: &mut Cell,
        source: Option<IpAddr>,
        run: impl FnOnce(&mut Vm, u64) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let vm = cell.vm.as_mut().expect("whoever calls this has looked");
        let result = run(vm, cell.generation);
        if let Err(failure) = &result {
            let took = vm.state().deadline.spent();
            self.lost(cell, *failure, took, source);
        }
        result
    }

    /// The VM is no good any more. Requests that wait in it begin anew in the next.
    fn lost(&self, cell: &mut Cell, failure: Failure, took: Duration, source: Option<IpAddr>) {
        self.plugin.counters.failed(&self.plugin.name, failure);
        let (now, charge) = (Instant::now(), Budget::charge(self.stock.start_took()));
        cell.budget.spend(took + charge, now);
        cell.sources.spend(source, took + charge, now);
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
