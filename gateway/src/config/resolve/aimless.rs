//! Routes that do nothing for anybody: redirects that lead back to themselves, and methods that no
//! request is routed with.

use http::{Method, StatusCode};
use sallyport_route::{Domain, HostTable};

use crate::config::model::{Action, Redirect, RedirectPath, Route, VirtualHost};

/// The most that are looked for: each is compared with the routes before it.
const MOST: usize = 100;

/// What is wrong with a route.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Aimless {
    /// The index of its virtual host.
    pub(super) host: usize,
    /// Where in the virtual host it is written.
    pub(super) place: String,
    pub(super) what: String,
    pub(super) fix: &'static str,
}

/// Finds those of these virtual hosts.
pub(super) fn find(hosts: &[VirtualHost]) -> Vec<Aimless> {
    let of_host = |(host, found): (usize, &VirtualHost)| {
        let routes = 0..found.routes.len();
        let found = routes.filter_map(|index| {
            let (key, what, fix) = looping(found, index).or_else(|| unroutable(found, index))?;
            Some(Aimless { host, place: format!("routes[{index}].{key}"), what, fix })
        });
        found.collect::<Vec<_>>()
    };
    hosts.iter().enumerate().flat_map(of_host).take(MOST).collect()
}

/// CONNECT asks for a tunnel and has no path to be routed by (RFC 9110, 9.3.6): it is refused before.
fn unroutable(host: &VirtualHost, route: usize) -> Option<(&'static str, String, &'static str)> {
    let methods = &host.routes[route].matches.methods;
    let what = "CONNECT never matches: it is refused before requests are routed".to_owned();
    let fix = "remove it, or the route if it has no other method";
    methods.contains(&Method::CONNECT).then_some(("match.methods", what, fix))
}

/// A redirect whose target the same route takes again, as far as the file alone can tell: what another
/// scheme or port leads to is not known, and what a route before this one may take is not certain.
fn looping(host: &VirtualHost, index: usize) -> Option<(&'static str, String, &'static str)> {
    let (route, before) = (&host.routes[index], &host.routes[..index]);
    let Action::Redirect(redirect) = &route.action else { return None };
    let elsewhere = redirect.scheme.as_deref() == Some("https") || redirect.port.is_some();
    if elsewhere || !leads_to(redirect, &host.domains) || !keeps_method(redirect, route) {
        return None;
    }
    let fix = "write another `path`, or match what is to be redirected alone, as with `exact`";
    let target = match &redirect.path {
        RedirectPath::Keep => {
            let what = "leads to the address that was asked for, over and over".to_owned();
            return Some(("redirect", what, "write where to: `scheme`, `host`, `port` or `path`"));
        }
        RedirectPath::Full(path) => {
            let path = path.constant()?;
            if path.contains('?') && !route.matches.query.is_empty() {
                return None;
            }
            path.split(['?', '#']).next()?.to_owned()
        }
        RedirectPath::Prefix { with, .. } if with.is_empty() => "/".to_owned(),
        RedirectPath::Prefix { with, .. } => with.to_string(),
    };
    let is_taken = |route: &Route| route.matches.path.holds(&target);
    let loops = is_taken(route) && !before.iter().any(is_taken);
    loops.then(|| ("redirect", format!("leads to {target:?}, which this route takes again"), fix))
}

/// Whether a redirect leads to one of these domains.
fn leads_to(redirect: &Redirect, domains: &[Domain]) -> bool {
    let Some(host) = &redirect.host else { return true };
    let table = HostTable::new(domains.iter().map(|domain| (domain.clone(), 0)));
    match (host.constant(), table) {
        (Some(host), Ok(table)) => table.lookup(host).is_some(),
        _ => false,
    }
}

/// Whether the request that a client makes of it has a method that the route takes: 301, 302 and 303
/// turn others into GET (RFC 9110, 15.4).
fn keeps_method(redirect: &Redirect, route: &Route) -> bool {
    let keeps =
        matches!(redirect.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let methods = &route.matches.methods;
    keeps || methods.is_empty() || methods.contains(&Method::GET)
}
