use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const NEVER: u64 = u64::MAX;

fn weight(weight: u16) -> NonZeroU16 {
    NonZeroU16::new(weight).unwrap()
}

fn wait(queue: &mut FairQueue<&'static str, u32>, tenant: &'static str, value: u32) {
    let pushed = queue.push(tenant, weight(1), NEVER, value);
    assert!(matches!(pushed, Pushed::Waits(_)), "{pushed:?}");
}

#[test]
fn a_tenant_that_asks_for_ten_times_its_share_delays_nobody_else() {
    let mut queue = FairQueue::new(100);
    for value in 0..50 {
        wait(&mut queue, "greedy", value);
    }
    assert_eq!(queue.pop(0), Some(0));
    // Who comes now is next, however long the other's queue is.
    wait(&mut queue, "modest", 100);
    assert_eq!(queue.pop(0), Some(100));
    assert_eq!(queue.pop(0), Some(1));
}

#[test]
fn a_tenant_that_was_idle_has_saved_up_nothing() {
    let mut queue = FairQueue::new(100);
    for value in 0..20 {
        wait(&mut queue, "busy", value);
    }
    for value in 0..10 {
        assert_eq!(queue.pop(0), Some(value));
    }
    for value in 100..110 {
        wait(&mut queue, "late", value);
    }
    let served: Vec<_> = (0..10).filter_map(|_| queue.pop(0)).collect();
    assert_eq!(served.iter().filter(|value| **value >= 100).count(), 5, "{served:?}");
}

#[test]
fn what_is_past_its_deadline_is_dropped_and_costs_its_tenant_nothing() {
    let mut queue = FairQueue::new(10);
    for value in 0..3 {
        queue.push("a", weight(1), 10, value);
    }
    queue.push("a", weight(1), 100, 3);
    queue.push("b", weight(1), 100, 10);
    assert_eq!(queue.pop(10), Some(3));
    assert_eq!(queue.pop(10), Some(10));
    assert_eq!(queue.pop(10), None);
    assert!(queue.is_empty());
}

#[test]
fn a_full_queue_makes_room_at_the_expense_of_who_holds_most_of_it() {
    let mut queue = FairQueue::new(4);
    for value in 0..4 {
        wait(&mut queue, "greedy", value);
    }
    assert_eq!(queue.push("greedy", weight(1), NEVER, 4), Pushed::Full(4));
    let Pushed::Displaced(_, latest) = queue.push("modest", weight(1), NEVER, 10) else {
        panic!("there is no room for the modest one")
    };
    assert_eq!(latest, 3);
    queue.push("modest", weight(1), NEVER, 11);
    assert_eq!(queue.push("modest", weight(1), NEVER, 12), Pushed::Full(12), "they are even");
    assert_eq!(queue.len(), 4);
}

#[test]
fn what_was_taken_back_is_not_served() {
    let mut queue = FairQueue::new(4);
    let Pushed::Waits(ticket) = queue.push("a", weight(1), NEVER, 1) else { panic!() };
    assert_eq!(queue.cancel(&ticket), Some(1));
    assert_eq!(queue.cancel(&ticket), None);
    assert_eq!(queue.pop(0), None);
    assert!(queue.is_empty() && queue.tenants.is_empty());
    assert!(queue.next.is_empty() && queue.fullest.is_empty());
}

proptest! {
    /// While all of them wait, tenants are served by their weights, give or take one item each.
    #[test]
    fn shares_follow_weights(weights in prop::collection::vec(1_u16..=16, 1..8)) {
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let rounds = 8;
        let mut queue = FairQueue::new(usize::MAX);
        for (tenant, of) in weights.iter().enumerate() {
            // One more than can be served, so that nobody's queue runs dry.
            for _ in 0..rounds * total + 1 {
                queue.push(tenant, weight(*of), NEVER, tenant);
            }
        }
        let mut served = vec![0_usize; weights.len()];
        for count in 1..=rounds * total {
            served[queue.pop(0).unwrap()] += 1;
            for (tenant, of) in weights.iter().enumerate() {
                let due = count as f64 * f64::from(*of) / total as f64;
                let error = (served[tenant] as f64 - due).abs();
                prop_assert!(error <= weights.len() as f64, "{error} of {tenant} after {count}");
            }
        }
        for (tenant, of) in weights.iter().enumerate() {
            prop_assert!(served[tenant].abs_diff(rounds * usize::from(*of)) <= 1);
        }
    }

    /// A tenant that waits is served before any other of its weight is served more than twice.
    #[test]
    fn nobody_starves(others in prop::collection::vec(0_usize..6, 0..200)) {
        let mut queue = FairQueue::new(usize::MAX);
        for tenant in 0..6 {
            queue.push(tenant, weight(1), NEVER, tenant);
        }
        queue.pop(0);
        queue.push(99, weight(1), NEVER, 99);
        let mut served: HashMap<usize, u32> = HashMap::new();
        let mut arrivals = others.into_iter();
        while let Some(tenant) = queue.pop(0) {
            if tenant == 99 {
                break;
            }
            let times = served.entry(tenant).or_default();
            *times += 1;
            prop_assert!(*times <= 2);
            if let Some(arriving) = arrivals.next() {
                queue.push(arriving, weight(1), NEVER, arriving);
            }
        }
        prop_assert!(served.len() <= 6);
    }

    /// Whatever is done to it, the queue holds what it says it holds and no more than it may.
    #[test]
    fn its_books_are_kept(
        operations in prop::collection::vec((0_u8..4, 0_usize..5, 1_u16..5, 0_u64..50), 0..300),
        length in 0_usize..12,
    ) {
        let mut queue = FairQueue::new(length);
        let mut tickets = Vec::new();
        for (now, (operation, tenant, of, deadline)) in (0..).zip(operations) {
            match operation {
                0 | 1 => match queue.push(tenant, weight(of), now + deadline, now) {
                    Pushed::Waits(ticket) | Pushed::Displaced(ticket, _) => tickets.push(ticket),
                    Pushed::Full(_) => prop_assert_eq!(queue.len(), length),
                },
                2 => drop(queue.pop(now)),
                _ => drop(tickets.pop().and_then(|ticket| queue.cancel(&ticket))),
            }
            let held: usize = queue.tenants.values().map(|waiting| waiting.items.len()).sum();
            prop_assert_eq!(held, queue.len());
            prop_assert!(held <= length);
            prop_assert_eq!(queue.next.len(), queue.tenants.len());
            prop_assert_eq!(queue.fullest.len(), queue.tenants.len());
        }
    }
}
