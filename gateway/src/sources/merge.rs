//! The file and the fragments of all sources as one configuration.
//!
//! Each fragment is a part of the whole beside the files, as an included file is, and keeps its own
//! places; all that is put together is what the file's listeners serve. What is wrong with a part of a
//! fragment is told there; the part is taken out, and the rest is tried again. A route that cannot do
//! what it says answers 500 in place of leaving its requests to another route.

use std::collections::HashSet;
use std::sync::Arc;

use sallyport_config::delivery::{Delivery, Part, Rejection};
use sallyport_config::spec::scalar::{Int, Name};
use sallyport_config::spec::{Certificate, Fragment, Listener, ListenerTls, Respond};
use sallyport_config::{Problem, Problems, Severity, Sources, hexadecimal};
use sha2::{Digest as _, Sha256};

use super::Written;
use crate::config::{Declaration, Joined, Texts, Whole};

/// How often parts are taken out before the fragment as a whole is: each time is a whole
/// resolution.
const ROUNDS_MAX: usize = 8;

/// Files and fragments, as far as they can be used together.
#[derive(Debug)]
pub struct Merge {
    files: Sources,
    taken: Vec<Taken>,
    /// `None` where there is nothing to join the files with, or the files cannot be read.
    together: Option<Together>,
    rounds: usize,
}

/// What is taken of one source.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) source: &'static str,
    /// What is left of the delivery.
    pub(super) fragment: Arc<Fragment>,
    /// The same as text; `None` where parts were taken out since it was written.
    pub(super) written: Option<Arc<Written>>,
    /// `None` for what an earlier process was told.
    pub(super) delivery: Option<Arc<Delivery>>,
    /// What is in force of the source.
    pub(super) before: Option<(Arc<Fragment>, Arc<Written>)>,
    /// Whether one bad part refuses it all.
    pub(super) is_whole: bool,
    /// Whether it was refused as a whole.
    pub(super) is_refused: bool,
    pub(super) rejections: Vec<Rejection>,
}

/// Files and fragments joined.
#[derive(Debug)]
struct Together {
    /// The main file's listeners, with what fragments add to them.
    listeners: Vec<Listener>,
    /// A fragment for each source.
    fragments: Vec<Joined>,
    certificates: Certificates,
}

/// Where the certificates of fragments stand in the main file's listeners.
#[derive(Debug)]
struct Certificates {
    /// How many the file has itself, by the index of its listener.
    own: Vec<usize>,
    /// How many each fragment adds.
    added: Vec<usize>,
}

/// What fragments add to the file's listeners that name no virtual hosts.
#[derive(Debug)]
pub(super) struct Additions {
    /// All virtual hosts that these listeners serve.
    pub(super) served: Vec<Name>,
    /// Further certificates.
    pub(super) certificates: Vec<Certificate>,
}

/// A part of a fragment, by its indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Listener(usize),
    /// Of a listener of the fragment.
    ListenerCertificate(usize, usize),
    /// Names of a listener of the fragment that are passed on.
    Passthrough(usize, usize),
    Certificate(usize),
    Upstream(usize),
    VirtualHost(usize),
    /// And whether what the route does is wrong, not which requests it takes.
    Route(usize, usize, bool),
    /// A filter of a route, which does nothing without it.
    Filter(usize, usize, usize),
}

impl Merge {
    pub(super) fn new(files: Sources, taken: Vec<Taken>) -> Self {
        Self { files, taken, together: None, rounds: 0 }
    }

    /// The files alone.
    #[must_use]
    pub fn files(&self) -> &Sources {
        &self.files
    }

    /// Whether any source has said something.
    #[must_use]
    pub fn has_deliveries(&self) -> bool {
        self.taken.iter().any(|taken| !taken.fragment.is_empty())
    }

    /// Whether there is more than the files, as they were joined last.
    #[must_use]
    pub fn has_fragments(&self) -> bool {
        self.together.is_some()
    }

    /// Joins what is left of the fragments with the files, which declare this. Files that cannot be read
    /// stay alone, and so are told as they are.
    pub fn join(&mut self, declaration: &Declaration) {
        let can_be_joined =
            self.has_deliveries() && declaration.is_whole() && self.files.problems().is_empty();
        self.together = can_be_joined.then(|| Together::of(declaration, &mut self.taken));
    }

    /// What is to be resolved.
    #[must_use]
    pub fn whole<'w>(&'w self, declaration: &'w Declaration) -> Whole<'w> {
        let files = Whole::of_files(&self.files, declaration);
        let Some(Together { listeners, fragments, .. }) = &self.together else { return files };
        Whole { listeners, fragments, sha256: self.sha256(), ..files }
    }

    /// The fingerprint of the whole: of the files alone where nothing is joined with them.
    #[must_use]
    pub fn sha256(&self) -> String {
        if self.together.is_none() {
            return self.files.sha256().to_owned();
        }
        let mut digest = Sha256::new_with_prefix(self.files.sha256());
        for taken in self.taken.iter().filter(|taken| !taken.fragment.is_empty()) {
            digest.update(taken.source);
            digest.update([0]);
            digest.update(taken.written.as_ref().map_or([0; 32], |written| written.sha256));
        }
        hexadecimal(&digest.finalize())
    }

    /// The texts of the whole.
    #[must_use]
    pub fn texts(&self) -> Texts {
        let joined = self.taken.iter().filter(|_| self.together.is_some());
        let fragments = joined.filter(|taken| !taken.fragment.is_empty());
        let fragments = fragments.filter_map(|taken| taken.written.clone());
        Texts::of(&self.files).with(fragments.collect())
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
    /// that it is worth trying again with what is left.
    pub fn prune(&mut self, problems: &Problems) -> bool {
        let Some(together) = &self.together else { return false };
        if self.rounds == ROUNDS_MAX {
            return false;
        }
        self.rounds += 1;
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        let located = errors.filter_map(|problem| {
            let (fragment, at) = together.find(problem)?;
            Some((fragment, at, problem.clone()))
        });
        let located: Vec<_> = located.collect();
        for (index, taken) in self.taken.iter_mut().enumerate() {
            let of_fragment = located.iter().filter(|(fragment, ..)| *fragment == index);
            taken.prune(of_fragment.map(|(_, at, problem)| (*at, problem)).collect());
        }
        !located.is_empty()
    }

    /// Puts what is in force of each source in the place of what it says now, or where that is no
    /// better, nothing. Returns whether it is worth trying again.
    pub fn fall_back(&mut self, problems: &Problems) -> bool {
        if self.together.is_none() {
            return false;
        }
        for taken in &mut self.taken {
            let first = problems.iter().find(|problem| problem.severity == Severity::Error);
            taken.refuse(first);
        }
        self.rounds = 0;
        true
    }
}

impl Together {
    fn of(declaration: &Declaration, taken: &mut [Taken]) -> Self {
        let main = declaration.main();
        let own = |listener: &Listener| {
            let certificates = listener.tls.as_ref().and_then(|tls| tls.certificates.as_ref());
            certificates.map_or(0, Vec::len)
        };
        let certificates = Certificates {
            own: main.listeners.iter().map(own).collect(),
            added: taken.iter().map(|taken| taken.fragment.certificates.len()).collect(),
        };
        let names = declaration.virtual_hosts().map(|host| host.name.clone());
        let additions = Additions::of(names, taken.iter().map(|taken| &*taken.fragment));
        let mut listeners = main.listeners.clone();
        for listener in listeners.iter_mut().filter(|listener| is_shared(listener)) {
            listener.virtual_hosts = Some(additions.served.clone());
            let tls = listener.tls.as_mut();
            if let Some(certificates) = tls.and_then(|tls| tls.certificates.as_mut()) {
                certificates.extend(additions.certificates.iter().cloned());
            }
        }
        let fragments = taken.iter_mut().map(|taken| {
            let asks_ja4 = taken.written().asks_ja4;
            Joined::new(taken.source, taken.fragment.clone(), asks_ja4)
        });
        Self { listeners, fragments: fragments.collect(), certificates }
    }

    /// The part of a fragment that a problem is with, and the index of the fragment.
    fn find(&self, problem: &Problem) -> Option<(usize, At)> {
        let (section, index, rest) = item(&problem.path)?;
        let certificate = || {
            let (key, at, _) = item(rest.strip_prefix("tls.")?)?;
            (key == "certificates").then_some(at)
        };
        let Some(fragment) = self.fragments.iter().position(|it| it.is_origin_of(problem)) else {
            let (fragment, at) = (section == "listeners")
                .then(|| self.certificates.of_fragment(index, certificate()?))??;
            return Some((fragment, At::Certificate(at)));
        };
        let at = match section {
            "listeners" => match rest.strip_prefix("tls.").and_then(item) {
                Some(("certificates", at, _)) => At::ListenerCertificate(index, at),
                Some(("passthrough", at, _)) => At::Passthrough(index, at),
                _ => At::Listener(index),
            },
            "upstreams" => At::Upstream(index),
            "virtual_hosts" => match item(rest) {
                Some(("routes", route, rest)) => {
                    if let Some(("filters", at, _)) = item(rest) {
                        return Some((fragment, At::Filter(index, route, at)));
                    }
                    let is_action = ["forward", "redirect", "respond", "filters"]
                        .iter()
                        .any(|key| rest.starts_with(key));
                    At::Route(index, route, is_action)
                }
                _ => At::VirtualHost(index),
            },
            _ => return None,
        };
        Some((fragment, at))
    }
}

/// Whether a listener serves what other sources bring.
fn is_shared(listener: &Listener) -> bool {
    let terminates = !listener.tls.as_ref().is_some_and(ListenerTls::only_passes_through);
    listener.virtual_hosts.is_none() && terminates
}

impl Certificates {
    /// The fragment that adds the certificate with the index `at` to the listener with this index, and
    /// its index there.
    fn of_fragment(&self, listener: usize, at: usize) -> Option<(usize, usize)> {
        let mut at = at.checked_sub(*self.own.get(listener)?)?;
        for (fragment, count) in self.added.iter().enumerate() {
            match at.checked_sub(*count) {
                Some(behind) => at = behind,
                None => return Some((fragment, at)),
            }
        }
        None
    }
}

impl Additions {
    /// Those of `fragments` to a file with virtual hosts of these names.
    pub(super) fn of<'f>(
        names: impl Iterator<Item = Name>,
        fragments: impl Iterator<Item = &'f Fragment> + Clone,
    ) -> Self {
        let mut served: Vec<_> = names.collect();
        for fragment in fragments.clone() {
            let named = fragment.listeners.iter().filter_map(|it| it.virtual_hosts.as_ref());
            let claimed: HashSet<&str> = named.flatten().map(|name| &**name).collect();
            let shared = fragment.virtual_hosts.iter().map(|host| &host.name);
            served.extend(shared.filter(|name| !claimed.contains(&***name)).cloned());
        }
        let certificates = fragments.flat_map(|fragment| fragment.certificates.iter().cloned());
        Self { served, certificates: certificates.collect() }
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
        let fragment = Arc::make_mut(&mut self.fragment);
        for (at, _) in found {
            at.take_out(fragment);
        }
        self.written = None;
    }

    /// What is left, as text.
    fn written(&mut self) -> &Arc<Written> {
        self.written.get_or_insert_with(|| Written::of(&self.fragment))
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
                Part::Filter(host, route, _) => {
                    delivery.origins.get(&Part::Route(host.clone(), route.clone()))
                }
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
        (self.fragment, self.written) = match self.before.take() {
            Some((fragment, written)) => (fragment, Some(written)),
            None => Default::default(),
        };
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
            Self::ListenerCertificate(listener, index) => (6, listener, index),
            Self::Passthrough(listener, index) => (5, listener, index),
            Self::Certificate(index) => (2, index, 0),
            Self::Upstream(index) => (3, index, 0),
            Self::VirtualHost(index) => (0, index, 0),
            Self::Route(host, route, _) | Self::Filter(host, route, _) => (1, host, route),
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
                return name(tls.certificates.as_ref()?.get(index)?);
            }
            Self::Passthrough(listener, index) => {
                let listener = fragment.listeners.get(listener)?;
                let entry = listener.tls.as_ref()?.passthrough.as_ref()?.get(index)?;
                Part::Passthrough(listener.name.0.clone(), entry.sni.first()?.0.clone())
            }
            Self::Certificate(index) => return name(fragment.certificates.get(index)?),
            Self::Upstream(index) => Part::Upstream(fragment.upstreams.get(index)?.name.0.clone()),
            Self::VirtualHost(index) => {
                Part::VirtualHost(fragment.virtual_hosts.get(index)?.name.0.clone())
            }
            Self::Filter(host, route, index) => {
                let host = fragment.virtual_hosts.get(host)?;
                let route = host.routes.get(route)?;
                let name = route.filters.get(index)?.name().unwrap_or_default();
                Part::Filter(host.name.0.clone(), route.name.0.clone(), name.into())
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
                take_of_tls(fragment, listener, |tls| take_of(&mut tls.certificates, index));
            }
            Self::Passthrough(listener, index) => {
                take_of_tls(fragment, listener, |tls| take_of(&mut tls.passthrough, index));
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
            Self::Filter(host, route, _) => Self::Route(host, route, true).take_out(fragment),
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

/// Takes something out of a listener's TLS, and the listener where nothing is left of that.
fn take_of_tls(fragment: &mut Fragment, listener: usize, take_out: impl FnOnce(&mut ListenerTls)) {
    let Some(found) = fragment.listeners.get_mut(listener) else { return };
    let Some(tls) = &mut found.tls else { return };
    take_out(tls);
    let (is_empty, terminates) = (tls.passthrough.is_none(), tls.certificates.is_some());
    if is_empty && !terminates {
        take(&mut fragment.listeners, listener);
    } else if !terminates {
        // What only connections have that are terminated.
        (found.virtual_hosts, found.protocols, found.http2) = (None, None, None);
    }
}

/// As [`take`], and leaves no list behind that is empty.
fn take_of<T>(items: &mut Option<Vec<T>>, index: usize) {
    if let Some(list) = items {
        take(list, index);
        items.take_if(|list| list.is_empty());
    }
}

fn take<T>(items: &mut Vec<T>, index: usize) {
    if index < items.len() {
        items.remove(index);
    }
}
