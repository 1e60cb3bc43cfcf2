//! Does what a host must survive, as the request's `x-rogue` says.
//!
//! `loop` never returns, `allocate` takes memory without end, `trap` executes `unreachable`, and
//! `nested` calls itself without end. Any other request passes. With `tick-loop` as the plugin's
//! configuration it is the timer's callback that never returns.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::hint::black_box;
use std::time::Duration;

proxy_wasm::main! {{
    // It is this that has a panic's text logged, too.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        if self.get_plugin_configuration().as_deref() == Some(b"tick-loop") {
            self.set_tick_period(Duration::from_millis(10));
        }
        true
    }

    fn on_tick(&mut self) {
        spin();
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Rogue))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Rogue;

impl Context for Rogue {}

impl HttpContext for Rogue {
    fn on_http_request_headers(&mut self, count: usize, _end: bool) -> Action {
        match self.get_http_request_header_bytes("x-rogue").as_deref() {
            Some(b"loop") => spin(),
            Some(b"allocate") => allocate(),
            Some(b"trap") => panic!("asked to"),
            Some(b"nested") => drop(black_box(nested(count))),
            _ => {}
        }
        Action::Continue
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn allocate() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Ends when the count has wrapped, which no stack lives to see.
#[inline(never)]
fn nested(depth: usize) -> usize {
    if depth == 0 { 1 } else { nested(depth.wrapping_add(1)).wrapping_mul(31) ^ depth }
}
