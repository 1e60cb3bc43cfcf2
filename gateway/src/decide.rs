//! The decision itself, shared by the proxy and by `explain`, so that the two cannot disagree.

use sallyport_route::Request;

use crate::config::{Redirect, Target};
use crate::snapshot::Snapshot;

/// The virtual host and route, as indices, of a request for `host` (normalised) on a listener.
#[must_use]
pub fn route(
    snapshot: &Snapshot,
    listener: usize,
    host: &str,
    request: &Request<'_>,
) -> Option<(usize, usize)> {
    let host = snapshot.host(listener, host)?;
    let route = snapshot.hosts[host].table.route(request)?;
    Some((host, route))
}

/// The upstream of a split that the number `draw`, below the sum of weights, falls to.
#[must_use]
pub fn share(targets: &[Target], draw: u32) -> Option<usize> {
    let mut passed = 0;
    targets
        .iter()
        .find(|target| {
            passed += target.weight;
            draw < passed
        })
        .map(|target| target.upstream)
}

/// The `Location` of a redirect for a request to `authority` with this path and query.
#[must_use]
pub fn location(redirect: &Redirect, authority: &str, path_and_query: &str) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or("http");
    let (sent_host, sent_port) = split_port(authority);
    let host = redirect.host.as_deref().unwrap_or(sent_host);
    // The port that was asked belongs to the scheme and host that were asked.
    let moved = redirect.scheme.is_some() || redirect.host.is_some();
    let port = match redirect.port {
        Some(port) => format!(":{port}"),
        None if moved => String::new(),
        None => sent_port.map_or_else(String::new, |port| format!(":{port}")),
    };
    let path = redirect.path.as_deref().unwrap_or(path_and_query);
    format!("{scheme}://{host}{port}{path}")
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{location, share};
    use crate::config::{Redirect, Target};
    use http::StatusCode;

    fn redirect() -> Redirect {
        Redirect { status: StatusCode::FOUND, scheme: None, host: None, port: None, path: None }
    }

    #[test]
    fn locations_keep_what_is_not_replaced() {
        let sent = ("shop.example:8080", "/a?b=c");
        let to = |redirect: Redirect| location(&redirect, sent.0, sent.1);
        assert_eq!(
            to(Redirect { path: Some("/new".into()), ..redirect() }),
            "http://shop.example:8080/new"
        );
        assert_eq!(
            to(Redirect { scheme: Some("https".into()), ..redirect() }),
            "https://shop.example/a?b=c"
        );
        assert_eq!(
            to(Redirect { host: Some("x.example".into()), port: Some(81), ..redirect() }),
            "http://x.example:81/a?b=c"
        );
        let v6 = location(&Redirect { path: Some("/".into()), ..redirect() }, "[::1]", "/x");
        assert_eq!(v6, "http://[::1]/");
    }

    #[test]
    fn every_draw_falls_to_its_share() {
        let targets =
            [(7, 90), (8, 0), (9, 10)].map(|(upstream, weight)| Target { upstream, weight });
        assert_eq!(share(&targets, 0), Some(7));
        assert_eq!(share(&targets, 89), Some(7));
        assert_eq!(share(&targets, 90), Some(9));
        assert_eq!(share(&targets, 99), Some(9));
        assert_eq!(share(&targets, 100), None);
    }
}
