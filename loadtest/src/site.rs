//! What a proxy is to serve, said once for all of them.
//!
//! Every proxy's files are written from one [`Site`], so that a difference between two figures is a
//! difference between two proxies and not between what they were asked to do. It knows nothing of
//! any of them: [`crate::proxies`] turns it into their languages.

use crate::certificate::Certificate;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Routes, upstreams, and what happens to requests on the way.
#[derive(Clone, Debug)]
pub struct Site {
    /// In the order in which they are to be tried; the last one takes whatever is left.
    pub routes: Vec<Route>,
    /// Where requests go; at least one.
    pub upstreams: Vec<Upstream>,
    /// What is done to every request.
    pub feature: Feature,
    /// Threads or processes that serve it.
    pub workers: usize,
    /// Another way in, beside HTTP/1.1 in clear text.
    pub front: Option<Front>,
}

/// A way in at [`Place::front`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    /// Whether it speaks HTTP/2: with TLS by ALPN, else by prior knowledge.
    pub http2: bool,
    /// What it shows to clients, if it is by TLS.
    pub tls: Option<Certificate>,
}

/// Requests of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unlike that of any other route; letters and digits.
    pub name: String,
    /// What the path begins with.
    pub prefix: String,
    /// Position in [`Site::upstreams`].
    pub upstream: usize,
}

/// Endpoints that take turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Unlike that of any other upstream; letters and digits.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<SocketAddr>,
}

/// What is done to every request beside passing it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Feature {
    /// Nothing.
    #[default]
    None,
    /// The request gets `x-h1: b`, the response `x-seen: b`, and `x-origin` is taken from it.
    Headers,
    /// Each source may send so many requests a second, and as many at once; others are refused.
    RateLimit {
        /// Requests a second.
        per_s: u32,
    },
    /// The same with whatever the proxy has to make refusing cheap, down to the connection.
    Flood {
        /// Requests a second.
        per_s: u32,
    },
    /// So many native filters, each of which sets one field of the request, `x-h1` and so on.
    Native(usize),
    /// The example guest `header`, a WebAssembly module in this file.
    Wasm(PathBuf),
    /// Nothing; statistics are pushed to three receivers every second, of which none takes them.
    Push {
        /// An address that nobody listens on.
        closed: SocketAddr,
        /// One that takes connections and reads nothing.
        silent: SocketAddr,
    },
}

impl Feature {
    /// What to call it where a proxy does not have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "proxying",
            Self::Headers => "header rewriting",
            Self::RateLimit { .. } => "a rate limit for each source",
            Self::Flood { .. } => "refusing connections of a source over its limit",
            Self::Native(_) => "filters of the gateway's own",
            Self::Wasm(_) => "proxy-wasm",
            Self::Push { .. } => "statistics that are pushed",
        }
    }
}

impl Site {
    /// `routes` routes that take the upstreams in turn; nothing is done to requests, by one worker.
    pub fn new(routes: usize, upstreams: Vec<Vec<SocketAddr>>) -> Self {
        let count = upstreams.len();
        let upstream = |(index, endpoints)| Upstream { name: format!("u{index:03}"), endpoints };
        let upstreams = upstreams.into_iter().enumerate().map(upstream).collect();
        let route = |index| Route::numbered(index, routes, index % count);
        let routes = (0..routes).map(route).collect();
        Self { routes, upstreams, feature: Feature::None, workers: 1, front: None }
    }

    /// The same with that done to every request.
    pub fn with(self, feature: Feature) -> Self {
        Self { feature, ..self }
    }

    /// The upstream of a route.
    pub fn upstream_of(&self, route: &Route) -> &Upstream {
        &self.upstreams[route.upstream]
    }

    /// Sends route `index` to upstream `upstream` from now on.
    pub fn point(&mut self, index: usize, upstream: usize) {
        self.routes[index].upstream = upstream;
    }
}

impl Route {
    fn numbered(index: usize, routes: usize, upstream: usize) -> Self {
        let prefix = if index + 1 == routes { "/".to_owned() } else { format!("/r{index:05}") };
        Self { name: format!("r{index:05}"), prefix, upstream }
    }
}

/// The path that asks for route `index`, which is not the last one.
pub fn path(index: usize) -> String {
    format!("/r{index:05}/x")
}

/// The addresses and the folder of one proxy.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it takes requests.
    pub listen: SocketAddr,
    /// Where it takes those that come by [`Site::front`].
    pub front: SocketAddr,
    /// Where its admin listens, if it has one.
    pub admin: SocketAddr,
    /// Where its files are.
    pub dir: PathBuf,
}

impl Place {
    /// Where the certificate is; its key is beside it, where HAProxy looks for it.
    pub fn certificate(&self) -> [String; 2] {
        [self.file("front.pem"), self.file("front.pem.key")]
    }

    /// Where the file of that name is, as text.
    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

/// Sites and places for the tests of whatever is written from them.
#[cfg(test)]
pub(crate) mod samples {
    use super::{Certificate, Front, Place, Site};

    pub(crate) fn site() -> Site {
        let address = |text: &str| text.parse().unwrap();
        let first = vec![address("127.0.0.1:9001"), address("127.0.0.2:9001")];
        Site::new(3, vec![first, vec![address("127.0.0.1:9002")]])
    }

    pub(crate) fn front(http2: bool, tls: bool) -> Front {
        Front { http2, tls: tls.then(|| Certificate::generate().unwrap()) }
    }

    pub(crate) fn place() -> Place {
        let listen = "127.0.0.1:8080".parse().unwrap();
        let (front, admin) = ("127.0.0.1:8443", "127.0.0.1:9901");
        let (front, admin) = (front.parse().unwrap(), admin.parse().unwrap());
        Place { listen, front, admin, dir: "/run/test".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_end_with_the_one_that_takes_the_rest() {
        let site = Site::new(100, vec![vec!["127.0.0.1:1".parse().unwrap()]]);
        assert_eq!(site.routes.len(), 100);
        assert_eq!(site.routes[50].prefix, "/r00050");
        assert!(path(50).starts_with(&site.routes[50].prefix));
        assert_eq!(site.routes[98].prefix, "/r00098");
        assert_eq!((&*site.routes[99].name, &*site.routes[99].prefix), ("r00099", "/"));
    }

    #[test]
    fn routes_take_upstreams_in_turn_until_they_are_pointed_elsewhere() {
        let mut site = samples::site();
        let upstreams = |site: &Site| -> Vec<usize> {
            site.routes.iter().map(|route| route.upstream).collect()
        };
        assert_eq!(upstreams(&site), [0, 1, 0]);
        site.point(2, 1);
        assert_eq!(upstreams(&site), [0, 1, 1]);
        assert_eq!(site.upstream_of(&site.routes[2]).name, "u001");
    }
}
