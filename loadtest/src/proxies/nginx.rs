//! nginx as a reverse proxy: one `location` for each prefix, one `upstream` for each upstream.
//!
//! Owns that file. Bodies are never written to disk, which none of the other proxies does either.

use super::{Reload, Setup, Unsupported};
use crate::nginx;
use crate::site::{Feature, Place, Route, Site, Upstream};
use rustix::process::Signal;

/// What serves `site`; nginx comes from the search path.
///
/// # Errors
/// The site runs filters of another proxy.
pub fn setup(site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    let conf = place.dir.join("proxy.conf");
    let command = nginx::command(&conf);
    let files = vec![(conf, configuration(site, place)?)];
    Ok(Setup { files, command, reload: Reload::Signalled(Signal::HUP) })
}

fn configuration(site: &Site, place: &Place) -> Result<String, Unsupported> {
    let upstreams: String = site.upstreams.iter().map(upstream).collect();
    let locations: String = site.routes.iter().map(|route| location(route, site)).collect();
    let (around, within) = directives(&site.feature)?;
    let server = format!(
        "{around}{upstreams}server {{ listen {listen} backlog=4096;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_max_temp_file_size 0;\n{front}{within}{locations}}}\n",
        listen = place.listen,
        front = front(site, place),
    );
    Ok(nginx::around("proxy", &server, site.workers, &place.dir))
}

fn front(site: &Site, place: &Place) -> String {
    let Some(front) = &site.front else { return String::new() };
    let (at, http2) = (place.front, if front.http2 { " http2" } else { "" });
    let [chain, key] = place.certificate();
    match front.tls {
        None => format!("listen {at}{http2} backlog=4096;\n"),
        Some(_) => format!(
            "listen {at} ssl{http2} backlog=4096;\n\
             ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;\n"
        ),
    }
}

fn upstream(upstream: &Upstream) -> String {
    let servers: String = upstream.endpoints.iter().map(|at| format!("server {at}; ")).collect();
    let name = &upstream.name;
    format!("upstream {name} {{ {servers}keepalive 128; keepalive_requests 100000000; }}\n")
}

fn location(route: &Route, site: &Site) -> String {
    let (prefix, upstream) = (&route.prefix, &site.upstream_of(route).name);
    format!("location {prefix} {{ proxy_pass http://{upstream}; }}\n")
}

/// What a feature takes around the server, and within it. The status 444 closes the connection.
fn directives(feature: &Feature) -> Result<(String, String), Unsupported> {
    match *feature {
        Feature::None => Ok((String::new(), String::new())),
        Feature::Headers => {
            let within =
                "proxy_set_header x-h1 b; add_header x-seen b; proxy_hide_header x-origin;\n";
            Ok((String::new(), within.to_owned()))
        }
        Feature::RateLimit { per_s } => Ok(limit(per_s, 429)),
        Feature::Flood { per_s } => Ok(limit(per_s, 444)),
        Feature::Native(_) | Feature::Wasm(_) | Feature::Push { .. } => {
            Err(Unsupported::feature("nginx", feature))
        }
    }
}

fn limit(per_s: u32, status: u16) -> (String, String) {
    let zone = format!("limit_req_zone $binary_remote_addr zone=all:10m rate={per_s}r/s;\n");
    let request = format!("limit_req zone=all burst={per_s} nodelay; limit_req_status {status};\n");
    (zone, request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn file(feature: Feature) -> Result<String, Unsupported> {
        configuration(&samples::site().with(feature), &samples::place())
    }

    #[test]
    fn every_route_and_every_endpoint_is_there() {
        let file = file(Feature::None).unwrap();
        assert!(file.contains("location /r00001 { proxy_pass http://u001; }\n"), "{file}");
        assert!(file.contains("location / { proxy_pass http://u000; }\n"));
        assert!(
            file.contains("upstream u000 { server 127.0.0.1:9001; server 127.0.0.2:9001; keep")
        );
    }

    #[test]
    fn another_way_in_is_another_listen_of_the_server() {
        let with = |front| {
            let site = Site { front: Some(front), ..samples::site() };
            configuration(&site, &samples::place()).unwrap()
        };
        let clear = with(samples::front(true, false));
        assert!(clear.contains("listen 127.0.0.1:8443 http2 backlog=4096;\n"), "{clear}");
        let tls = with(samples::front(false, true));
        assert!(tls.contains("listen 127.0.0.1:8443 ssl backlog=4096;\n"), "{tls}");
        assert!(tls.contains("ssl_certificate_key /run/test/front.pem.key;"));
    }

    #[test]
    fn limits_differ_in_what_the_refused_get() {
        let limited = file(Feature::RateLimit { per_s: 7 }).unwrap();
        assert!(limited.contains("rate=7r/s") && limited.contains("limit_req_status 429"));
        assert!(file(Feature::Flood { per_s: 7 }).unwrap().contains("limit_req_status 444"));
        assert!(file(Feature::Native(1)).is_err());
    }
}
