//! `routes` of a virtual host.

use sallyport_config::Place;
use sallyport_config::spec;
use sallyport_route::Domain;

use super::action::{self, NamedTarget};
use super::reached::Reached;
use super::{Resolver, bandwidth, matching, redirect, resilience, sticky};
use crate::config::model::{Action, Forward, Route, Target};
use crate::config::sticky::Mirror;

impl Resolver<'_, '_, '_> {
    /// The route at `place` of the virtual host called `host`; `None` if it could not be read.
    pub(super) fn route(
        &mut self,
        spec: &spec::Route,
        place: &Place<'_>,
        (host, domains): (&str, &[Domain]),
        known_filters: &dyn Fn(&str) -> bool,
        reached: &mut Reached,
    ) -> Option<Route> {
        let at = |key| Place::Key(place, key);
        // What stands in for what could not be read says nothing of what the route takes.
        let is_whole = !self.is_replaced(&at("match"));
        let matches = matching::matches(&spec.matches, &at("match"), self.patterns, self.problems);
        let matches = matches.filter(|_| is_whole);
        let filters = match spec.filters.is_empty() {
            true => Vec::new(),
            false => {
                // Quoted, so that host `a` with route `b/c` is not host `a/b` with route `c`.
                let scope = format!("route {host:?} {:?}", &*spec.name);
                self.filter_list(&scope, &spec.filters, place)
            }
        };
        self.refuse_off(&filters, place, known_filters);
        let spec::Route { forward, redirect, respond, .. } = spec;
        place.exactly_one(
            self.problems,
            &[
                ("forward", forward.is_some()),
                ("redirect", redirect.is_some()),
                ("respond", respond.is_some()),
            ],
        );
        let forward = forward.as_ref().map(|spec| self.forward(spec, &at("forward")));
        let redirect = redirect.as_ref().map(|spec| {
            let place = at("redirect");
            redirect::redirect(spec, &place, self.problems, matches.as_ref(), domains)
        });
        let respond =
            respond.as_ref().map(|spec| action::respond(spec, &at("respond"), self.problems));
        if let Some(matches) = &matches
            && let Place::Item(list, index) = place
            && let Some(by) = reached.by(*index, matches)
        {
            let what = format!("is never reached: {list}[{by}] takes what it would");
            place.warn(self.problems, what, "move it before that one or remove it");
        }
        let sample = self.sample(spec.tracing.as_ref(), place);
        let forwards = forward.is_some();
        let bandwidth = spec
            .bandwidth
            .as_ref()
            .map(|spec| bandwidth::of_route(spec, forwards, &at("bandwidth"), self.problems));
        let action = match (forward, redirect, respond) {
            (Some(forward), ..) => Action::Forward(forward?),
            (None, Some(redirect), _) => Action::Redirect(redirect?),
            (None, None, respond) => Action::Respond(respond??),
        };
        let name = (*spec.name).into();
        Some(Route { name, matches: matches?, filters, sample, bandwidth, action })
    }

    fn forward(&mut self, spec: &spec::Forward, place: &Place<'_>) -> Option<Forward> {
        let at = |key| Place::Key(place, key);
        let is_whole = !self.is_replaced(place);
        let named = action::forwarded_to(spec, place, is_whole, self.problems);
        let retry = resilience::retry(spec, place, self.problems);
        let sticky = spec
            .sticky
            .as_ref()
            .map(|spec| sticky::of_split(spec, &at("sticky"), self.filters, self.problems));
        let mirror = spec.mirror.as_ref().map(|spec| self.mirror(spec, &at("mirror")));
        let targets: Vec<Target> =
            named.iter().filter_map(|target| self.target(target, place)).collect();
        (targets.len() == named.len()).then_some(())?;
        Some(Forward {
            targets,
            timeout: spec.timeout.map(|timeout| timeout.0),
            retry,
            failover: spec.failover.unwrap_or(true),
            sticky: read(sticky)?,
            mirror: read(mirror)?,
        })
    }

    fn mirror(&mut self, spec: &spec::Mirror, place: &Place<'_>) -> Option<Mirror> {
        let percent = spec.percent.map_or(100, |percent| percent.0 as u8);
        match self.upstreams.get(&*spec.upstream) {
            Some(&upstream) => Some(Mirror { upstream, percent }),
            None => {
                let at = Place::Key(place, "upstream").to_string();
                self.refuse_unknown_upstream(place.file(), at, &spec.upstream);
                None
            }
        }
    }

    pub(super) fn target(&mut self, target: &NamedTarget<'_>, place: &Place<'_>) -> Option<Target> {
        let Some(&upstream) = self.upstreams.get(target.upstream) else {
            let at = target.place(place);
            self.refuse_unknown_upstream(place.file(), at, target.upstream);
            return None;
        };
        Some(Target { upstream, weight: target.weight })
    }
}

/// What may be left out, and must be readable where it is not: `None` if it is not.
fn read<T>(written: Option<Option<T>>) -> Option<Option<T>> {
    written.map_or(Some(None), |read| read.map(Some))
}
