//! What is written and has no effect.

use std::collections::HashSet;

use sallyport_config::Found;
use sallyport_plugin::UpstreamUse;

use super::{Places, Spot};
use crate::config::model::{Action, Config};

/// Adds a warning for each upstream and virtual host that nothing leads to.
pub(super) fn warn(
    config: &Config,
    places: &Places,
    filter_upstreams: &[UpstreamUse],
    problems: &mut Vec<Found>,
) {
    let mut warn = |spot: Spot, what: String, fix: &str| {
        problems.push(Found::warning(spot.file, spot.to_string(), what, fix));
    };
    let by_filters: HashSet<&str> = filter_upstreams.iter().map(|used| &*used.upstream).collect();
    let by_routes = used(config);
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if !by_routes.contains(&index) && !by_filters.contains(&*upstream.name) {
            let what = format!("no route leads to upstream {:?}", upstream.name);
            warn(places.upstreams[index], what, "use it in a route or remove it");
        }
    }
    let named = config.listeners.iter().filter_map(|listener| listener.virtual_hosts.as_ref());
    let served: HashSet<usize> = named.flatten().copied().collect();
    let serves_all = config.listeners.iter().any(|listener| listener.virtual_hosts.is_none());
    for (index, host) in config.virtual_hosts.iter().enumerate() {
        if !serves_all && !served.contains(&index) {
            let what = format!("no listener serves virtual host {:?}", host.name);
            let fix = "name it in a listener's `virtual_hosts` or remove it";
            warn(places.virtual_hosts[index], what, fix);
        }
    }
}

fn used(config: &Config) -> HashSet<usize> {
    let routes = config.virtual_hosts.iter().flat_map(|host| &host.routes);
    let targets = routes.filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(forward),
        Action::Redirect(_) | Action::Respond(_) => None,
    });
    let used = targets.flat_map(|forward| {
        let mirror = forward.mirror.iter().map(|mirror| mirror.upstream);
        forward.targets.iter().map(|target| target.upstream).chain(mirror)
    });
    let tls = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let passed_to = tls.flat_map(|tls| &tls.passthrough).flat_map(|entry| &entry.targets);
    used.chain(passed_to.map(|target| target.upstream)).collect()
}
