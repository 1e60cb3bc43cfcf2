use std::thread;

use super::*;

fn route(shards: usize) -> RouteStats {
    let rows = table(shards).install(&[(Arc::from("shop"), Arc::from("checkout"))]);
    RouteStats::new(rows[0].clone(), None)
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn all_but_the_histogram_fits_one_line() {
    assert!(HISTOGRAM * size_of::<AtomicU64>() <= 128);
}

#[test]
fn a_request_is_active_until_it_is_finished() {
    let route = route(2);
    route.begin();
    route.begin();
    assert_eq!(route.snapshot().active(), 2);
    route.finish(200, None, millis(1));
    let snapshot = route.snapshot();
    assert_eq!((snapshot.active(), snapshot.count()), (1, 1));
}

#[test]
fn a_request_may_finish_on_another_thread() {
    let route = route(64);
    route.begin();
    thread::scope(|scope| {
        scope.spawn(|| route.finish(200, None, millis(1)));
    });
    assert_eq!(route.snapshot().active(), 0);
}

#[test]
fn requests_are_counted_by_class() {
    let route = route(1);
    for status in [101, 200, 204, 301, 404, 502, 0] {
        route.begin();
        route.finish(status, None, millis(1));
    }
    let snapshot = route.snapshot();
    assert_eq!(CodeClass::ALL.map(|class| snapshot.requests(class)), [1, 2, 1, 1, 1, 1]);
    assert_eq!(snapshot.count(), 7);
}

#[test]
fn the_specific_kind_takes_the_place_of_the_status() {
    let cases = [
        (200, None, [0, 0, 0, 0, 0, 0, 0, 0]),
        (404, None, [1, 0, 0, 0, 0, 0, 0, 0]),
        (500, None, [0, 1, 0, 0, 0, 0, 0, 0]),
        (504, Some(ErrorKind::Timeout), [0, 0, 1, 0, 0, 0, 0, 0]),
        (502, Some(ErrorKind::Connect), [0, 0, 0, 1, 0, 0, 0, 0]),
        (200, Some(ErrorKind::Reset), [0, 0, 0, 0, 1, 0, 0, 0]),
        (503, Some(ErrorKind::NoEndpoint), [0, 0, 0, 0, 0, 1, 0, 0]),
        (0, None, [0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (status, error, expected) in cases {
        let route = route(1);
        route.begin();
        route.finish(status, error, millis(1));
        let snapshot = route.snapshot();
        assert_eq!(ErrorKind::ALL.map(|kind| snapshot.errors(kind)), expected, "{status}");
    }
}

#[test]
fn durations_are_summed_exactly_and_ranked_nearly() {
    let route = route(1);
    for ms in 1..=1_000 {
        route.begin();
        route.finish(200, None, millis(ms));
    }
    let snapshot = route.snapshot();
    assert_eq!(snapshot.sum(), millis(500_500));
    for (q, exact) in [(0.5, millis(500)), (0.99, millis(990)), (0.999, millis(999))] {
        let estimate = snapshot.quantile(q).unwrap();
        assert!(estimate.abs_diff(exact) * 32 <= exact, "{estimate:?} for {exact:?}");
    }
}

#[test]
fn an_absurd_duration_is_counted_in_the_last_bucket() {
    let route = route(1);
    route.begin();
    route.finish(200, None, Duration::MAX);
    let snapshot = route.snapshot();
    assert_eq!((snapshot.count(), snapshot.cumulative().last().unwrap().1), (1, 0));
}

#[test]
fn an_unvisited_route_has_no_quantile() {
    let snapshot = route(3).snapshot();
    assert_eq!((snapshot.count(), snapshot.active()), (0, 0));
    assert_eq!(snapshot.quantile(0.5), None);
}

#[test]
fn concurrent_recording_loses_nothing() {
    const THREADS: u64 = 8;
    const REQUESTS: u64 = 20_000;
    let route = route(3);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let route = &route;
            scope.spawn(move || {
                for request in 0..REQUESTS {
                    route.begin();
                    route.finish(200 + (thread % 4) as u16 * 100, None, millis(request % 50));
                }
            });
        }
    });
    let snapshot = route.snapshot();
    assert_eq!(snapshot.active(), 0);
    assert_eq!(snapshot.count(), THREADS * REQUESTS);
    assert_eq!(snapshot.buckets().iter().sum::<u64>(), THREADS * REQUESTS);
    assert_eq!(snapshot.errors(ErrorKind::ClientError), 2 * REQUESTS);
    assert_eq!(snapshot.sum(), millis(THREADS * (0..REQUESTS).map(|r| r % 50).sum::<u64>()));
}

#[test]
fn a_reading_caught_between_never_has_more_durations_than_requests() {
    let route = route(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    route.begin();
                    route.finish(200, None, millis(1));
                }
            });
        }
        let mut last = 0;
        while last < 100_000 {
            let snapshot = route.snapshot();
            assert!(snapshot.buckets.iter().sum::<u64>() <= snapshot.count());
            assert!(snapshot.count() >= last);
            last = snapshot.count();
        }
    });
}

#[test]
fn active_requests_are_told_by_worker() {
    // More shards than test threads, so that no two of these share one.
    let rows =
        table(1024).install(&["checkout", "search"].map(|it| (Arc::from("shop"), Arc::from(it))));
    let routes: Vec<_> = rows.iter().map(|row| RouteStats::new(row.clone(), None)).collect();
    routes.iter().for_each(RouteStats::begin);
    let begin_and_end = || {
        routes[0].begin();
        routes[1].begin();
        routes[1].finish(200, None, millis(1));
    };
    thread::scope(|scope| scope.spawn(begin_and_end).join().unwrap());
    let active = active_by_worker(rows.iter());
    let busy: Vec<i64> = active.into_iter().filter(|active| *active != 0).collect();
    assert_eq!(busy.iter().sum::<i64>(), 3);
    assert!(busy.contains(&2) && busy.contains(&1), "{busy:?}");
}
