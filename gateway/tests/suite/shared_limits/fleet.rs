//! Several gateways and one server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::redis::Redis;
use super::{ask, behind, counted, limit, requests, send};
use crate::support::{Client, Gateway, tool};

/// The limits of the fleet: one that any machine can offer more than, and one that shows what many tokens
/// in a batch make of it.
const PER_S: [u32; 2] = [200, 1000];

/// Requests that a client sends at once, so that a loaded machine offers enough.
const PIPELINED: usize = 8;

/// Enough for the lower bound to say something, and as short as a test should be.
const MEASURED: Duration = Duration::from_secs(4);

/// In each of these a gateway must have refused somebody for enough to have been offered.
const SLICE: Duration = Duration::from_millis(250);

/// Clients of one gateway, and what they were told.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    admitted: AtomicU64,
    refused: AtomicU64,
    /// The refusals until the end of each slice.
    slices: Mutex<Vec<u64>>,
}

impl Load {
    /// Two connections to `gateway`, each of which sends as it is answered.
    fn start(gateway: &Gateway) -> Running {
        let load = Arc::new(Self::default());
        for _ in 0..2 {
            let (load, address) = (load.clone(), gateway.web());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let requests = "GET / HTTP/1.1\r\nHost: a\r\nX-Key: hot\r\n\r\n".repeat(PIPELINED);
                while !load.is_over.load(Ordering::Relaxed) {
                    client.send(&requests);
                    for _ in 0..PIPELINED {
                        let response = client.try_receive(false);
                        if response.is_none() && load.is_over.load(Ordering::Relaxed) {
                            return;
                        }
                        match response.expect("a response").status {
                            200 => load.admitted.fetch_add(1, Ordering::Relaxed),
                            429 => load.refused.fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other}"),
                        };
                    }
                }
            });
        }
        Running(load)
    }

    fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn all(&self) -> u64 {
        self.admitted() + self.refused()
    }

    fn end_slice(&self) {
        self.slices.lock().unwrap().push(self.refused());
    }

    /// Whether it was over the limit all the time.
    fn was_enough(&self) -> bool {
        self.slices.lock().unwrap().windows(2).all(|pair| pair[0] < pair[1])
    }
}

/// A load; its clients end with this value.
struct Running(Arc<Load>);

impl std::ops::Deref for Running {
    type Target = Load;

    fn deref(&self) -> &Load {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn four_gateways_admit_one_limit_in_sum_and_ask_the_server_seldom() {
    if tool("redis-server") {
        PER_S.into_iter().for_each(measure);
    }
}

/// What four gateways with one limit of `per_s` admit, and what it costs.
fn measure(per_s: u32) {
    let redis = Redis::start();
    // No deadline that a loaded machine misses: what is measured is the limit.
    let at = format!("address: {}, deadline: 10s, on_failure: closed", redis.address());
    let yaml = behind(&limit(per_s, "", &at));
    let gateways: Vec<_> = (0..4).map(|_| Gateway::start(&yaml)).collect();
    let loads: Vec<_> = gateways.iter().map(Load::start).collect();
    // The bucket is empty once somebody was refused: a burst, and what it fills by meanwhile.
    let began = Instant::now();
    while began.elapsed() < MEASURED && loads.iter().all(|load| load.refused() == 0) {
        thread::sleep(Duration::from_millis(5));
    }

    let sum = |of: fn(&Load) -> u64| loads.iter().map(|load| of(load)).sum::<u64>();
    let (calls, all, admitted, began_us) =
        (redis.script_calls(), sum(Load::all), sum(Load::admitted), redis.now_us());
    let began = Instant::now();
    while began.elapsed() < MEASURED {
        loads.iter().for_each(|load| load.end_slice());
        thread::sleep(SLICE);
    }
    loads.iter().for_each(|load| load.end_slice());
    let seconds = (redis.now_us() - began_us) as f64 / 1e6;
    let admitted = (sum(Load::admitted) - admitted) as f64;
    let (all, calls) = ((sum(Load::all) - all) as f64, (redis.script_calls() - calls) as f64);

    let expected = f64::from(per_s) * seconds;
    let was_enough = loads.iter().all(|load| load.was_enough());
    eprintln!(
        "{per_s}/s: {admitted} of {all} requests admitted in {seconds:.2} s, {:.3} of the limit; {:.4} \
         round trips a request; over the limit all the time: {was_enough}",
        admitted / expected,
        calls / all
    );
    // What was in the bucket when it began, and tokens that were granted before.
    let most = (expected + f64::from(per_s)) * 1.05;
    assert!(admitted <= most, "{admitted} in {seconds} s");
    if was_enough {
        assert!(admitted >= 0.95 * expected, "{admitted} in {seconds} s");
    }
    // Each gateway asks once in half a lease, or once in three quarters of a batch.
    let calls_max = 4.0 * (seconds * 10.0 + 10.0) + admitted * 0.15;
    assert!(calls <= calls_max, "{calls} calls for {all} requests in {seconds} s");
    if all / seconds >= 1500.0 {
        assert!(calls / all <= 0.05, "{calls} calls for {all} requests");
    }
    for gateway in &gateways {
        assert!(counted(gateway, "round_trips_total", "result=\"ok\"") > 0.0);
        assert!(requests(gateway, &["admitted"]) > 0.0);
        assert_eq!(requests(gateway, &["fallback_admitted", "fallback_refused"]), 0.0);
    }
}

#[test]
fn a_hot_key_within_its_limit_costs_few_round_trips_and_is_never_refused() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start();
    // A lease of which a slow machine uses a good part.
    let at = format!("address: {}, deadline: 10s, lease: 10s", redis.address());
    let gateway = Gateway::start(&behind(&limit(100_000, "per: 1s,", &at)));
    let mut client = Client::connect(gateway.web());
    for _ in 0..1000 {
        assert_eq!(send(&mut client, "hot").status, 200);
    }
    let calls = redis.script_calls();
    eprintln!("{calls} round trips for 1000 requests");
    assert!(calls <= 50, "{calls} round trips for 1000 requests");
    gateway.counts(
        "sallyport_shared_limit_requests_total{filter=\"rate_limit\",result=\"admitted\"}",
        1000.0,
    );
    let granted = counted(&gateway, "tokens_total", "event=\"granted\"");
    assert!(granted >= 1000.0, "{granted}");
}

#[test]
fn a_slow_limit_is_exact_and_clients_are_told_what_is_left() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start();
    let at = format!("address: {}, deadline: 10s, on_failure: closed", redis.address());
    let yaml = behind(&limit(5, "per: 1h,", &at));
    let gateways = [Gateway::start(&yaml), Gateway::start(&yaml)];
    let mut left = Vec::new();
    for turn in 0..5 {
        let response = send(&mut Client::connect(gateways[turn % 2].web()), "ann");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("ratelimit-policy").unwrap(), "\"rate_limit\";q=5;w=3600");
        let told = response.field("ratelimit").unwrap();
        left.push(told.split(';').nth(1).unwrap().to_owned());
    }
    assert_eq!(left, ["r=4", "r=3", "r=2", "r=1", "r=0"]);
    for gateway in &gateways {
        let response = send(&mut Client::connect(gateway.web()), "ann");
        assert_eq!((response.status, response.error().as_deref()), (429, Some("rate_limited")));
        let after: u64 = response.field("retry-after").unwrap().parse().unwrap();
        assert!((1..=720).contains(&after), "{after}");
        // Others have buckets of their own.
        assert_eq!(ask(gateway.web(), "bob"), 200);
    }
    // Whoever asks again costs the server a call a second.
    let (calls, began) = (redis.script_calls(), Instant::now());
    for _ in 0..50 {
        assert_eq!(ask(gateways[0].web(), "ann"), 429);
    }
    let most = 1.0 + began.elapsed().as_secs_f64();
    assert!((redis.script_calls() - calls) as f64 <= most, "more than {most}");
}

#[test]
fn limits_of_one_name_are_one_and_others_are_apart() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start();
    let at = |name: &str| {
        format!("address: {}, deadline: 10s, on_failure: closed, {name}", redis.address())
    };
    let gateway = |name: &str| Gateway::start(&behind(&limit(1, "per: 1h,", &at(name))));
    let (one, two, other) = (gateway("name: api"), gateway("name: api"), gateway("name: login"));
    assert_eq!(ask(one.web(), "ann"), 200);
    assert_eq!(ask(two.web(), "ann"), 429);
    assert_eq!(ask(other.web(), "ann"), 200);
    // Without a name it is the place and the filter: the same in each gateway of one configuration.
    let (three, four) = (gateway(""), gateway(""));
    assert_eq!(ask(three.web(), "ann"), 200);
    assert_eq!(ask(four.web(), "ann"), 429);
}
