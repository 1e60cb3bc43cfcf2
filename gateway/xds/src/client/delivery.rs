//! Resources as a delivery to the gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sallyport_config::delivery::{DeliveredFile, Delivery, Part, Rejection, Unit};
use sallyport_config::spec::{Endpoint, Fragment};
use sallyport_config::{Mapping, Value};
use serde::Deserialize as _;
use sha2::{Digest as _, Sha256};

use super::state::State;
use crate::findings::{Finding, Findings, Outcome};
use crate::resources::{ResourceKind, Resources};
use crate::translate::{Inline, Inlined, Setting, endpoints_of, translate};

/// The largest text of an answer that is read from a file.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Findings that a NACK tells: a control plane logs it as one line.
const PROBLEMS_TOLD: usize = 20;

/// Keeps what stands in resources as files of the delivery.
struct Files<'f> {
    folder: &'f Path,
    kept: RefCell<HashMap<String, Vec<u8>>>,
}

impl Inline for Files<'_> {
    fn keep(&self, what: &str, data: &[u8]) -> Inlined {
        let digest = Sha256::digest(data);
        let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{what}-{hash}");
        let path: PathBuf = self.folder.join(&name);
        self.kept.borrow_mut().insert(name, data.to_vec());
        Ok(path.to_string_lossy().into_owned())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let read = sallyport_config::regular::read(Path::new(path), BODY_BYTES_MAX);
        read.map(|(bytes, _)| bytes).map_err(|error| format!("{path}: {}", error.reason()))
    }
}

/// Translates resources into a delivery called `version`.
pub(super) fn of(resources: &Resources, folder: &Path, version: String) -> Delivery {
    let files = Files { folder, kept: RefCell::default() };
    let translation = translate(resources, &files, Setting::Live, Findings::default());
    let mut problems: Vec<_> = translation
        .report
        .with(Outcome::Ignored)
        .chain(translation.report.with(Outcome::Refused))
        .map(rejection)
        .collect();
    let mut out = Mapping::default();
    let origins =
        origins(&translation.listeners, &translation.upstreams, &translation.virtual_hosts);
    for (key, list) in [
        ("listeners", translation.listeners),
        ("upstreams", translation.upstreams),
        ("virtual_hosts", translation.virtual_hosts),
    ] {
        out.insert(key, Value::Sequence(list));
    }
    let fragment = Fragment::deserialize(&Value::Mapping(out)).unwrap_or_else(|error| {
        problems.push(Rejection {
            origin: "xds".into(),
            what: error.to_string(),
            fix: "see docs/xds.md for what is taken".to_owned(),
        });
        Fragment::default()
    });
    let files = files.kept.into_inner().into_iter();
    let files = files.map(|(name, bytes)| DeliveredFile { name: name.into(), bytes: bytes.into() });
    Delivery {
        version: version.into(),
        fragment,
        origins,
        problems,
        files: files.collect(),
        unit: Unit::Delivery,
    }
}

fn rejection(finding: &Finding) -> Rejection {
    let (what, fix) = finding.what.split_once(", write ").map_or_else(
        || (finding.what.clone(), "see docs/xds.md".to_owned()),
        |(what, fix)| (what.to_owned(), format!("write {fix}")),
    );
    Rejection {
        origin: finding.place.clone().into(),
        what: format!("{}: {what}", finding.outcome.label()),
        fix,
    }
}

/// What of the control plane each part comes from.
fn origins(listeners: &[Value], upstreams: &[Value], hosts: &[Value]) -> HashMap<Part, Box<str>> {
    let mut origins = HashMap::new();
    for listener in listeners {
        let name = key(listener, "name");
        origins.insert(Part::Listener(name.into()), format!("Listener[{name}]").into());
    }
    for upstream in upstreams {
        let name = key(upstream, "name");
        origins.insert(Part::Upstream(name.into()), format!("Cluster[{name}]").into());
    }
    for host in hosts {
        let name = key(host, "name");
        let origin: Box<str> = format!("RouteConfiguration virtual host {name}").into();
        origins.insert(Part::VirtualHost(name.into()), origin);
        let Value::Mapping(map) = host else { continue };
        for route in map.get("routes").and_then(Value::as_sequence).into_iter().flatten() {
            let route = key(route, "name");
            let origin = format!("RouteConfiguration route {name}/{route}");
            origins.insert(Part::Route(name.into(), route.into()), origin.into());
        }
    }
    origins
}

fn key<'v>(value: &'v Value, key: &str) -> &'v str {
    let Value::Mapping(map) = value else { return "" };
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What is refused of these resources of one kind, as one text; `None` if nothing is.
pub(super) fn refused(
    state: &State,
    kind: ResourceKind,
    names: &[String],
) -> HashMap<String, String> {
    let files = Files { folder: Path::new("/"), kept: RefCell::default() };
    let findings = match kind {
        ResourceKind::ClusterLoadAssignment => {
            let findings = Findings::default();
            for name in names {
                if let Some(known) = state.find(kind, name) {
                    endpoints_of(&known.resource, &findings);
                }
            }
            findings.into_report()
        }
        _ => {
            let resources = state.resources();
            translate(&resources, &files, Setting::Live, Findings::default()).report
        }
    };
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for finding in findings.with(Outcome::Refused).filter(|finding| finding.waits_for.is_none()) {
        let owner = names.iter().find(|name| {
            let place = super::state::place(kind, name);
            let rest = finding.place.strip_prefix(&place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if let Some(owner) = owner {
            let line = format!("{}: {}", finding.place, finding.what);
            told.entry(owner.clone()).or_default().push(line);
        }
    }
    let text = |lines: Vec<String>| {
        let more = lines.len().saturating_sub(PROBLEMS_TOLD);
        let mut text = lines.into_iter().take(PROBLEMS_TOLD).collect::<Vec<_>>().join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        text
    };
    told.into_iter().map(|(name, lines)| (name, text(lines))).collect()
}

/// The endpoints of a group.
pub(super) fn endpoints(state: &State, name: &str) -> Option<Vec<Endpoint>> {
    let known = state.find(ResourceKind::ClusterLoadAssignment, name)?;
    let findings = Findings::default();
    let value = endpoints_of(&known.resource, &findings)?;
    Vec::<Endpoint>::deserialize(&value).ok()
}
