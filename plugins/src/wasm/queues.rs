//! Queues between VMs, by `vm_id` and name: they outlive VMs, filters and reloads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::abi::Status;
use super::slot::Slot;

/// Queues in the process. They stay for as long as it lives.
const QUEUES_MAX: usize = 1024;

/// Queues of one `vm_id`, so that one that names them after what clients send leaves some to others.
const QUEUES_OF_ID_MAX: usize = 128;

/// The longest name.
const NAME_BYTES_MAX: usize = 1 << 10;

/// Items of one queue.
const ITEMS_MAX: usize = 4096;

/// Bytes of one queue's items.
const BYTES_MAX: usize = 1 << 20;

/// Bytes of all queues' items: a guest that nobody reads gets errors, the gateway no harm.
const BYTES_OF_ALL_MAX: usize = 64 << 20;

/// What an item takes besides its bytes, so that empty ones count too.
const ITEM_BYTES: usize = 32;

/// The queues of the process.
#[derive(Default)]
pub(super) struct Queues {
    numbers: HashMap<(Box<str>, Box<[u8]>), u32>,
    queues: Vec<Queue>,
    bytes: usize,
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

    /// The number of the queue with this name, made if there is none.
    ///
    /// # Errors
    /// [`Status::BadArgument`] if the name is too long, [`Status::Internal`] if there are too many,
    /// in the process or of this `vm_id`.
    pub(super) fn open(&mut self, vm_id: &str, name: &[u8]) -> Result<u32, Status> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Status::BadArgument);
        }
        let key = (Box::from(vm_id), Box::from(name));
        if let Some(number) = self.numbers.get(&key) {
            return Ok(*number);
        }
        let own = self.numbers.keys().filter(|(id, _)| **id == *vm_id).count();
        if self.queues.len() >= QUEUES_MAX || own >= QUEUES_OF_ID_MAX {
            return Err(Status::Internal);
        }
        self.queues.push(Queue::default());
        let number = self.queues.len() as u32;
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// `reader` is told of the queue's items from now on.
    pub(super) fn read(&mut self, number: u32, reader: Weak<Slot>) {
        if let Ok(queue) = self.queue(number) {
            queue.reader = reader;
        }
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
        let (bytes, bytes_of_all) = (item.len() + ITEM_BYTES, self.bytes);
        let queue = self.queue(number)?;
        if queue.items.len() >= ITEMS_MAX
            || queue.bytes + item.len() > BYTES_MAX
            || bytes_of_all + bytes > BYTES_OF_ALL_MAX
        {
            return Err(Status::Internal);
        }
        queue.bytes += item.len();
        queue.items.push_back(item.into());
        let reader = queue.reader.clone();
        self.bytes += bytes;
        Ok(reader)
    }

    /// Takes the first item.
    ///
    /// # Errors
    /// [`Status::NotFound`], and [`Status::Empty`] where there is none.
    pub(super) fn dequeue(&mut self, number: u32) -> Result<Box<[u8]>, Status> {
        let queue = self.queue(number)?;
        let item = queue.items.pop_front().ok_or(Status::Empty)?;
        queue.bytes -= item.len();
        self.bytes -= item.len() + ITEM_BYTES;
        Ok(item)
    }

    fn queue(&mut self, number: u32) -> Result<&mut Queue, Status> {
        let index = (number as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.queues.get_mut(index).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::{ITEMS_MAX, NAME_BYTES_MAX, QUEUES_MAX, QUEUES_OF_ID_MAX, Queues};
    use crate::wasm::abi::Status;

    #[test]
    fn items_come_out_in_their_order() {
        let mut queues = Queues::default();
        let number = queues.open("a", b"q").unwrap();
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
        let number = queues.open("a", b"q").unwrap();
        for _ in 0..ITEMS_MAX {
            queues.enqueue(number, b"").unwrap();
        }
        assert_eq!(queues.enqueue(number, b"").err(), Some(Status::Internal));
    }

    #[test]
    fn queues_are_bounded_by_id_and_in_all() {
        let mut queues = Queues::default();
        assert_eq!(queues.open("a", &[b'q'; NAME_BYTES_MAX + 1]), Err(Status::BadArgument));
        for id in 0..QUEUES_MAX / QUEUES_OF_ID_MAX {
            for name in 0..QUEUES_OF_ID_MAX {
                queues.open(&id.to_string(), &name.to_le_bytes()).unwrap();
            }
            assert_eq!(queues.open(&id.to_string(), b"more"), Err(Status::Internal));
        }
        assert_eq!(queues.open("other", b"q"), Err(Status::Internal));
        assert!(queues.open("0", &0_usize.to_le_bytes()).is_ok(), "one that is there");
    }

    #[test]
    fn all_queues_together_hold_no_more_than_the_process_can_spare() {
        let mut queues = Queues::default();
        let half = vec![0; 1 << 19];
        let mut held = 0;
        for id in 0..QUEUES_MAX {
            let number = queues.open(&id.to_string(), b"q").unwrap();
            while queues.enqueue(number, &half).is_ok() {
                held += half.len();
            }
        }
        assert!(held <= 64 << 20, "{held}");
        let first = queues.resolve("0", b"q").unwrap();
        queues.dequeue(first).unwrap();
        assert!(queues.enqueue(first, &half).is_ok(), "what is taken out makes room");
    }
}
