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
use crate::findings::{Finding, Findings, Outcome, Report};
use crate::resources::{ResourceKind, Resources};
use crate::translate::{
    Inline, Inlined, Memo, Setting, Translation, endpoints_of, translate_again,
};

/// The largest text of an answer that is read from a file.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Findings that a NACK tells: a control plane logs it as one line.
const PROBLEMS_TOLD: usize = 20;

/// Translates what a control plane says, update after update.
#[derive(Debug, Default)]
pub(super) struct Translator {
    memo: Memo,
    last: Option<Last>,
}

/// What was translated last.
#[derive(Debug)]
struct Last {
    resources: Resources,
    translation: Translation,
    files: HashMap<String, Vec<u8>>,
}

/// Keeps what stands in resources as files of the delivery.
struct Files<'f> {
    folder: &'f Path,
    kept: RefCell<HashMap<String, Vec<u8>>>,
}

impl Inline for Files<'_> {
    fn keep(&self, what: &str, data: &[u8]) -> Inlined {
        let digest = Sha256::digest(data);
        let name = format!("{what}-{}", sallyport_config::hexadecimal(&digest[..16]));
        let path: PathBuf = self.folder.join(&name);
        self.kept.borrow_mut().insert(name, data.to_vec());
        Ok(path.to_string_lossy().into_owned())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let read = sallyport_config::regular::read(Path::new(path), BODY_BYTES_MAX);
        read.map(|(bytes, _)| bytes).map_err(|error| format!("{path}: {}", error.reason()))
    }
}

impl Translator {
    /// Translates resources, whose files are kept in `folder`, into a delivery called `version`.
    pub(super) fn of(&mut self, resources: &Resources, folder: &Path, version: String) -> Delivery {
        let last = self.last.take().filter(|last| last.resources.translate_as(resources));
        let last = last.unwrap_or_else(|| self.translate(resources.clone(), folder));
        delivery(last, version)
    }

    /// What is refused of these resources of one kind, each as one text.
    pub(super) fn refused(
        &mut self,
        state: &State,
        (kind, names): (ResourceKind, &[String]),
        folder: &Path,
    ) -> HashMap<String, String> {
        if kind == ResourceKind::ClusterLoadAssignment {
            let findings = Findings::default();
            for name in names {
                if let Some(known) = state.find(kind, name) {
                    endpoints_of(&known.resource, &findings);
                }
            }
            return told(&findings.into_report(), kind, names);
        }
        let last = self.translate(state.resources(), folder);
        let told = told(&last.translation.report, kind, names);
        self.last = Some(last);
        told
    }

    fn translate(&mut self, resources: Resources, folder: &Path) -> Last {
        let files = Files { folder, kept: RefCell::default() };
        let (setting, findings) = (Setting::Live, Findings::default());
        let translation = translate_again(&resources, &files, setting, findings, &mut self.memo);
        tracing::trace!(translated = self.translated(), "clusters and routes so far");
        Last { resources, translation, files: files.kept.into_inner() }
    }

    /// How many clusters and routes were translated so far, each time that they were.
    pub(super) fn translated(&self) -> usize {
        self.memo.translated()
    }
}

/// A delivery of what was translated.
fn delivery(Last { translation, files, .. }: Last, version: String) -> Delivery {
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
    let files = files
        .into_iter()
        .map(|(name, bytes)| DeliveredFile { name: name.into(), bytes: bytes.into() });
    Delivery {
        version: version.into(),
        fragment: fragment.into(),
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

/// What is refused in a report of these resources of one kind, each as one text.
fn told(report: &Report, kind: ResourceKind, names: &[String]) -> HashMap<String, String> {
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    for finding in report.with(Outcome::Refused).filter(|finding| finding.waits_for.is_none()) {
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

#[cfg(test)]
mod tests;
