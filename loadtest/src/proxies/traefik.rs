//! Traefik: routers and services in a file that it watches, entry points on the command line.
//!
//! Owns both. Go's runtime is held to one processor, and Traefik to sending nothing about itself to
//! anybody. Priorities put its routers into the site's order.

use super::{Reload, Setup, Unsupported};
use crate::site::{Feature, Place, Route, Site, Upstream};
use std::path::Path;

/// What serves `site` with the program at `program`.
///
/// # Errors
/// The site runs filters of another proxy.
pub fn setup(program: &Path, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    let conf = place.file("traefik.yaml");
    let middleware = middleware(&site.feature)?;
    let command = command(program, &conf, middleware.is_some(), place);
    let text = configuration(site, &middleware.unwrap_or_default());
    let files = vec![(conf.into(), text)];
    Ok(Setup { files, command, reload: Reload::Watched })
}

fn command(program: &Path, conf: &str, middleware: bool, place: &Place) -> Vec<String> {
    let mut command = vec!["env".to_owned(), "GOMAXPROCS=1".to_owned()];
    command.push(program.display().to_string());
    command.push(format!("--entrypoints.web.address={}", place.listen));
    command.push(format!("--providers.file.filename={conf}"));
    let fixed = "--providers.file.watch=true --log.level=ERROR \
                 --global.checknewversion=false --global.sendanonymoususage=false";
    command.extend(fixed.split_whitespace().map(str::to_owned));
    command.extend(middleware.then(|| "--entrypoints.web.http.middlewares=all@file".to_owned()));
    command
}

fn configuration(site: &Site, middleware: &str) -> String {
    let count = site.routes.len();
    let router = |(index, one)| router(one, count - index, site);
    let routers: String = site.routes.iter().enumerate().map(router).collect();
    let services: String = site.upstreams.iter().map(service).collect();
    format!("http:\n{middleware}  routers:\n{routers}  services:\n{services}")
}

fn router(route: &Route, priority: usize, site: &Site) -> String {
    let Route { name, prefix, .. } = route;
    let upstream = &site.upstream_of(route).name;
    format!(
        "    {name}: {{ rule: \"PathPrefix(`{prefix}`)\", service: {upstream}, \
         priority: {priority} }}\n"
    )
}

fn service(upstream: &Upstream) -> String {
    let server = |at| format!("      - {{ url: \"http://{at}\" }}\n");
    let servers: String = upstream.endpoints.iter().map(server).collect();
    format!("    {}:\n      loadBalancer:\n        servers:\n{servers}", upstream.name)
        .replace("      - {", "        - {")
}

/// The middleware that every request passes, where there is one.
fn middleware(feature: &Feature) -> Result<Option<String>, Unsupported> {
    let text = match feature {
        Feature::None => return Ok(None),
        Feature::Headers => "headers: { customRequestHeaders: { X-H1: b }, \
             customResponseHeaders: { X-Seen: b, X-Origin: \"\" } }"
            .to_owned(),
        Feature::RateLimit { per_s } | Feature::Flood { per_s } => {
            format!("rateLimit: {{ average: {per_s}, period: 1s, burst: {per_s} }}")
        }
        Feature::Native(_) | Feature::Wasm(_) | Feature::Push { .. } => {
            return Err(Unsupported::feature("Traefik here", feature));
        }
    };
    Ok(Some(format!("  middlewares:\n    all: {{ {text} }}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn files(feature: Feature) -> (String, Vec<String>) {
        let site = samples::site().with(feature);
        let setup = setup(Path::new("traefik"), &site, &samples::place()).unwrap();
        (setup.files[0].1.clone(), setup.command)
    }

    #[test]
    fn routers_are_tried_in_the_order_of_the_site() {
        let (conf, _) = files(Feature::None);
        assert!(
            conf.contains(
                "r00000: { rule: \"PathPrefix(`/r00000`)\", service: u000, priority: 3 }"
            )
        );
        assert!(conf.contains("r00002: { rule: \"PathPrefix(`/`)\", service: u000, priority: 1 }"));
        assert!(conf.contains("        - { url: \"http://127.0.0.2:9001\" }\n"), "{conf}");
    }

    #[test]
    fn a_feature_is_a_middleware_of_the_entry_point() {
        let (conf, command) = files(Feature::RateLimit { per_s: 7 });
        assert!(conf.contains("all: { rateLimit: { average: 7, period: 1s, burst: 7 } }"));
        assert!(command.last().unwrap().ends_with("middlewares=all@file"));
        assert!(!files(Feature::None).1.last().unwrap().contains("middlewares"));
    }
}
