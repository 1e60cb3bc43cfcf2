//! The file and the fragments of all sources as one configuration.
//!
//! The whole is written as one text and resolved as a file is. What is wrong with a part of a
//! fragment is told at its place in the whole; the part is taken out, and the rest is tried again.
//! A route that cannot do what it says answers 500 in place of leaving its requests to another
//! route.

use std::path::PathBuf;
use std::sync::Arc;

use sallyport_config::delivery::{Delivery, Part, Rejection};
use sallyport_config::spec::scalar::Int;
use sallyport_config::spec::{Fragment, Included, Listener, Respond, Spec};
use sallyport_config::{Problem, Problems, Severity, Sources, to_yaml};
use serde_json::Value;

/// How often parts are taken out before the fragment as a whole is: each time is a whole
/// resolution.
const ROUNDS_MAX: usize = 8;

/// Files and fragments, as far as they can be used together.
#[derive(Debug)]
pub struct Merge {
    files: Sources,
    /// What the files say, where there is something to merge it with and they can be read.
    spec: Option<Spec>,
    taken: Vec<Taken>,
    merged: Option<(Sources, Layout)>,
    rounds: usize,
}

/// What is taken of one source.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) source: &'static str,
    /// What is left of the delivery.
    pub(super) fragment: Fragment,
    /// `None` for what an earlier process was told.
    pub(super) delivery: Option<Arc<Delivery>>,
    /// What is in force of the source.
    pub(super) before: Option<Arc<Fragment>>,
    /// Whether one bad part refuses it all.
    pub(super) is_whole: bool,
    /// Whether it was refused as a whole.
    pub(super) is_refused: bool,
    pub(super) rejections: Vec<Rejection>,
}

/// Where the parts of each fragment begin in the whole.
#[derive(Debug, Default)]
struct Layout {
    /// Certificates that the file has itself, by the index of its listener.
    certificates: Vec<usize>,
    /// Of each fragment.
    starts: Vec<Starts>,
}

#[derive(Clone, Copy, Debug)]
struct Starts {
    listeners: usize,
    /// Behind the file's own, in each listener.
    certificates: usize,
    upstreams: usize,
    virtual_hosts: usize,
}

/// A part of a fragment, by its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Listener(usize),
    /// Of a listener of the fragment.
    ListenerCertificate(usize, usize),
    Certificate(usize),
    Upstream(usize),
    VirtualHost(usize),
    /// And whether what the route does is wrong, not which requests it takes.
    Route(usize, usize, bool),
}

impl Merge {
    pub(super) fn new(files: Sources, taken: Vec<Taken>) -> Self {
        let spec = if taken.is_empty() { None } else { read(&files) };
        let mut merge = Self { files, spec, taken, merged: None, rounds: 0 };
        merge.render();
        merge
    }

    /// What is to be resolved.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        self.merged.as_ref().map_or(&self.files, |(merged, _)| merged)
    }

    /// The files alone.
    #[must_use]
    pub fn files(&self) -> &Sources {
        &self.files
    }

    /// The paths of the files.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.paths()
    }

    /// Whether there is more than the files.
    #[must_use]
    pub fn has_fragments(&self) -> bool {
        self.merged.is_some()
    }

    pub(super) fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// Says in the log what was left out.
    pub fn tell(&self) {
        for taken in &self.taken {
            for rejection in &taken.rejections {
                tracing::warn!(source = taken.source, "{rejection}");
            }
        }
    }

    /// Takes the parts of fragments out that `problems` are at. Returns whether there were any, so
    /// that it is worth trying again.
    pub fn prune(&mut self, problems: &Problems) -> bool {
        let Some((_, layout)) = &self.merged else { return false };
        if self.rounds == ROUNDS_MAX {
            return false;
        }
        self.rounds += 1;
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        let located = errors.filter_map(|problem| {
            let (fragment, at) = layout.find(&problem.path, &self.taken)?;
            Some((fragment, at, problem.clone()))
        });
        let located: Vec<_> = located.collect();
        for (index, taken) in self.taken.iter_mut().enumerate() {
            let of_fragment = located.iter().filter(|(fragment, ..)| *fragment == index);
            taken.prune(of_fragment.map(|(_, at, problem)| (*at, problem)).collect());
        }
        self.render();
        !located.is_empty()
    }

    /// Puts what is in force of each source in the place of what it says now, or where that is no
    /// better, nothing. Returns whether it is worth trying again.
    pub fn fall_back(&mut self, problems: &Problems) -> bool {
        if self.merged.is_none() {
            return false;
        }
        for taken in &mut self.taken {
            let first = problems.iter().find(|problem| problem.severity == Severity::Error);
            taken.refuse(first);
        }
        self.rounds = 0;
        self.render();
        true
    }

    fn render(&mut self) {
        self.merged = None;
        let Some(file) = self
            .spec
            .as_ref()
            .filter(|_| self.taken.iter().any(|taken| !taken.fragment.is_empty()))
        else {
            return;
        };
        let (whole, layout) = together(file, &self.taken);
        let mut value = match serde_json::to_value(&whole) {
            Ok(value) => value,
            Err(error) => return tracing::error!(%error, "fragments cannot be written"),
        };
        drop_null(&mut value);
        let path = self.files.files().first().map(|file| file.path.clone()).unwrap_or_default();
        let text = to_yaml(&value).map(String::into_bytes);
        let read = text.and_then(|text| {
            Sources::of_bytes(&path, text).map_err(|problems| problems.to_string())
        });
        match read {
            Ok(read) => self.merged = Some((read, layout)),
            Err(error) => tracing::error!(%error, "fragments cannot be written"),
        }
    }
}

impl Taken {
    fn prune(&mut self, mut found: Vec<(At, &Problem)>) {
        if found.is_empty() {
            return;
        }
        for (at, problem) in &found {
            let part = at.part(&self.fragment);
            let origin = part.map_or_else(|| self.source.into(), |part| self.origin(&part));
            self.reject(origin, &problem.what, &problem.fix);
        }
        if self.is_whole {
            return self.refuse(None);
        }
        // The last first, so that indices stay what they are.
        found.sort_by_key(|(at, _)| std::cmp::Reverse(at.order()));
        found.dedup_by_key(|(at, _)| at.order());
        for (at, _) in found {
            at.take_out(&mut self.fragment);
        }
    }

    fn reject(&mut self, origin: Box<str>, what: &str, fix: &str) {
        let rejection = Rejection { origin, what: what.to_owned(), fix: fix.to_owned() };
        if !self.rejections.contains(&rejection) {
            self.rejections.push(rejection);
        }
    }

    /// What of the source a part comes from.
    fn origin(&self, part: &Part) -> Box<str> {
        let known = self.delivery.as_ref().and_then(|delivery| {
            delivery.origins.get(part).or_else(|| match part {
                Part::Route(host, _) => delivery.origins.get(&Part::VirtualHost(host.clone())),
                _ => None,
            })
        });
        known.cloned().unwrap_or_else(|| part.to_string().into())
    }

    /// What was in force takes the place of what the source says now; if it does already, nothing
    /// does.
    fn refuse(&mut self, problem: Option<&Problem>) {
        if let Some(problem) = problem {
            let what = format!("cannot be used with the rest: {}: {}", problem.path, problem.what);
            self.reject(self.source.into(), &what, &problem.fix);
        }
        self.is_refused = true;
        self.fragment = self.before.take().map(|before| (*before).clone()).unwrap_or_default();
    }
}

/// What the files say, if they can be read as a whole.
fn read(files: &Sources) -> Option<Spec> {
    let (main, others) = files.files().split_first()?;
    let mut sink = Vec::new();
    let mut spec = sallyport_config::decode::text::<Spec>(0, &main.text, &mut sink)?.value;
    for (index, file) in others.iter().enumerate() {
        // One that is empty has nothing to add.
        if file.text.trim().is_empty() {
            continue;
        }
        let read = sallyport_config::decode::text::<Included>(index + 1, &file.text, &mut sink)?;
        spec.upstreams.extend(read.value.upstreams);
        spec.virtual_hosts.extend(read.value.virtual_hosts);
    }
    spec.include.clear();
    (sink.is_empty() && files.problems().is_empty()).then_some(spec)
}

fn together(file: &Spec, taken: &[Taken]) -> (Spec, Layout) {
    let mut whole = file.clone();
    let claimed = |fragment: &Fragment, name: &str| {
        let named =
            fragment.listeners.iter().filter_map(|listener| listener.virtual_hosts.as_ref());
        named.flatten().any(|host| **host == *name)
    };
    let shared = taken.iter().flat_map(|taken| {
        let hosts = taken.fragment.virtual_hosts.iter();
        hosts.filter(|host| !claimed(&taken.fragment, &host.name)).map(|host| host.name.clone())
    });
    let served: Vec<_> =
        file.virtual_hosts.iter().map(|host| host.name.clone()).chain(shared).collect();
    let certificates: Vec<_> =
        taken.iter().flat_map(|taken| taken.fragment.certificates.iter().cloned()).collect();
    let own = |listener: &Listener| listener.tls.as_ref().map_or(0, |tls| tls.certificates.len());
    let layout_certificates = file.listeners.iter().map(own).collect();
    for listener in whole.listeners.iter_mut().filter(|listener| listener.virtual_hosts.is_none()) {
        listener.virtual_hosts = Some(served.clone());
        if let Some(tls) = &mut listener.tls {
            tls.certificates.extend(certificates.iter().cloned());
        }
    }
    let mut starts = Vec::with_capacity(taken.len());
    let mut before = 0;
    for Taken { fragment, .. } in taken {
        starts.push(Starts {
            listeners: whole.listeners.len(),
            certificates: before,
            upstreams: whole.upstreams.len(),
            virtual_hosts: whole.virtual_hosts.len(),
        });
        before += fragment.certificates.len();
        whole.listeners.extend(fragment.listeners.iter().cloned());
        whole.upstreams.extend(fragment.upstreams.iter().cloned());
        whole.virtual_hosts.extend(fragment.virtual_hosts.iter().cloned());
    }
    (whole, Layout { certificates: layout_certificates, starts })
}

impl Layout {
    /// The part of a fragment that `place` is in, and the index of the fragment.
    fn find(&self, place: &str, taken: &[Taken]) -> Option<(usize, At)> {
        let (section, index, rest) = item(place)?;
        let within = |start: fn(&Starts) -> usize, count: fn(&Fragment) -> usize, index: usize| {
            let mut fragments = self.starts.iter().zip(taken).enumerate();
            fragments.find_map(|(fragment, (starts, taken))| {
                let index = index.checked_sub(start(starts))?;
                (index < count(&taken.fragment)).then_some((fragment, index))
            })
        };
        let certificate = || {
            let (key, at, _) = item(rest.strip_prefix("tls.")?)?;
            (key == "certificates").then_some(at)
        };
        match section {
            "listeners" if index < self.certificates.len() => {
                let at = certificate()?.checked_sub(self.certificates[index])?;
                let (fragment, at) = within(|it| it.certificates, |it| it.certificates.len(), at)?;
                Some((fragment, At::Certificate(at)))
            }
            "listeners" => {
                let (fragment, index) = within(|it| it.listeners, |it| it.listeners.len(), index)?;
                let at = certificate().map(|at| At::ListenerCertificate(index, at));
                Some((fragment, at.unwrap_or(At::Listener(index))))
            }
            "upstreams" => {
                let (fragment, index) = within(|it| it.upstreams, |it| it.upstreams.len(), index)?;
                Some((fragment, At::Upstream(index)))
            }
            "virtual_hosts" => {
                let (fragment, index) =
                    within(|it| it.virtual_hosts, |it| it.virtual_hosts.len(), index)?;
                let at = match item(rest) {
                    Some(("routes", route, rest)) => {
                        let is_action = ["forward", "redirect", "respond", "filters"]
                            .iter()
                            .any(|key| rest.starts_with(key));
                        At::Route(index, route, is_action)
                    }
                    _ => At::VirtualHost(index),
                };
                Some((fragment, at))
            }
            _ => None,
        }
    }
}

/// `section[index].rest` in its parts.
fn item(place: &str) -> Option<(&str, usize, &str)> {
    let (section, rest) = place.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    let is_key = section.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let index = index.parse().ok().filter(|_| is_key)?;
    Some((section, index, rest.strip_prefix('.').unwrap_or(rest)))
}

impl At {
    /// Larger for what has to be taken out earlier.
    fn order(self) -> (usize, usize, usize) {
        match self {
            Self::Listener(index) => (4, index, 0),
            Self::ListenerCertificate(listener, index) => (5, listener, index),
            Self::Certificate(index) => (2, index, 0),
            Self::Upstream(index) => (3, index, 0),
            Self::VirtualHost(index) => (0, index, 0),
            Self::Route(host, route, _) => (1, host, route),
        }
    }

    fn part(self, fragment: &Fragment) -> Option<Part> {
        let name = |cert: &sallyport_config::spec::Certificate| {
            Some(Part::Certificate(cert.cert.as_ref()?.0.clone()))
        };
        Some(match self {
            Self::Listener(index) => Part::Listener(fragment.listeners.get(index)?.name.0.clone()),
            Self::ListenerCertificate(listener, index) => {
                let tls = fragment.listeners.get(listener)?.tls.as_ref()?;
                return name(tls.certificates.get(index)?);
            }
            Self::Certificate(index) => return name(fragment.certificates.get(index)?),
            Self::Upstream(index) => Part::Upstream(fragment.upstreams.get(index)?.name.0.clone()),
            Self::VirtualHost(index) => {
                Part::VirtualHost(fragment.virtual_hosts.get(index)?.name.0.clone())
            }
            Self::Route(host, route, _) => {
                let host = fragment.virtual_hosts.get(host)?;
                Part::Route(host.name.0.clone(), host.routes.get(route)?.name.0.clone())
            }
        })
    }

    fn take_out(self, fragment: &mut Fragment) {
        match self {
            Self::Listener(index) => take(&mut fragment.listeners, index),
            Self::ListenerCertificate(listener, index) => {
                let Some(tls) = fragment.listeners.get_mut(listener).and_then(|it| it.tls.as_mut())
                else {
                    return;
                };
                take(&mut tls.certificates, index);
                if tls.certificates.is_empty() {
                    take(&mut fragment.listeners, listener);
                }
            }
            Self::Certificate(index) => take(&mut fragment.certificates, index),
            Self::Upstream(index) => take(&mut fragment.upstreams, index),
            Self::VirtualHost(index) => {
                let Some(host) = fragment.virtual_hosts.get(index) else { return };
                let name = host.name.clone();
                take(&mut fragment.virtual_hosts, index);
                for listener in &mut fragment.listeners {
                    if let Some(hosts) = &mut listener.virtual_hosts {
                        hosts.retain(|host| *host != name);
                    }
                }
            }
            Self::Route(host, index, is_action) => {
                let Some(host) = fragment.virtual_hosts.get_mut(host) else { return };
                match host.routes.get_mut(index) {
                    Some(route) if is_action => {
                        (route.forward, route.redirect) = (None, None);
                        route.filters.clear();
                        route.respond = Some(Respond {
                            status: Int(500),
                            body: "".into(),
                            headers: Default::default(),
                        });
                    }
                    _ => take(&mut host.routes, index),
                }
            }
        }
    }
}

fn take<T>(items: &mut Vec<T>, index: usize) {
    if index < items.len() {
        items.remove(index);
    }
}

/// Leaves out what is not there: a key that is written has a value.
fn drop_null(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}
