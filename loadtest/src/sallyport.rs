//! Sallyport as the load tests run it: a file like the quickstart's, with a hundred routes.
//!
//! Owns that file and the command line. It knows of the gateway what an operator knows, the
//! configuration language, and nothing else.

use std::net::SocketAddr;
use std::path::Path;

/// The command line that serves the file at `conf` with one worker.
pub fn command(program: &Path, conf: &Path) -> Vec<String> {
    let program = program.display().to_string();
    let conf = conf.display().to_string();
    [&program, "run", "--config", &conf, "--threads", "1"].map(str::to_owned).to_vec()
}

/// One virtual host for every name, one route for each of `prefixes`, Maglev over one endpoint.
pub fn configuration(
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    prefixes: &[String],
) -> String {
    let head = format!(
        r#"listeners:
  - name: web
    address: "{listen}"
admin: {{ address: "{admin}" }}
upstreams:
  - name: origin
    load_balancing: {{ policy: maglev, hash_on: path }}
    endpoints:
      - {{ address: "{upstream}" }}
virtual_hosts:
  - name: everyone
    domains: ["*"]
    routes:
"#
    );
    let routes = prefixes.iter().enumerate().map(|(index, prefix)| route(index, prefix));
    head + &routes.collect::<String>()
}

fn route(index: usize, prefix: &str) -> String {
    format!(
        r#"      - name: r{index:03}
        match: {{ path: {{ prefix: {prefix} }} }}
        forward: {{ upstream: origin }}
"#
    )
}

/// `/r000` and so on up to `count` prefixes, the last of which is `/` and catches the rest.
pub fn prefixes(count: usize) -> Vec<String> {
    let numbered = (0..count.saturating_sub(1)).map(|index| format!("/r{index:03}"));
    numbered.chain(["/".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_routes_end_with_the_one_that_catches_all() {
        let prefixes = prefixes(100);
        assert_eq!(prefixes.len(), 100);
        assert_eq!(prefixes[50], "/r050");
        assert_eq!(prefixes[98], "/r098");
        assert_eq!(prefixes[99], "/");
    }

    #[test]
    fn every_prefix_becomes_a_route() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let file = configuration(address, address, address, &prefixes(100));
        assert_eq!(file.matches("forward: { upstream: origin }").count(), 100);
        assert!(file.contains("      - name: r050\n        match: { path: { prefix: /r050 } }\n"));
    }
}
