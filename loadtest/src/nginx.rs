//! nginx in its two parts: the origin behind every proxy, and a proxy to compare with.
//!
//! Owns the files that nginx is started with. Both are one worker with no access log, answer from
//! memory and keep everything they write in the run's own folder. Nothing is tuned beyond what a
//! careful operator sets: upstream keep-alive, and limits high enough for the tests.

use crate::bench::SEEN;
use std::net::SocketAddr;
use std::path::Path;

/// Largest body the origin can be asked for: what fits into one of nginx's parameters by reference.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The body is a multiple of this and a rest; each whole piece is one `$k`.
const PIECE_BYTES: usize = 1024;
/// Clients and upstream connections of the largest idle test, twice over.
const WORKER_CONNECTIONS: usize = 32_768;

/// The command line that runs nginx with the file at `conf`.
pub fn command(conf: &Path) -> Vec<String> {
    ["nginx", "-c", &conf.display().to_string()].map(str::to_owned).to_vec()
}

/// An origin that answers every request with the same body, but at [`SEEN`] with the fields that
/// filters set: the values of `x-h1` to `x-h5` and of `x-wasm`, between commas.
pub fn origin(listen: SocketAddr, body_bytes: usize, dir: &Path) -> String {
    let piece = "x".repeat(PIECE_BYTES);
    let pieces = "$k".repeat(body_bytes / PIECE_BYTES);
    let rest = "x".repeat(body_bytes % PIECE_BYTES);
    let server = format!(
        "server {{ listen {listen} backlog=4096; default_type text/plain;\n\
         set $k \"{piece}\"; location / {{ return 200 \"{pieces}{rest}\"; }}\n\
         location = {SEEN} {{ return 200 \"$http_x_h1,$http_x_h2,$http_x_h3,$http_x_h4,\
         $http_x_h5,$http_x_wasm\"; }} }}\n"
    );
    around("origin", &server, dir)
}

/// A reverse proxy with one location for each of `prefixes`, all to `upstream`.
pub fn proxy(listen: SocketAddr, upstream: SocketAddr, prefixes: &[String], dir: &Path) -> String {
    let location = |prefix: &String| format!("location {prefix} {{ proxy_pass http://origin; }}\n");
    let locations: String = prefixes.iter().map(location).collect();
    let server = format!(
        "upstream origin {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {listen} backlog=4096;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\";\n{locations}}}\n"
    );
    around("proxy", &server, dir)
}

fn around(name: &str, server: &str, dir: &Path) -> String {
    let dir = dir.display();
    // Started by root, workers would become another user and could not enter the run's folder.
    let user = if rustix::process::geteuid().is_root() { "user root root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes 1;\nworker_rlimit_nofile {files};\n\
         pid {dir}/{name}.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections {WORKER_CONNECTIONS}; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\nkeepalive_timeout 3600s;\n\
         client_body_temp_path {dir}/{name}-body;\nproxy_temp_path {dir}/{name}-proxy;\n\
         fastcgi_temp_path {dir}/{name}-fastcgi;\nuwsgi_temp_path {dir}/{name}-uwsgi;\n\
         scgi_temp_path {dir}/{name}-scgi;\n{server}}}\n",
        files = WORKER_CONNECTIONS + 1024,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        "127.0.0.1:8080".parse().unwrap()
    }

    #[test]
    fn a_body_is_pieces_and_a_rest() {
        let conf = origin(address(), 3 * 1024 + 5, Path::new("/run/test"));
        assert!(conf.contains("return 200 \"$k$k$kxxxxx\";"), "{conf}");
        let longest = origin(address(), BODY_BYTES_MAX - 1, Path::new("/run/test"));
        let parameter = longest.split("return 200 ").nth(1).unwrap().len();
        assert!(parameter < 4096, "nginx takes parameters of up to 4 KiB, this is {parameter}");
    }

    #[test]
    fn a_proxy_has_a_location_for_every_prefix() {
        let prefixes = ["/r000".to_owned(), "/".to_owned()];
        let conf = proxy(address(), address(), &prefixes, Path::new("/run/test"));
        assert!(conf.contains("location /r000 {") && conf.contains("location / {"), "{conf}");
    }
}
