//! What building a Maglev table costs by number of endpoints, and what one selection costs by policy.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sallyport_balance::{Balancer, Endpoint, MAGLEV_TABLE_SIZE, Maglev, Policy, hash_key};

const POLICIES: [(&str, Policy); 5] = [
    ("round_robin", Policy::RoundRobin),
    ("least_request", Policy::LeastRequest),
    ("random", Policy::Random),
    ("ring_hash", Policy::RingHash),
    ("maglev", Policy::Maglev { table_size: MAGLEV_TABLE_SIZE }),
];

fn endpoints(count: u32, weight: impl Fn(u32) -> u16) -> Vec<Endpoint> {
    let endpoint = |number| Endpoint {
        address: (Ipv4Addr::from_bits(0x0a00_0000 + number), 8080).into(),
        weight: weight(number),
    };
    (0..count).map(endpoint).collect()
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maglev_build");
    for count in [10, 100, 1_000, 10_000] {
        let equal = endpoints(count, |_| 1);
        group.bench_function(BenchmarkId::new("equal", count), |bencher| {
            bencher.iter(|| Maglev::new(black_box(&equal), MAGLEV_TABLE_SIZE));
        });
    }
    let uneven =
        endpoints(1_000, |number| if number == 0 { u16::MAX } else { 1 + number as u16 % 9 });
    group.bench_function(BenchmarkId::new("uneven", 1_000), |bencher| {
        bencher.iter(|| Maglev::new(black_box(&uneven), MAGLEV_TABLE_SIZE));
    });
}

fn select(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("select");
    for (name, policy) in POLICIES {
        for count in [10, 1_000] {
            let endpoints = endpoints(count, |number| 1 + number as u16 % 4);
            let balancer = Balancer::new(policy, &endpoints).expect("a list that can be balanced");
            let mut key = 0_u64;
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    // An odd step visits keys all over the range without costing a hash.
                    key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    balancer.select(black_box(key), &())
                });
            });
        }
    }
}

fn key(criterion: &mut Criterion) {
    criterion.bench_function("hash_key/16_bytes", |bencher| {
        bencher.iter(|| hash_key(black_box(b"user-0000000017x")));
    });
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = build, select, key }
criterion_main!(benches);
