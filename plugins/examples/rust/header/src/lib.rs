//! Sets `x-wasm` on each request and adds `x-wasm-response: hello` to each response.
//!
//! The plugin's configuration, if there is one, is the value of `x-wasm`; otherwise it is `hello`.
//! The request's `x-remove-me` is removed.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

proxy_wasm::main! {{
    // It is this that has a panic's text logged, too.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { value: Rc::from(&b"hello"[..]) }));
}}

struct Root {
    value: Rc<[u8]>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        if let Some(value) = self.get_plugin_configuration().filter(|value| !value.is_empty()) {
            self.value = value.into();
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Header { value: self.value.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Header {
    value: Rc<[u8]>,
}

impl Context for Header {}

impl HttpContext for Header {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_request_header_bytes("x-wasm", Some(&self.value));
        self.remove_http_request_header("x-remove-me");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.add_http_response_header("x-wasm-response", "hello");
        Action::Continue
    }
}
