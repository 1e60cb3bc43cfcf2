//! nginx as the origin behind every proxy.
//!
//! Owns the file that the origin is started with, and what any nginx of these tests has around its
//! servers: one worker with no access log that keeps everything it writes in the run's own folder.
//! nginx as a proxy is in [`crate::proxies::nginx`].

use crate::bench::SEEN;
use std::net::SocketAddr;
use std::path::Path;

/// Largest body the origin can be asked for: what fits into one of nginx's parameters by reference.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What the other origin answers with.
pub const OTHER_BODY: &str = "other";
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
    origin_at(&[listen], None, body_bytes, dir)
}

/// The same at many addresses, and another at `other` that answers with [`OTHER_BODY`].
pub fn origin_at(
    listen: &[SocketAddr],
    other: Option<SocketAddr>,
    body_bytes: usize,
    dir: &Path,
) -> String {
    let piece = "x".repeat(PIECE_BYTES);
    let pieces = "$k".repeat(body_bytes / PIECE_BYTES);
    let rest = "x".repeat(body_bytes % PIECE_BYTES);
    let listen: String = listen.iter().map(|at| format!("listen {at} backlog=4096;\n")).collect();
    let other = other.map(|at| {
        format!("server {{ listen {at}; location / {{ return 200 \"{OTHER_BODY}\"; }} }}\n")
    });
    let server = format!(
        "server {{ {listen}default_type text/plain; add_header x-origin loadtest;\n\
         set $k \"{piece}\"; location / {{ return 200 \"{pieces}{rest}\"; }}\n\
         location = {SEEN} {{ return 200 \"$http_x_h1,$http_x_h2,$http_x_h3,$http_x_h4,\
         $http_x_h5,$http_x_wasm\"; }} }}\n{}",
        other.unwrap_or_default()
    );
    around("origin", &server, 1, dir)
}

/// The configuration of so many workers with `servers` in it, called `name` wherever it needs a name.
pub fn around(name: &str, servers: &str, workers: usize, dir: &Path) -> String {
    let dir = dir.display();
    // Started by root, workers would become another user and could not enter the run's folder.
    let user = if rustix::process::geteuid().is_root() { "user root root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes {workers};\nworker_rlimit_nofile {files};\n\
         pid {dir}/{name}.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections {WORKER_CONNECTIONS}; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 100000000;\nkeepalive_timeout 3600s;\n\
         client_body_temp_path {dir}/{name}-body;\nproxy_temp_path {dir}/{name}-proxy;\n\
         fastcgi_temp_path {dir}/{name}-fastcgi;\nuwsgi_temp_path {dir}/{name}-uwsgi;\n\
         scgi_temp_path {dir}/{name}-scgi;\n{servers}}}\n",
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
    fn one_origin_listens_in_many_places_and_the_other_in_one() {
        let other = "127.0.0.1:8081".parse().unwrap();
        let conf = origin_at(&[address(), other], Some(other), 5, Path::new("/run/test"));
        assert_eq!(conf.matches("listen 127.0.0.1:808").count(), 3);
        assert!(conf.contains("return 200 \"other\""), "{conf}");
    }
}
