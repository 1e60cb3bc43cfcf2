//! What a request costs. Run with
//! `cargo test --release -p sallyport-plugin wasm::tests::cost -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use http::request;

use super::messages::outcome;
use super::{CALM, guest_file, response, tried};
use crate::chain::Run;
use crate::testing::Tried;
use crate::wasm::KIND;

/// Sets one field of the request and one of the response; has all hooks that an SDK exports.
const SETTER: &str = r#"(func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $replace (i32.const 0) {x-wasm} {hello})) (i32.const 0))
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $add (i32.const 2) {x-wasm-response} {hello})) (i32.const 0))
    (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1))
    (func (export "proxy_on_log") (param i32))
    (func (export "proxy_on_delete") (param i32))"#;

const REQUESTS: u32 = 100_000;

#[test]
#[ignore = "a measurement"]
fn of_a_request_whose_fields_are_set() {
    let mut all = vec![("text", tried(SETTER, CALM))];
    for name in ["header_rust", "header_as"] {
        let Some(path) = guest_file(name) else { continue };
        all.push((name, Tried::new(&KIND, &format!("{{ module: {path}, {CALM} }}"))));
    }
    for (name, tried) in &all {
        for _ in 0..5 {
            let (bare, whole) = (run(tried, false), run(tried, true));
            eprintln!("{name}: {} ns a request", whole.saturating_sub(bare));
        }
    }
}

/// Nanoseconds for each request, without its hooks or with them.
fn run(tried: &Tried, hooks: bool) -> u128 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        for _ in 0..REQUESTS {
            let (mut run, mut request, mut response) = (Run::default(), request(), response());
            response.headers.insert("content-type", "text/html".parse().unwrap());
            response.headers.insert("content-length", "10".parse().unwrap());
            if hooks {
                let (chain, about) = (&tried.chain, &tried.about);
                chain.request_headers(&mut run, &mut request, about).await;
                chain.response_headers(&mut run, &mut request, about, &mut response).await;
                chain.log(&mut run, &mut request, about, &outcome(&response));
            }
            black_box((&request, &response, &run));
        }
    });
    began.elapsed().as_nanos() / u128::from(REQUESTS)
}

fn request() -> request::Parts {
    let mut request = http::Request::new(()).into_parts().0;
    for (name, value) in
        [("host", "a.example"), ("user-agent", "bench"), ("accept", "*/*"), ("x-request-id", "7")]
    {
        request.headers.insert(name, value.parse().unwrap());
    }
    request
}
