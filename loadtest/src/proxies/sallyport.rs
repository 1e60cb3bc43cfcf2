//! Sallyport as an operator would set it up: one virtual host, one route for each prefix.
//!
//! Owns that file and the command line. It knows of the gateway what an operator knows, the
//! configuration language, and nothing else.

use super::{Reload, Setup, words};
use crate::site::{Feature, Place, Route, Site, Upstream};
use std::path::Path;

/// How long a source stays shut out, and how many refusals it takes.
const VERDICTS: &str =
    "verdicts: { rules: [{ on: limit, more_than: 50, within: 10s, for: 10m }] }\n";

/// What serves `site` with the program at `program`; there is nothing that it cannot do.
pub fn setup(program: &Path, site: &Site, place: &Place) -> Setup {
    let conf = place.file("sallyport.yaml");
    let program = program.display().to_string();
    let threads = site.workers.to_string();
    let command = words([&program, "run", "--config", &conf, "--threads", &threads]);
    let files = vec![(conf.into(), configuration(site, place))];
    Setup { files, command, reload: Reload::Watched }
}

fn configuration(site: &Site, place: &Place) -> String {
    let Place { listen, admin, .. } = place;
    let verdicts = if matches!(site.feature, Feature::Flood { .. }) { VERDICTS } else { "" };
    let (push, front) = (push(&site.feature), front(site, place));
    let upstreams: String = site.upstreams.iter().map(upstream).collect();
    let filters = filters(&site.feature);
    let filters = filters.map(|list| format!("    filters: {list}\n")).unwrap_or_default();
    let routes: String = site.routes.iter().map(|one| route(one, site)).collect();
    format!(
        r#"listeners:
  - name: web
    address: "{listen}"
{front}admin: {{ address: "{admin}", hosts: [loadtest.example] }}
{verdicts}{push}upstreams:
{upstreams}virtual_hosts:
  - name: everyone
    domains: ["*"]
{filters}    routes:
{routes}"#
    )
}

fn front(site: &Site, place: &Place) -> String {
    let Some(front) = &site.front else { return String::new() };
    let (at, [chain, key]) = (place.front, place.certificate());
    let protocols = if front.http2 { "http2" } else { "http1" };
    let tls = front.tls.as_ref().map(|_| {
        format!(
            ", tls: {{ min_version: \"1.3\", \
             certificates: [{{ cert: {chain:?}, key: {key:?} }}] }}"
        )
    });
    let tls = tls.unwrap_or_default();
    format!("  - {{ name: front, address: \"{at}\", protocols: [{protocols}]{tls} }}\n")
}

fn upstream(upstream: &Upstream) -> String {
    let endpoint = |address| format!("      - {{ address: \"{address}\" }}\n");
    let endpoints: String = upstream.endpoints.iter().map(endpoint).collect();
    format!("  - name: {}\n    endpoints:\n{endpoints}", upstream.name)
}

fn route(route: &Route, site: &Site) -> String {
    let Route { name, prefix, .. } = route;
    let upstream = &site.upstream_of(route).name;
    format!(
        "      - name: {name}\n        match: {{ path: {{ prefix: {prefix} }} }}\n        \
         forward: {{ upstream: {upstream} }}\n"
    )
}

/// A `push:` section with three dead receivers; nothing where none is asked for.
fn push(feature: &Feature) -> String {
    let Feature::Push { closed, silent } = feature else { return String::new() };
    format!(
        r#"push:
  every: 1s
  exporters:
    - {{ name: closed, dogstatsd: {{ address: "{closed}" }} }}
    - {{ name: silent, remote_write: {{ url: "http://{silent}/write", every: 1s, timeout: 1s }} }}
    - {{ name: nowhere, statsd: {{ address: "nowhere.invalid:8125" }} }}
"#
    )
}

/// A `filters:` list in one line; nothing where there are none.
fn filters(feature: &Feature) -> Option<String> {
    let entries = match feature {
        Feature::None | Feature::Push { .. } => return None,
        Feature::Headers => "{ headers: { request: { set: { x-h1: b } }, \
             response: { set: { x-seen: b }, remove: [x-origin] } } }"
            .to_owned(),
        Feature::RateLimit { per_s } | Feature::Flood { per_s } => format!(
            "{{ rate_limit: {{ key: source, requests: {per_s}, per: 1s, headers: false }} }}"
        ),
        Feature::Native(count) => {
            (1..=*count).map(headers_filter).collect::<Vec<String>>().join(", ")
        }
        Feature::Wasm(module) => wasm_filter(module),
    };
    Some(format!("[{entries}]"))
}

fn headers_filter(number: usize) -> String {
    format!("{{ name: h{number}, headers: {{ request: {{ set: {{ x-h{number}: b }} }} }} }}")
}

fn wasm_filter(module: &Path) -> String {
    format!("{{ wasm: {{ module: {:?} }} }}", module.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn file(feature: Feature) -> String {
        configuration(&samples::site().with(feature), &samples::place())
    }

    #[test]
    fn every_route_and_every_endpoint_is_there() {
        let file = file(Feature::None);
        assert_eq!(file.matches("forward: { upstream: u000 }").count(), 2);
        assert_eq!(file.matches("forward: { upstream: u001 }").count(), 1);
        assert!(
            file.contains("      - name: r00000\n        match: { path: { prefix: /r00000 } }\n")
        );
        assert!(file.contains("- { address: \"127.0.0.2:9001\" }"));
        assert!(!file.contains("filters") && !file.contains("verdicts"));
    }

    #[test]
    fn another_way_in_is_another_listener() {
        let with = |front| {
            let site = Site { front: Some(front), ..samples::site() };
            configuration(&site, &samples::place())
        };
        let clear = with(samples::front(true, false));
        let listener =
            "  - { name: front, address: \"127.0.0.1:8443\", protocols: [http2] }\nadmin";
        assert!(clear.contains(listener), "{clear}");
        let tls = with(samples::front(false, true));
        assert!(tls.contains("cert: \"/run/test/front.pem\", key: \"/run/test/front.pem.key\""));
    }

    #[test]
    fn features_are_filters_of_the_virtual_host() {
        let native = file(Feature::Native(2));
        let list = "[{ name: h1, headers: { request: { set: { x-h1: b } } } }, \
                    { name: h2, headers: { request: { set: { x-h2: b } } } }]";
        assert!(native.contains(&format!("domains: [\"*\"]\n    filters: {list}\n")), "{native}");
        let wasm = file(Feature::Wasm("/tmp/a b.wasm".into()));
        assert!(wasm.contains("filters: [{ wasm: { module: \"/tmp/a b.wasm\" } }]\n"), "{wasm}");
        assert!(file(Feature::RateLimit { per_s: 7 }).contains("requests: 7, per: 1s"));
    }

    #[test]
    fn three_receivers_that_take_nothing_are_pushed_to() {
        let (closed, silent) = ("127.0.0.1:7".parse().unwrap(), "127.0.0.1:8".parse().unwrap());
        let file = file(Feature::Push { closed, silent });
        assert_eq!(file.matches("    - { name: ").count(), 3, "{file}");
        assert!(file.contains("\"127.0.0.1:7\"") && file.contains("\"http://127.0.0.1:8/write\""));
        assert!(!file.contains("filters"));
    }

    #[test]
    fn a_flood_is_met_with_verdicts() {
        assert!(file(Feature::Flood { per_s: 7 }).contains("verdicts: { rules: [{ on: limit"));
    }
}
