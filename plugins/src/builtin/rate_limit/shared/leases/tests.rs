use super::super::super::buckets::Rate;
use super::super::figures::Failure;
use super::{Attempt, Fetch, Fetched, Grant, Leases, Terms, Turn};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// A thousand a second, and a lease of 200 ms.
fn thousand() -> Leases {
    let rate = Rate { interval_ns: MS, burst: 1000 };
    Leases::new(Terms::new(rate, 200 * MS), 100)
}

fn first(leases: &Leases, now_ns: u64) -> Turn {
    leases.take(1, Attempt::First, now_ns).0
}

fn asked(turn: Turn) -> Fetch {
    match turn {
        Turn::Wait(_, Some(fetch)) | Turn::Admitted(_, Some(fetch)) => fetch,
        other => unreachable!("nothing is asked: {other:?}"),
    }
}

fn granted(tokens: u32) -> Result<Grant, Failure> {
    Ok(Grant { tokens, remaining: 7, wait_ns: 0 })
}

fn refused(wait_ns: u64) -> Result<Grant, Failure> {
    Ok(Grant { tokens: 0, remaining: 0, wait_ns })
}

#[test]
fn the_first_request_asks_for_one_token_and_others_wait_for_the_same_fetch() {
    let leases = thousand();
    assert_eq!(asked(first(&leases, SECOND)).wanted, 1);
    assert!(matches!(first(&leases, SECOND), Turn::Wait(_, None)));
    leases.settle(1, 1, granted(1), SECOND);
    assert!(matches!(first(&leases, SECOND), Turn::Admitted(taken, None) if taken.remaining == 7));
    assert!(matches!(first(&leases, SECOND), Turn::Wait(_, Some(_))));
}

#[test]
fn those_that_wait_are_asked_for_together() {
    let leases = thousand();
    first(&leases, SECOND);
    for _ in 0..30 {
        leases.count_waiting(1, true);
    }
    leases.settle(1, 1, granted(1), SECOND);
    leases.take(1, Attempt::Again, SECOND);
    leases.count_waiting(1, false);
    let (turn, _) = leases.take(1, Attempt::Again, SECOND);
    assert_eq!(asked(turn).wanted, 30);
}

#[test]
fn tokens_lapse_with_their_lease_and_are_counted() {
    let leases = thousand();
    first(&leases, SECOND);
    leases.settle(1, 5, granted(5), SECOND);
    assert!(matches!(first(&leases, SECOND + 199 * MS), Turn::Admitted(..)));
    let (turn, lapsed) = leases.take(1, Attempt::First, SECOND + 200 * MS);
    assert_eq!(lapsed, 4);
    assert!(matches!(turn, Turn::Wait(_, Some(_))));
}

#[test]
fn a_key_that_got_less_than_it_wanted_is_refused_without_asking_for_a_while() {
    let leases = thousand();
    first(&leases, SECOND);
    leases.settle(1, 5, refused(MS), SECOND);
    let Turn::Refused(taken) = first(&leases, SECOND + 10 * MS) else {
        unreachable!("it is empty")
    };
    assert_eq!((taken.is_admitted, taken.wait_ns), (false, 90 * MS));
    assert!(matches!(first(&leases, SECOND + 100 * MS), Turn::Wait(_, Some(_))));
    // A slow limit is asked again once a second, and the client is told the truth.
    leases.settle(1, 5, refused(6 * SECOND), 2 * SECOND);
    let Turn::Refused(taken) = first(&leases, 2 * SECOND + 999 * MS) else { unreachable!("it is") };
    assert_eq!(taken.wait_ns, 5 * SECOND + MS);
    assert!(matches!(first(&leases, 3 * SECOND), Turn::Wait(_, Some(_))));
}

#[test]
fn a_failed_fetch_is_told_to_whoever_comes_and_tried_again_later() {
    let leases = thousand();
    let fetch = asked(first(&leases, SECOND));
    let Turn::Wait(waits, None) = first(&leases, SECOND) else { unreachable!("it waits") };
    leases.settle(1, fetch.wanted, Err(Failure::Deadline), SECOND);
    fetch.done.send_replace(Fetched::Failed(Failure::Deadline));
    assert_eq!(*waits.borrow(), Fetched::Failed(Failure::Deadline));
    let turn = first(&leases, SECOND + 199 * MS);
    assert!(matches!(turn, Turn::Unknown(Failure::Deadline)));
    assert!(matches!(first(&leases, SECOND + 200 * MS), Turn::Wait(_, Some(_))));
}

#[test]
fn a_batch_is_at_most_what_the_rate_adds_in_half_a_lease_and_what_a_bucket_holds() {
    let batch = |interval_ns, burst| Terms::new(Rate { interval_ns, burst }, 200 * MS).batch_max;
    assert_eq!(batch(MS, 1000), 100);
    assert_eq!(batch(MS, 10), 10);
    assert_eq!(batch(6 * SECOND, 10), 1);
    assert_eq!(batch(1000, 1_000_000), 100_000);
}

/// A bucket as the server keeps it.
struct Bucket {
    rate: Rate,
    full_at_ns: u64,
}

impl Bucket {
    fn take(&mut self, wanted: u32, now_ns: u64) -> Grant {
        let window_ns = self.rate.interval_ns * self.rate.burst;
        let full = self.full_at_ns.max(now_ns);
        let free = (now_ns + window_ns - full) / self.rate.interval_ns;
        let tokens = u32::try_from(free).unwrap().min(wanted);
        self.full_at_ns = full + u64::from(tokens) * self.rate.interval_ns;
        let remaining = free - u64::from(tokens);
        let next = self.full_at_ns + (remaining + 1) * self.rate.interval_ns;
        Grant { tokens, remaining, wait_ns: next.saturating_sub(window_ns + now_ns) }
    }
}

/// What became of a simulation's requests.
#[derive(Debug, Default)]
struct Counted {
    admitted: u64,
    refused: u64,
    trips: u64,
}

/// Gateways with one bucket, each offered a request every `every_ns`. The server answers at once, so that
/// a request never waits in simulated time.
fn simulate(gateways: usize, every_ns: u64, seconds: u64) -> Counted {
    let mut bucket = Bucket { rate: Rate { interval_ns: MS, burst: 1000 }, full_at_ns: 0 };
    let all: Vec<_> = (0..gateways).map(|_| thousand()).collect();
    let mut counted = Counted::default();
    for now_ns in (SECOND..SECOND * (1 + seconds)).step_by(usize::try_from(every_ns).unwrap()) {
        for leases in &all {
            let mut attempt = Attempt::First;
            loop {
                let (turn, _) = leases.take(1, attempt, now_ns);
                attempt = Attempt::Again;
                let (is_over, fetch) = match turn {
                    Turn::Admitted(_, fetch) => {
                        counted.admitted += 1;
                        (true, fetch)
                    }
                    Turn::Refused(_) => {
                        counted.refused += 1;
                        (true, None)
                    }
                    Turn::Wait(_, fetch) => (false, fetch),
                    Turn::Unknown(failure) => unreachable!("{failure:?}"),
                };
                if let Some(Fetch { wanted, .. }) = fetch {
                    counted.trips += 1;
                    leases.settle(1, wanted, Ok(bucket.take(wanted, now_ns)), now_ns);
                }
                if is_over {
                    break;
                }
            }
        }
    }
    counted
}

#[test]
fn gateways_admit_the_rate_in_sum_and_ask_seldom() {
    // From a little over the limit to ten times.
    for (gateways, every_ns) in [(1, MS / 2), (4, 3 * MS), (4, 2 * MS), (4, MS / 3), (16, MS)] {
        let counted = simulate(gateways, every_ns, 10);
        // Ten seconds of the rate, and a full bucket at the beginning.
        let most = 11_000.0;
        let admitted = counted.admitted as f64;
        assert!(admitted <= most, "{gateways} {every_ns}: {counted:?}");
        assert!(admitted >= most * 0.95, "{gateways} {every_ns}: {counted:?}");
        let requests = counted.admitted + counted.refused;
        let trips = counted.trips as f64 / requests as f64;
        assert!(trips <= 0.05, "{gateways} {every_ns}: {trips} a request");
    }
}

#[test]
fn a_key_within_its_limit_is_never_refused_and_asks_seldom_when_it_is_hot() {
    let counted = simulate(1, 2 * MS, 10);
    assert_eq!((counted.admitted, counted.refused), (5000, 0));
    assert!(counted.trips <= 250, "{counted:?}");
    // Four gateways with 100 requests a second each leave each other's share alone.
    let counted = simulate(4, 10 * MS, 10);
    assert_eq!((counted.admitted, counted.refused), (4000, 0));
}

#[test]
fn the_table_is_bounded() {
    let leases = Leases::new(Terms::new(Rate { interval_ns: MS, burst: 1 }, 200 * MS), 10);
    for lease in 0..1000 {
        leases.take(lease, Attempt::First, SECOND);
        leases.settle(lease, 1, granted(1), SECOND);
    }
    assert_eq!(leases.len(), 10);
    // What comes for one that was evicted is dropped, and counted.
    assert_eq!(leases.settle(1, 3, granted(3), SECOND), 3);
    for lease in 1000..1100 {
        leases.take(lease, Attempt::First, 2 * SECOND);
        leases.settle(lease, 1, Err(Failure::Away), 2 * SECOND);
    }
    assert!(leases.len() <= 10);
}
