//! Lets a request pass if an HTTP service says so.
//!
//! The plugin's configuration names the upstream to ask, `auth` if there is none. It gets `GET
//! /check` with the request's `authorization` while the request waits. On 200 the request goes on,
//! with `x-auth-user` as the reply's `x-user` has it; where the service cannot be asked or answers
//! with a 5xx the client gets 503, and 401 otherwise. A host may report a call that failed either
//! without a reply or as a 5xx of its own.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

proxy_wasm::main! {{
    // It is this that has a panic's text logged, too.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { upstream: Rc::from("auth") }));
}}

struct Root {
    upstream: Rc<str>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let Some(name) = self.get_plugin_configuration() else { return true };
        let Ok(name) = String::from_utf8(name) else { return false };
        if !name.is_empty() {
            self.upstream = name.into();
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Auth { upstream: self.upstream.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Auth {
    upstream: Rc<str>,
}

impl Auth {
    fn ask(&self, authorization: Option<&str>) {
        let mut headers =
            vec![(":method", "GET"), (":path", "/check"), (":authority", &*self.upstream)];
        headers.extend(authorization.map(|value| ("authorization", value)));
        if self.dispatch_http_call(&self.upstream, headers, None, Vec::new(), TIMEOUT).is_err() {
            self.fail();
        }
    }

    fn pass(&self) {
        let user = self.get_http_call_response_header_bytes("x-user");
        self.set_http_request_header_bytes("x-auth-user", user.as_deref());
        self.resume_http_request();
    }

    fn deny(&self) {
        self.send_http_response(401, Vec::new(), Some(b"denied\n"));
    }

    fn fail(&self) {
        self.send_http_response(503, Vec::new(), Some(b"cannot ask\n"));
    }
}

impl Context for Auth {
    fn on_http_call_response(&mut self, _: u32, headers: usize, _body: usize, _trailers: usize) {
        if headers == 0 {
            return self.fail();
        }
        match self.get_http_call_response_header_bytes(":status").as_deref() {
            Some(b"200") => self.pass(),
            Some([b'5', ..]) => self.fail(),
            _ => self.deny(),
        }
    }
}

impl HttpContext for Auth {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let authorization = self.get_http_request_header_bytes("authorization");
        match authorization.map(String::from_utf8).transpose() {
            Ok(authorization) => self.ask(authorization.as_deref()),
            Err(_) => self.deny(),
        }
        Action::Pause
    }
}
