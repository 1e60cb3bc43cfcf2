//! Pingap, the other gateway on Pingora: one location for each prefix.
//!
//! Owns that file. Weights put its locations into the site's order. It looks for changes of the file as often as it can be told to.

use super::{Reload, Setup, Unsupported, words};
use crate::site::{Feature, Place, Route, Site, Upstream};
use std::path::Path;

/// What serves `site` with the program at `program`.
///
/// # Errors
/// The site runs filters of another proxy.
pub fn setup(program: &Path, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    let conf = place.file("pingap.toml");
    let program = program.display().to_string();
    let command = words([&program, "--conf", &conf, "--threads", "1", "--autoreload"]);
    let files = vec![(conf.into(), configuration(site, place)?)];
    Ok(Setup { files, command, reload: Reload::Watched })
}

fn configuration(site: &Site, place: &Place) -> Result<String, Unsupported> {
    let feature = plugin(&site.feature)?;
    let (field, plugins) = feature.as_ref().map_or(("", ""), |_| uses(&site.feature));
    let upstreams: String = site.upstreams.iter().map(upstream).collect();
    let more = format!("{field}{plugins}");
    let count = site.routes.len();
    let location = |(index, one)| location(one, count - index, site, &more);
    let locations: String = site.routes.iter().enumerate().map(location).collect();
    let names: Vec<String> = site.routes.iter().map(|route| format!("{:?}", route.name)).collect();
    Ok(format!(
        r#"[basic]
pid_file = "{dir}/pingap.pid"
upgrade_sock = "{dir}/pingap.sock"
auto_restart_check_interval = "1s"
threads = 1
log_level = "error"

[servers.web]
addr = "{listen}"
threads = 1
locations = [{names}]

{upstreams}{locations}{plugin}"#,
        dir = place.dir.display(),
        listen = place.listen,
        names = names.join(", "),
        plugin = feature.unwrap_or_default(),
    ))
}

fn upstream(upstream: &Upstream) -> String {
    let endpoints: Vec<String> = upstream.endpoints.iter().map(|at| format!("\"{at}\"")).collect();
    let (name, endpoints) = (&upstream.name, endpoints.join(", "));
    format!("[upstreams.{name}]\naddrs = [{endpoints}]\nalgo = \"round_robin\"\n\n")
}

fn location(route: &Route, weight: usize, site: &Site, more: &str) -> String {
    let Route { name, prefix, .. } = route;
    let upstream = &site.upstream_of(route).name;
    format!(
        "[locations.{name}]\nupstream = \"{upstream}\"\npath = \"{prefix}\"\n\
         weight = {weight}\n\
         enable_reverse_proxy_headers = true\n{more}\n"
    )
}

/// What a location says to have a feature: the field of its requests, and its plugins.
fn uses(feature: &Feature) -> (&'static str, &'static str) {
    let field =
        if *feature == Feature::Headers { "proxy_set_headers = [\"x-h1:b\"]\n" } else { "" };
    (field, "plugins = [\"all\"]\n")
}

fn plugin(feature: &Feature) -> Result<Option<String>, Unsupported> {
    let text = match feature {
        Feature::None => return Ok(None),
        Feature::Headers => "category = \"response_headers\"\nset_headers = [\"x-seen:b\"]\n\
             remove_headers = [\"x-origin\"]\n"
            .to_owned(),
        Feature::RateLimit { per_s } | Feature::Flood { per_s } => format!(
            "category = \"limit\"\ntype = \"rate\"\ntag = \"ip\"\nmax = {per_s}\ninterval = \"1s\"\n"
        ),
        Feature::Native(_) | Feature::Wasm(_) | Feature::Push { .. } => {
            return Err(Unsupported::feature("Pingap", feature));
        }
    };
    Ok(Some(format!("[plugins.all]\n{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn file(feature: Feature) -> String {
        configuration(&samples::site().with(feature), &samples::place()).unwrap()
    }

    #[test]
    fn every_route_and_every_endpoint_is_there() {
        let file = file(Feature::None);
        assert!(file.contains("locations = [\"r00000\", \"r00001\", \"r00002\"]\n"), "{file}");
        assert!(
            file.contains(
                "[locations.r00001]\nupstream = \"u001\"\npath = \"/r00001\"\nweight = 2\n"
            )
        );
        assert!(file.contains("addrs = [\"127.0.0.1:9001\", \"127.0.0.2:9001\"]\n"));
        assert!(!file.contains("plugins"));
    }

    #[test]
    fn a_feature_is_a_plugin_of_every_location() {
        let file = file(Feature::RateLimit { per_s: 7 });
        assert_eq!(file.matches("plugins = [\"all\"]\n").count(), 3);
        assert!(file.contains("[plugins.all]\ncategory = \"limit\"") && file.contains("max = 7\n"));
    }
}
