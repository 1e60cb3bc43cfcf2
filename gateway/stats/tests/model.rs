//! The queue in front of an exporter, in every order in which its threads may run.
//!
//! Its file is compiled a second time here, beside a `sync` that is loom's: what is tried is the code
//! that runs, and no copy of it. Loom knows no time, so that waiting ends only by being woken: a
//! wake-up that is lost would show as a deadlock.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[allow(dead_code, reason = "a model uses what it needs")]
#[path = "../src/push/outbox.rs"]
mod outbox;

mod sync {
    pub(super) use std::sync::PoisonError;

    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use std::time::Duration;

use loom::{sync::Arc, thread};
use outbox::{Next, Outbox};

const EVER: Duration = Duration::MAX;

fn drain(outbox: &Outbox<u32>) -> Vec<u32> {
    let mut items = Vec::new();
    loop {
        match outbox.next(EVER) {
            Next::Item(item) => items.push(item),
            Next::Late => {}
            Next::Closed => return items,
        }
    }
}

#[test]
fn every_item_comes_out_or_is_given_back() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::new(1, usize::MAX));
        let feeder = Arc::clone(&outbox);
        let feeder = thread::spawn(move || {
            let mut gone = Vec::new();
            for item in 0..3 {
                gone.extend(feeder.put(item, 1));
            }
            feeder.close();
            gone
        });
        let mut seen = drain(&outbox);
        assert!(seen.is_sorted(), "the oldest first: {seen:?}");
        assert_eq!(seen.last(), Some(&2), "the newest is never the one to go");
        seen.extend(feeder.join().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!(outbox.load(), (0, 0));
    });
}

#[test]
fn what_is_put_in_wakes_who_waits() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::new(1, usize::MAX));
        let waiting = Arc::clone(&outbox);
        let waiting = thread::spawn(move || waiting.next(EVER));
        assert!(outbox.put(7, 1).is_empty());
        assert_eq!(waiting.join().unwrap(), Next::Item(7));
    });
}

#[test]
fn closing_while_others_put_in_loses_nothing_uncounted() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::new(4, usize::MAX));
        let feeders: Vec<_> = (0..2)
            .map(|item| {
                let outbox = Arc::clone(&outbox);
                thread::spawn(move || outbox.put(item, 1))
            })
            .collect();
        outbox.close();
        let mut seen = drain(&outbox);
        for feeder in feeders {
            seen.extend(feeder.join().unwrap());
        }
        seen.extend(outbox.take_all());
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
        assert_eq!(outbox.put(7, 1), [7], "closed is closed");
    });
}

#[test]
fn a_thread_at_rest_is_woken_by_closing() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::<u32>::new(1, usize::MAX));
        let closer = Arc::clone(&outbox);
        let closer = thread::spawn(move || closer.close());
        outbox.rest(EVER);
        closer.join().unwrap();
        assert!(outbox.is_closed());
    });
}
