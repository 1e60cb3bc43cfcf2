//! HAProxy: a map from prefixes to backends, which finds the longest prefix in a tree.
//!
//! Owns the file and the map. It runs with a master process, so that it can reload, and hands its
//! listening sockets over to the next worker through its statistics socket. It reckons with two descriptors
//! for each of its connections and would rather not start than have fewer, though idle ones take one.

use super::{Reload, Setup, Unsupported, words};
use crate::site::{Feature, Place, Route, Site, Upstream};
use rustix::process::Signal;

/// What serves `site`; HAProxy comes from the search path.
///
/// # Errors
/// The site runs filters of another proxy.
pub fn setup(site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    let (conf, map) = (place.file("haproxy.cfg"), place.file("routes.map"));
    let command = words(["haproxy", "-W", "-f", &conf]);
    let entries: String = site.routes.iter().map(|route| entry(route, site)).collect();
    let text = configuration(site, place, &map)?;
    let files = vec![(conf.into(), text), (map.into(), entries)];
    Ok(Setup { files, command, reload: Reload::Signalled(Signal::USR2) })
}

fn entry(route: &Route, site: &Site) -> String {
    format!("{} {}\n", route.prefix, site.upstream_of(route).name)
}

fn configuration(site: &Site, place: &Place, map: &str) -> Result<String, Unsupported> {
    let rules = rules(&site.feature)?;
    let backends: String = site.upstreams.iter().map(backend).collect();
    let (listen, socket) = (place.listen, place.file("haproxy.sock"));
    let (default, front) = (&site.upstreams[0].name, front(site, place));
    Ok(format!(
        r"global
    nbthread 1
    maxconn 32768
    no strict-limits
    hard-stop-after 30s
    stats socket {socket} mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1m
    timeout http-request 1m
    timeout http-keep-alive 1h
    option forwardfor
    http-reuse always
frontend web
    bind {listen} backlog 4096
{front}{rules}    use_backend %[path,map_beg({map},{default})]
{backends}"
    ))
}

fn front(site: &Site, place: &Place) -> String {
    let Some(front) = &site.front else { return String::new() };
    let (at, [chain, _]) = (place.front, place.certificate());
    let how = match (&front.tls, front.http2) {
        (None, true) => " proto h2".to_owned(),
        (None, false) => String::new(),
        (Some(_), http2) => {
            let alpn = if http2 { "h2,http/1.1" } else { "http/1.1" };
            format!(" ssl crt {chain} alpn {alpn} ssl-min-ver TLSv1.3")
        }
    };
    format!("    bind {at} backlog 4096{how}\n")
}

fn backend(upstream: &Upstream) -> String {
    let server = |(index, at)| format!("    server e{index} {at}\n");
    let servers: String = upstream.endpoints.iter().enumerate().map(server).collect();
    format!("backend {}\n    balance roundrobin\n{servers}", upstream.name)
}

fn rules(feature: &Feature) -> Result<String, Unsupported> {
    match *feature {
        Feature::None => Ok(String::new()),
        Feature::Headers => Ok("    http-request set-header x-h1 b\n    \
             http-response set-header x-seen b\n    http-response del-header x-origin\n"
            .to_owned()),
        Feature::RateLimit { per_s } => Ok(limit(per_s)),
        Feature::Flood { per_s } => Ok(flood(per_s)),
        Feature::Native(_) | Feature::Wasm(_) | Feature::Push { .. } => {
            Err(Unsupported::feature("HAProxy", feature))
        }
    }
}

fn limit(per_s: u32) -> String {
    format!(
        "    stick-table type ip size 100k expire 1m store http_req_rate(1s)\n    \
         http-request track-sc0 src\n    \
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {per_s} }}\n"
    )
}

/// Who went over the limit is marked, and is turned away at accept for as long as the mark stays.
fn flood(per_s: u32) -> String {
    format!(
        "    stick-table type ip size 100k expire 10m store http_req_rate(1s),gpc0\n    \
         tcp-request connection track-sc0 src\n    \
         tcp-request connection reject if {{ sc_get_gpc0(0) gt 50 }}\n    \
         http-request sc-inc-gpc0(0) if {{ sc_http_req_rate(0) gt {per_s} }}\n    \
         http-request reject if {{ sc_get_gpc0(0) gt 50 }}\n    \
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {per_s} }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    #[test]
    fn routes_are_in_the_map_and_endpoints_in_backends() {
        let setup = setup(&samples::site(), &samples::place()).unwrap();
        assert_eq!(setup.files[1].1, "/r00000 u000\n/r00001 u001\n/ u000\n");
        let conf = &setup.files[0].1;
        assert!(
            conf.contains("backend u001\n    balance roundrobin\n    server e0 127.0.0.1:9002\n")
        );
        assert!(conf.contains("map_beg(/run/test/routes.map,u000)"), "{conf}");
    }

    #[test]
    fn another_way_in_is_another_bind_of_the_frontend() {
        let with = |front| {
            let site = Site { front: Some(front), ..samples::site() };
            configuration(&site, &samples::place(), "m").unwrap()
        };
        let clear = with(samples::front(true, false));
        assert!(clear.contains("    bind 127.0.0.1:8443 backlog 4096 proto h2\n"), "{clear}");
        let tls = with(samples::front(true, true));
        assert!(tls.contains("ssl crt /run/test/front.pem alpn h2,http/1.1 ssl"), "{tls}");
    }

    #[test]
    fn limits_are_kept_by_source() {
        let limited = rules(&Feature::RateLimit { per_s: 7 }).unwrap();
        assert!(limited.contains("http_req_rate(1s)") && limited.contains("gt 7 }"), "{limited}");
        let flood = rules(&Feature::Flood { per_s: 7 }).unwrap();
        assert!(flood.contains("tcp-request connection reject"), "{flood}");
        assert!(rules(&Feature::Native(1)).is_err());
    }
}
