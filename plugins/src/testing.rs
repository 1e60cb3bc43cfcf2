//! What the tests of a filter need: one filter, made from its configuration as the gateway would make
//! it, and the phases of a request called by hand.
//!
//! ```
//! use sallyport_plugin::{Step, builtin::headers, testing::Tried};
//!
//! let mut tried = Tried::new(&headers::KIND, "{ response: { set: { x-a: b } } }");
//! let mut response = http::Response::new(()).into_parts().0;
//! assert!(matches!(tried.response(&mut response), Step::Continue));
//! assert_eq!(response.headers["x-a"], "b");
//! ```

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, request, response};
use sallyport_config::spec::FilterEntry;
use sallyport_config::{File, Place, Problems, decode};

use crate::chain::{Chain, Run, Step};
use crate::exchange::{About, Outcome};
use crate::host::Host;
use crate::kind::{Kind, Kinds};
use crate::list::{Entry, Instances, Reader, merge};

/// One filter and one request.
#[derive(Debug)]
pub struct Tried {
    /// Where the request comes from.
    pub about: About<'static>,
    /// Its head.
    pub request: request::Parts,
    /// What the filter keeps of it.
    pub run: Run,
    /// The filter.
    pub chain: Chain,
    runtime: tokio::runtime::Runtime,
}

impl Tried {
    /// A filter of this kind with this configuration, and a `GET /` without fields.
    ///
    /// # Panics
    /// If the configuration has problems; the message holds them.
    #[must_use]
    pub fn new(kind: &Kind, yaml: &str) -> Self {
        Self::with_host(kind, yaml, Host::idle())
    }

    /// As [`Tried::new`], with what `host` provides; its background is this test's runtime.
    ///
    /// # Panics
    /// As [`Tried::new`].
    #[must_use]
    pub fn with_host(kind: &Kind, yaml: &str, host: Host) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let host = Arc::new(Host { background: Some(runtime.handle().clone()), ..host });
        let read = read(kind, yaml, Path::new(""), &host);
        let entries = read.unwrap_or_else(|problems| panic_with(&problems));
        let instances = merge(&[&entries]);
        for instance in &instances {
            instance.prepare(&host);
            instance.start(&host);
        }
        let chain = Chain::new(instances, &host.metrics).expect("there is one filter");
        let request = Request::new(()).into_parts().0;
        Self { about: About::nothing(), request, run: Run::default(), chain, runtime }
    }

    /// Begins another request with the same filter.
    pub fn again(&mut self) {
        self.request = Request::new(()).into_parts().0;
        self.run = Run::default();
    }

    /// Tasks in the background of the filter.
    #[cfg(test)]
    pub(crate) fn background_tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Writes a field of the request.
    ///
    /// # Panics
    /// If it is no field.
    pub fn header(&mut self, name: &'static str, value: &str) {
        self.request.headers.insert(name, value.parse().expect("it is a field value"));
    }

    /// Calls the hook of the request's head.
    pub fn request(&mut self) -> Step {
        let head = self.chain.request_headers(&mut self.run, &mut self.request, &self.about);
        self.runtime.block_on(head)
    }

    /// Calls the hook of a piece of the request's body; returns what passed.
    pub fn request_body(&mut self, data: Option<&'static str>, end: bool) -> (Option<Bytes>, Step) {
        let mut data = data.map(Bytes::from);
        let Self { chain, run, request, about, .. } = self;
        let step = self.runtime.block_on(chain.request_body(run, request, about, &mut data, end));
        (data, step)
    }

    /// Calls the hook of the response's head.
    pub fn response(&mut self, response: &mut response::Parts) -> Step {
        let Self { chain, run, request, about, .. } = self;
        self.runtime.block_on(chain.response_headers(run, request, about, response))
    }

    /// Calls the hook of a piece of the response's body; returns what passed.
    ///
    /// # Panics
    /// If the filter stops the response.
    pub fn response_body(&mut self, data: Option<Bytes>, end: bool) -> Option<Bytes> {
        let mut data = data;
        let Self { chain, run, request, about, .. } = self;
        let done = chain.response_body(run, request, about, &mut data, end);
        done.expect("the response can be completed");
        data
    }

    /// Calls the hook of the request's end.
    pub fn log(&mut self, outcome: &Outcome<'_>) {
        self.chain.log(&mut self.run, &mut self.request, &self.about, outcome);
    }
}

/// What `sallyport check` would say of this configuration of a filter; empty where it is good. Relative
/// paths begin at `folder`.
#[must_use]
pub fn problems(kind: &Kind, yaml: &str, folder: &Path) -> String {
    let host = Arc::new(Host::idle());
    read(kind, yaml, folder, &host).map_or_else(|problems| problems, |_| String::new())
}

fn read(kind: &Kind, yaml: &str, folder: &Path, host: &Arc<Host>) -> Result<Vec<Entry>, String> {
    let text = format!("- {{ {}: {yaml} }}", kind.name);
    let file = File { path: "filters.yaml".into(), text };
    let (kinds, previous) = (Kinds::builtin().with(*kind), Instances::default());
    let mut reader = Reader::new(&kinds, host, folder, &previous);
    let mut found = Vec::new();
    let entries = decode::text::<Vec<FilterEntry>>(0, &file.text, &mut found)
        .and_then(|read| reader.list("test", &read.value, &Place::File(0), &mut found));
    match entries {
        Some(entries) if found.is_empty() => Ok(entries),
        _ => Err(Problems::locate(found, &[file]).to_string()),
    }
}

#[allow(clippy::panic, reason = "a test's mistake ends the test")]
fn panic_with(problems: &str) -> Vec<Entry> {
    panic!("{problems}")
}
