//! Caddy: JSON, which is what its other formats become, and which its admin takes.
//!
//! Owns that file. Go's runtime is held to one processor. Idle upstream connections are as many as
//! elsewhere, because Caddy's 32 of its own are fewer than the connections of the load.

use super::{Reload, Setup, Unsupported, words};
use crate::site::{Feature, Place, Route, Site, Upstream};
use serde_json::{Value, json};
use std::path::Path;

/// What serves `site` with the program at `program`.
///
/// # Errors
/// The site limits rates, or runs filters of another proxy.
pub fn setup(program: &Path, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    let conf = place.file("caddy.json");
    let dir = place.dir.display();
    let (data, config) = (format!("XDG_DATA_HOME={dir}"), format!("XDG_CONFIG_HOME={dir}"));
    let program = program.display().to_string();
    let command =
        words(["env", "GOMAXPROCS=1", &data, &config, &program, "run", "--config", &conf]);
    let text = configuration(site, place)?.to_string();
    let files = vec![(conf.into(), text)];
    Ok(Setup { files, command, reload: Reload::Posted(place.admin, "/load") })
}

fn configuration(site: &Site, place: &Place) -> Result<Value, Unsupported> {
    let fields = fields(&site.feature)?;
    let routes: Vec<Value> =
        fields.into_iter().chain(site.routes.iter().map(|one| route(one, site))).collect();
    let web = json!({
        "listen": [place.listen.to_string()],
        "automatic_https": { "disable": true },
        "protocols": ["h1"],
        "routes": routes,
    });
    Ok(json!({
        "admin": { "listen": place.admin.to_string(), "config": { "persist": false } },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": { "http": { "servers": { "web": web } } },
    }))
}

fn route(route: &Route, site: &Site) -> Value {
    json!({
        "match": [{ "path": [format!("{}*", route.prefix)] }],
        "handle": [reverse_proxy(site.upstream_of(route))],
        "terminal": true,
    })
}

fn reverse_proxy(upstream: &Upstream) -> Value {
    let dial = |at: &std::net::SocketAddr| json!({ "dial": at.to_string() });
    let endpoints: Vec<Value> = upstream.endpoints.iter().map(dial).collect();
    json!({
        "handler": "reverse_proxy",
        "upstreams": endpoints,
        "load_balancing": { "selection_policy": { "policy": "round_robin" } },
        "transport": { "protocol": "http", "keep_alive": { "max_idle_conns_per_host": 128 } },
    })
}

/// A first route that every request passes, where there is anything to write.
fn fields(feature: &Feature) -> Result<Option<Value>, Unsupported> {
    match feature {
        Feature::None => Ok(None),
        Feature::Headers => Ok(Some(json!({ "handle": [{
            "handler": "headers",
            "request": { "set": { "X-H1": ["b"] } },
            "response": { "set": { "X-Seen": ["b"] }, "delete": ["X-Origin"], "deferred": true },
        }] }))),
        _ => Err(Unsupported::feature("Caddy as it ships", feature)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    #[test]
    fn every_route_and_every_endpoint_is_there() {
        let conf = configuration(&samples::site(), &samples::place()).unwrap();
        let routes = &conf["apps"]["http"]["servers"]["web"]["routes"];
        assert_eq!(routes.as_array().unwrap().len(), 3);
        assert_eq!(routes[1]["match"][0]["path"][0], "/r00001*");
        assert_eq!(routes[0]["handle"][0]["upstreams"][1]["dial"], "127.0.0.2:9001");
    }

    #[test]
    fn fields_are_written_before_routing_and_limits_are_not_to_be_had() {
        let with = |feature| configuration(&samples::site().with(feature), &samples::place());
        let conf = with(Feature::Headers).unwrap();
        let first = &conf["apps"]["http"]["servers"]["web"]["routes"][0]["handle"][0];
        assert_eq!(first["handler"], "headers");
        assert!(with(Feature::RateLimit { per_s: 7 }).unwrap_err().0.contains("rate limit"));
    }
}
