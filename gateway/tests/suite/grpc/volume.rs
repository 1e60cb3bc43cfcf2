//! Many calls of all four kinds at once, while the configuration is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::iter;
use tonic::{Request, Status};

use super::client::{Calls, rest};
use super::messages::{
    Payload, SimpleRequest, StreamingInputCallRequest, StreamingOutputCallRequest, bytes,
};
use super::{Bench, Way};
use crate::support::PATIENCE;

/// Calls under way at once, on each of the four ways.
const AT_ONCE: usize = 8;

/// The `number`th call, each fourth of one kind. Whatever is not as it should be is a failure.
async fn call(calls: &Calls, number: usize) -> Result<(), Status> {
    let size = number * 37 % 5_000;
    let came = match number % 4 {
        0 => {
            let payload = Payload::of(size);
            let asked =
                SimpleRequest { response_size: size as i32, payload, response_status: None };
            let mut request = Request::new(asked);
            request.set_timeout(PATIENCE);
            bytes(calls.unary(request).await?.into_inner().payload.as_ref()) == size
        }
        1 => {
            let requests =
                [size, 1, 2].map(|it| StreamingInputCallRequest { payload: Payload::of(it) });
            let summed = calls.input(iter(requests)).await?.into_inner();
            summed.aggregated_payload_size == size as i32 + 3
        }
        2 => {
            let asked = StreamingOutputCallRequest::asking(&[size as i32, 1, 2], 0);
            is_whole(&rest(calls.output(asked).await?).await, size)
        }
        _ => {
            let asked = [size as i32, 1, 2].map(|it| StreamingOutputCallRequest::asking(&[it], 10));
            let responses = calls.duplex(Request::new(iter(asked))).await?;
            is_whole(&rest(responses.into_inner()).await, size)
        }
    };
    if came { Ok(()) } else { Err(Status::data_loss("not what was asked for")) }
}

/// Three responses, the first of this size, and the trailers of a call that succeeded.
fn is_whole(came: &str, size: usize) -> bool {
    came.starts_with(&format!("[{size}, 1, 2] {{"))
}

/// Calls made by the short form, or as many as `SALLYPORT_GRPC_CALLS` says.
fn wanted() -> usize {
    std::env::var("SALLYPORT_GRPC_CALLS").map_or(2_000, |calls| calls.parse().unwrap())
}

#[test]
fn calls_of_every_kind_succeed_while_the_configuration_is_replaced() {
    let (bench, wanted) = (Bench::start(), wanted());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let callers: Vec<_> = Way::all()
        .flat_map(|way| std::iter::repeat_n((way, bench.through(way)), AT_ONCE))
        .map(|(way, calls)| {
            let next = next.clone();
            bench.runtime.spawn(async move {
                let mut failed = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= wanted {
                        return failed;
                    }
                    if let Err(status) = call(&calls, number).await {
                        failed.push(format!("{number}, {way:?}: {status:?}"));
                    }
                }
            })
        })
        .collect();
    let over = AtomicBool::new(false);
    let (failed, reloads) = std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut turn = 0;
            while !over.load(Ordering::Relaxed) {
                turn += 1;
                bench.reload(turn);
                std::thread::sleep(Duration::from_millis(100));
            }
            turn
        });
        let failed: Vec<String> = bench.runtime.block_on(async {
            futures::future::join_all(callers).await.into_iter().flat_map(Result::unwrap).collect()
        });
        over.store(true, Ordering::Relaxed);
        (failed, reloading.join().unwrap())
    });
    println!(
        "{wanted} calls and {reloads} reloads in {:.1} s, {} failed",
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..failed.len().min(10)]);
    assert!(reloads > 0);
}
