//! The demo's own clients, so that there is something to see in the first minute.
//!
//! They ask for every route that a plain request can reach, but for those whose upstream goes round
//! its endpoints: the next endpoint there is the next for whoever tries the demo by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sallyport_route::{PathMatch, ValueMatch};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::config::{Action, Config, HashOn, Route, VirtualHost};

/// Requests under way at once: a gateway that is stopped in a debugger is not flooded when it goes
/// on.
const REQUESTS_MAX: usize = 64;

/// Time between two requests in the mean: 40 a second.
const PAUSE: Duration = Duration::from_millis(25);

/// How long the traffic takes to swell and ebb.
const TIDE_S: f64 = 45.0;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Paths below a prefix, as a shop has them.
const PAGES: [&str; 5] = ["", "cart", "cart/items", "search?q=lamp", "account"];

/// Routes to upstreams are asked for this much more often than those that the gateway answers.
const FORWARDED: usize = 8;

/// A request as it is written, but for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    path: String,
    fields: Vec<(String, String)>,
}

/// Sends requests to `address` for as long as the process runs.
pub(super) async fn drive(address: SocketAddr, config: Arc<Plan>) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let began = Instant::now();
    for asked in config.0.iter().cycle() {
        let tide =
            1.0 + 0.5 * (began.elapsed().as_secs_f64() * std::f64::consts::TAU / TIDE_S).sin();
        tokio::time::sleep(PAUSE.mul_f64((0.5 + fastrand::f64()) / tide)).await;
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let text = asked.text(fastrand::u8(..50));
        tokio::spawn(async move {
            // What goes wrong is seen on the page.
            tokio::time::timeout(PATIENCE, send(address, text)).await.ok();
            drop(place);
        });
    }
}

async fn send(address: SocketAddr, text: String) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

impl Asked {
    fn text(&self, user: u8) -> String {
        let fields = self.fields.iter().map(|(name, value)| match &**value {
            "" => format!("{name}: user-{user}\r\n"),
            value => format!("{name}: {value}\r\n"),
        });
        let fields: String = fields.collect();
        format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n{fields}Connection: close\r\n\r\n",
            self.path, self.host
        )
    }
}

/// What is asked for, in turn.
#[derive(Debug)]
pub(super) struct Plan(Vec<Asked>);

impl Plan {
    /// Requests for the routes of `config`.
    pub(super) fn of(config: &Config) -> Self {
        let routes = || {
            let hosts = config.virtual_hosts.iter();
            hosts.flat_map(|host| host.routes.iter().map(move |route| (host, route)))
        };
        let forwarded: Vec<Asked> = routes()
            .filter(|(_, route)| is_forwarded(route) && !goes_round(config, route))
            .flat_map(|(host, route)| PAGES.iter().filter_map(|page| asked(host, route, page)))
            .collect();
        let answered: Vec<Asked> = routes()
            .filter(|(_, route)| !is_forwarded(route))
            .filter_map(|(host, route)| asked(host, route, ""))
            .collect();
        let mut all = Vec::new();
        for asked in answered.iter().map(Some).chain([None]) {
            let turns =
                forwarded.iter().cycle().skip(all.len()).take(forwarded.len().min(1) * FORWARDED);
            all.extend(turns.cloned());
            all.extend(asked.cloned());
        }
        Self(all)
    }
}

fn is_forwarded(route: &Route) -> bool {
    matches!(route.action, Action::Forward(_))
}

/// Whether the next request of anybody goes to the next endpoint.
fn goes_round(config: &Config, route: &Route) -> bool {
    let Action::Forward(forward) = &route.action else { return false };
    forward.targets.iter().any(|target| {
        let upstream = &config.upstreams[target.upstream];
        upstream.endpoints.len() > 1 && !matches!(upstream.hash_on, HashOn::Header(_))
    })
}

/// A request that `route` takes, where a plain one can be told from what it matches.
fn asked(host: &VirtualHost, route: &Route, page: &str) -> Option<Asked> {
    let matches = &route.matches;
    let is_plain = matches.methods.is_empty()
        && matches.query.is_empty()
        && matches.cookies.is_empty()
        && matches.scheme.is_none()
        && matches.hint.is_none()
        && matches.client.is_none();
    let path = match &matches.path {
        PathMatch::Exact(path) => path.to_string(),
        PathMatch::Prefix(prefix) if page.is_empty() => prefix.to_string(),
        PathMatch::Prefix(prefix) => format!("{}/{page}", prefix.trim_end_matches('/')),
        PathMatch::Regex(_) => return None,
    };
    let fields = matches.headers.iter().map(|it| match &it.value {
        ValueMatch::Exact(value) | ValueMatch::Prefix(value) => {
            Some((it.name.to_string(), value.to_string()))
        }
        // Anybody: each request is another user's.
        ValueMatch::Present(true) => Some((it.name.to_string(), String::new())),
        ValueMatch::Present(false) | ValueMatch::Regex(_) => None,
    });
    let domain = host.domains.first()?.to_string().replace('*', "any");
    is_plain.then(|| Some(Asked { host: domain, path, fields: fields.collect::<Option<_>>()? }))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_for_a_user() {
        let fields = vec![("x-beta".into(), "1".into()), ("x-user".into(), String::new())];
        let asked = Asked { host: "a.example".into(), path: "/cart?x".into(), fields };
        let expected = "GET /cart?x HTTP/1.1\r\nHost: a.example\r\nx-beta: 1\r\nx-user: user-7\r\n\
                        Connection: close\r\n\r\n";
        assert_eq!(asked.text(7), expected);
    }
}
