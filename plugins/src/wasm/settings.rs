//! `wasm:` in `filters:`, read and tried.

use std::sync::Arc;
use std::time::Duration;

use sallyport_config::{Fields, Node, Sink, Value, scalar};

use super::engine::{MEMORY_BYTES_MAX, engine};
use super::filter::WasmFilter;
use super::gauges::Gauges;
use super::lines::Lines;
use super::module::Compiled;
use super::plugin::{Counters, Plugin, Settings};
use super::vm::Vm;
use crate::filter::{Filter, Phases};
use crate::kind::Setting;

/// A call into a guest that takes longer than this holds up every request of its thread.
const DEADLINE: Duration = Duration::from_millis(10);

/// A start runs beside the requests, and a firewall's rules take seconds of it.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// A reload waits for it, once for each thread in the worst case.
const START_DEADLINE_MAX: Duration = Duration::from_secs(300);

/// Longer than any service that a guest asks should take, and as long as clients commonly wait.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(60);

/// What is held takes memory and a connection of a client's; nobody waits longer than this.
const PAUSE_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A thousand times the usual is as good as none.
const DEADLINE_MAX: Duration = Duration::from_secs(10);

/// What programs with a language runtime of their own get by with.
const MEMORY_BYTES: u64 = 64 << 20;

/// One page of WebAssembly.
const MEMORY_BYTES_MIN: u64 = 64 << 10;

/// Configuration that a guest is given: each VM has a copy in its own memory.
const CONFIGURATION_BYTES_MAX: usize = 1 << 20;

/// Reads a filter, compiles its module and starts one VM to see whether it takes its configuration.
pub(super) fn read(
    node: Node<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let file = fields.required(sink, "module", |node, sink| setting.file(node, sink));
        let settings = settings(fields, sink, setting);
        let phases = fields.optional(sink, "phases", |node, sink| node.list(sink, phase));
        let (_, bytes) = file?;
        let engine = match engine(setting.host.cache.as_deref()) {
            Ok(engine) => engine,
            Err(error) => {
                let what = format!("WebAssembly cannot be run on this machine: {error}");
                return fields.node().refuse(sink, what, "remove the filter");
            }
        };
        let compiled = match Compiled::new(engine, &bytes) {
            Ok(compiled) => compiled,
            Err(error) => {
                let fix = "build it for proxy-wasm ABI 0.2.1, 0.2.0 or 0.1.0";
                return refuse(fields, sink, "module", error.to_string(), fix);
            }
        };
        let mut settings = settings?;
        settings.phases = match &phases {
            None => compiled.phases,
            Some(phases) => selected(fields, sink, phases, compiled.phases)?,
        };
        let plugin = Arc::new(Plugin {
            name: setting.name.into(),
            settings,
            compiled,
            host: setting.host.clone(),
            gauges: Gauges::default(),
            lines: Lines::default(),
            counters: Counters::new(&setting.host.metrics, setting.name),
        });
        match Vm::start(&plugin, true) {
            Ok(mut tried) => {
                let wakes = tried.state().wakes;
                Some(Arc::new(WasmFilter::new(plugin, wakes)) as Arc<dyn Filter>)
            }
            Err(error) => {
                let fix = "mend the module or what is configured for it";
                refuse(fields, sink, "module", error.to_string(), fix)
            }
        }
    })
}

fn settings(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Settings> {
    let before = sink.len();
    let own = fields.optional(sink, "configuration", configuration);
    let vm = fields.optional(sink, "vm_configuration", configuration);
    let text = |node: Node<'_>, sink: &mut Sink| node.text(sink).map(Box::<str>::from);
    let root_id = fields.optional(sink, "root_id", text);
    let vm_id = fields.optional(sink, "vm_id", text);
    let open = fields.optional(sink, "on_failure", on_failure);
    let deadline = fields.optional(sink, "deadline", deadline);
    let start_deadline = fields.optional(sink, "start_deadline", start_deadline);
    let pause_timeout = fields.optional(sink, "pause_timeout", pause_timeout);
    let body_passes_held_head =
        fields.optional(sink, "allow_on_headers_stop_iteration", scalar::flag);
    let memory = fields.optional(sink, "memory", |node, sink| {
        scalar::bytes(node, sink, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)
    });
    let upstreams = fields.optional(sink, "upstreams", |node, sink| {
        node.list(sink, |node, sink| setting.upstream(node, sink))
    });
    let environment =
        fields.optional(sink, "environment", |node, sink| node.entries(sink, variable));
    (sink.len() == before).then(|| Settings {
        configuration: own.unwrap_or_default(),
        vm_configuration: vm.unwrap_or_default(),
        root_id: root_id.unwrap_or_default(),
        vm_id: vm_id.unwrap_or_default(),
        open: open.unwrap_or(false),
        deadline: deadline.unwrap_or(DEADLINE),
        start_deadline: start_deadline.unwrap_or(START_DEADLINE),
        pause_timeout: pause_timeout.unwrap_or(PAUSE_TIMEOUT),
        body_passes_held_head: body_passes_held_head.unwrap_or(false),
        memory_bytes: memory.unwrap_or(MEMORY_BYTES) as usize,
        phases: Phases::default(),
        upstreams: upstreams.unwrap_or_default(),
        environment: environment.unwrap_or_default(),
    })
}

/// A string as it is; a mapping or a list as JSON.
fn configuration(node: Node<'_>, sink: &mut Sink) -> Option<Vec<u8>> {
    let bytes = match node.value {
        Value::Mapping(_) | Value::Sequence(_) => match serde_json::to_vec(node.value) {
            Ok(bytes) => bytes,
            Err(error) => {
                let what = format!("cannot be written as JSON: {error}");
                return node.refuse(sink, what, "use strings for keys");
            }
        },
        _ => node.text(sink)?.as_bytes().to_vec(),
    };
    if bytes.len() > CONFIGURATION_BYTES_MAX {
        return node.refuse(sink, format!("has {} bytes", bytes.len()), "write at most 1 MiB");
    }
    Some(bytes)
}

fn on_failure(node: Node<'_>, sink: &mut Sink) -> Option<bool> {
    node.parsed(sink, "write `closed` or `open`", |text| match text {
        "closed" => Ok(false),
        "open" => Ok(true),
        _ => Err("is neither"),
    })
}

fn deadline(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let deadline = scalar::duration(node, sink)?;
    if deadline < Duration::from_millis(1) || deadline > DEADLINE_MAX {
        return node.refuse(sink, "is out of range", "write a time from 1ms to 10s");
    }
    Some(deadline)
}

fn start_deadline(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let deadline = scalar::duration(node, sink)?;
    if deadline < Duration::from_millis(1) || deadline > START_DEADLINE_MAX {
        return node.refuse(sink, "is out of range", "write a time from 1ms to 5m");
    }
    Some(deadline)
}

fn pause_timeout(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let timeout = scalar::duration(node, sink)?;
    if timeout < Duration::from_millis(10) || timeout > PAUSE_TIMEOUT_MAX {
        return node.refuse(sink, "is out of range", "write a time from 10ms to 1h");
    }
    Some(timeout)
}

fn variable(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let value = node.text(sink)?;
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return node.refuse(sink, "is no variable", "leave out = and zero bytes");
    }
    Some(format!("{name}={value}").into())
}

fn phase(node: Node<'_>, sink: &mut Sink) -> Option<Phases> {
    let fix = "write request_headers, request_body, response_headers, response_body, \
               response_trailers or log";
    node.parsed(sink, fix, |text| {
        Ok(match text {
            "request_headers" => Phases::REQUEST_HEADERS,
            "request_body" => Phases::REQUEST_BODY,
            "response_headers" => Phases::RESPONSE_HEADERS,
            "response_body" => Phases::RESPONSE_BODY,
            "response_trailers" => Phases::RESPONSE_TRAILERS,
            "log" => Phases::LOG,
            _ => return Err("is no phase"),
        })
    })
}

fn selected(
    fields: &Fields<'_>,
    sink: &mut Sink,
    phases: &[Phases],
    exported: Phases,
) -> Option<Phases> {
    let all = phases.iter().fold(Phases::default(), |all, phase| all | *phase);
    if !exported.has(all) {
        let what = "the module has no hook for one of them".to_owned();
        let fix = "name phases whose proxy_on_... it exports";
        return refuse(fields, sink, "phases", what, fix);
    }
    Some(all)
}

/// Refuses the value under a key that was read before.
fn refuse<T>(
    fields: &Fields<'_>,
    sink: &mut Sink,
    key: &'static str,
    what: String,
    fix: &str,
) -> Option<T> {
    let node = fields.node();
    let place = sallyport_config::Place::Key(&node.place, key);
    Node { value: node.value, place }.refuse(sink, what, fix)
}
