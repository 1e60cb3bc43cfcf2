//! Queues between VMs, by `vm_id` and name: they outlive VMs, filters and reloads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::abi::Status;
use super::slot::Slot;

/// Queues in the process.
const QUEUES_MAX: usize = 1024;

/// Items of one queue.
const ITEMS_MAX: usize = 4096;

/// Bytes of one queue's items.
const BYTES_MAX: usize = 1 << 20;

/// The queues of the process.
#[derive(Default)]
pub(super) struct Queues {
    numbers: HashMap<(Box<str>, Box<[u8]>), u32>,
    queues: Vec<Queue>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// Who asked for it last is told of items, as Envoy does.
    reader: Weak<Slot>,
}

impl Queues {
    /// The process' own.
    pub(super) fn of_process() -> MutexGuard<'static, Self> {
        static QUEUES: OnceLock<Mutex<Queues>> = OnceLock::new();
        QUEUES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the queue with this name, made if there is none; `reader` is told of its items.
    ///
    /// # Errors
    /// [`Status::Internal`] if there are too many.
    pub(super) fn register(
        &mut self,
        vm_id: &str,
        name: &[u8],
        reader: Weak<Slot>,
    ) -> Result<u32, Status> {
        let key = (Box::from(vm_id), Box::from(name));
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None if self.queues.len() >= QUEUES_MAX => return Err(Status::Internal),
            None => {
                self.queues.push(Queue::default());
                let number = self.queues.len() as u32;
                self.numbers.insert(key, number);
                number
            }
        };
        self.queue(number)?.reader = reader;
        Ok(number)
    }

    /// The number of the queue with this name.
    ///
    /// # Errors
    /// [`Status::NotFound`].
    pub(super) fn resolve(&self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        self.numbers.get(&(vm_id.into(), name.into())).copied().ok_or(Status::NotFound)
    }

    /// Adds an item; returns who is to be told.
    ///
    /// # Errors
    /// [`Status::NotFound`], and [`Status::Internal`] where there is no room.
    pub(super) fn enqueue(&mut self, number: u32, item: &[u8]) -> Result<Weak<Slot>, Status> {
        let queue = self.queue(number)?;
        if queue.items.len() >= ITEMS_MAX || queue.bytes + item.len() > BYTES_MAX {
            return Err(Status::Internal);
        }
        queue.bytes += item.len();
        queue.items.push_back(item.into());
        Ok(queue.reader.clone())
    }

    /// Takes the first item.
    ///
    /// # Errors
    /// [`Status::NotFound`], and [`Status::Empty`] where there is none.
    pub(super) fn dequeue(&mut self, number: u32) -> Result<Box<[u8]>, Status> {
        let queue = self.queue(number)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        queue.bytes -= item.len();
        Ok(item)
    }

    fn queue(&mut self, number: u32) -> Result<&mut Queue, Status> {
        let index = (number as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.queues.get_mut(index).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::{ITEMS_MAX, Queues};
    use crate::wasm::abi::Status;

    #[test]
    fn items_come_out_in_their_order() {
        let mut queues = Queues::default();
        let number = queues.register("a", b"q", Weak::new()).unwrap();
        assert_eq!(queues.resolve("a", b"q"), Ok(number));
        assert_eq!(queues.resolve("b", b"q"), Err(Status::NotFound));
        queues.enqueue(number, b"1").unwrap();
        queues.enqueue(number, b"2").unwrap();
        assert_eq!(*queues.dequeue(number).unwrap(), *b"1");
        assert_eq!(*queues.dequeue(number).unwrap(), *b"2");
        assert_eq!(queues.dequeue(number), Err(Status::Empty));
        assert_eq!(queues.dequeue(0), Err(Status::NotFound));
        assert_eq!(queues.enqueue(number + 1, b"").err(), Some(Status::NotFound));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut queues = Queues::default();
        let number = queues.register("a", b"q", Weak::new()).unwrap();
        for _ in 0..ITEMS_MAX {
            queues.enqueue(number, b"").unwrap();
        }
        assert_eq!(queues.enqueue(number, b"").err(), Some(Status::Internal));
    }
}
