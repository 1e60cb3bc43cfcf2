//! Who is answered: pages of other origins are not, nor who shows no token where one is asked for.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{Client, Gateway, PATIENCE, Response, config, eventually, get, request};

fn ask(admin: SocketAddr, line: &str, fields: &str) -> Response {
    request(admin, &format!("{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"))
}

#[test]
fn names_that_are_not_ours_and_pages_of_others_are_refused() {
    let yaml = config("").replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: 127.0.0.1:0, hosts: [admin.example.com] }",
    );
    let gateway = Gateway::start(&yaml);
    let admin = gateway.admin();
    for path in ["/config", "/metrics", "/readyz", "/nothing"] {
        for host in ["evil.example", "localhost.evil.example", "admin.example.com.evil.example"] {
            let refused = ask(admin, &format!("GET {path}"), &format!("Host: {host}\r\n"));
            assert_eq!(refused.status, 403, "{host}{path}");
            assert_eq!(refused.field("content-type").unwrap(), "application/problem+json");
            let problem: Value = serde_json::from_str(&refused.body).unwrap();
            assert!(problem["detail"].as_str().unwrap().contains(host), "{problem}");
        }
    }
    for host in ["localhost", "127.0.0.1", "[::1]:1", "admin.example.com", "ADMIN.example.com:80"] {
        let answered = ask(admin, "GET /config", &format!("Host: {host}\r\n"));
        assert_eq!(answered.status, 200, "{host}");
        assert_eq!(answered.field("cache-control").unwrap(), "no-store");
    }
    let own = format!("Host: {admin}\r\nOrigin: http://{admin}\r\n");
    assert_eq!(ask(admin, "GET /config", &own).status, 200);
    assert_eq!(ask(admin, "PUT /log?level=info", &own).status, 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let fields = format!("Host: {admin}\r\nOrigin: {origin}\r\n");
        assert_eq!(ask(admin, "GET /config", &fields).status, 403, "{origin}");
        assert_eq!(ask(admin, "PUT /log?level=trace", &fields).status, 403, "{origin}");
    }
    assert_eq!(ask(admin, "GET /config", "").status, 400);
    assert_eq!(request(admin, "GET /healthz HTTP/1.0\r\n\r\n").status, 200);
    let view: Value = serde_json::from_str(&get(admin, "localhost", "/log").body).unwrap();
    assert_eq!(view["level"], "info");
}

#[test]
fn a_token_is_asked_for_and_may_be_exchanged_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("all"), "first-secret\n").unwrap();
    std::fs::write(file("some"), "reader").unwrap();
    let yaml = config("").replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: 0.0.0.0:0, token_file: all, read_token_file: some }",
    );
    std::fs::write(file("sallyport.yaml"), &yaml).unwrap();
    let config = file("sallyport.yaml");
    let gateway = Gateway::start_in(folder, config.clone());
    let admin = SocketAddr::from(([127, 0, 0, 1], gateway.admin().port()));
    let with = |line: &str, token: &str| {
        ask(admin, line, &format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n"))
    };
    for path in ["/healthz", "/readyz", "/config", "/metrics", "/", "/nothing"] {
        let refused = ask(admin, &format!("GET {path}"), "Host: localhost\r\n");
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.field("www-authenticate").unwrap().starts_with("Bearer"), "{path}");
        assert_eq!(with(&format!("GET {path}"), "guess").status, 401, "{path}");
    }
    assert_eq!(with("GET /config", "first-secret").status, 200);
    assert_eq!(with("GET /config", "reader").status, 200);
    assert_eq!(with("PUT /log?level=info", "reader").status, 403);
    assert_eq!(with("PUT /log?level=info", "first-secret").status, 200);
    // Neither of them is told anywhere.
    for path in ["/config", "/config/history"] {
        let body = with(&format!("GET {path}"), "reader").body;
        assert!(!body.contains("first-secret") && !body.contains("reader\""), "{body}");
    }
    let beside = config.with_file_name("new");
    std::fs::write(&beside, "second-secret\n").unwrap();
    std::fs::rename(&beside, config.with_file_name("all")).unwrap();
    eventually("the new token", || {
        (with("GET /config", "second-secret").status == 200).then_some(())
    });
    assert_eq!(with("GET /config", "first-secret").status, 401);
}

#[test]
fn idle_connections_and_scrapes_keep_nobody_waiting() {
    let gateway = Gateway::start(&config(""));
    let admin = gateway.admin();
    let mut idle: Vec<Client> = (0..40).map(|_| Client::connect(admin)).collect();
    for client in &mut idle {
        client.send("GET /config HTTP/1.1\r\nHost: ");
    }
    let began = std::time::Instant::now();
    assert_eq!(get(admin, "localhost", "/healthz").status, 200);
    assert!(began.elapsed() < PATIENCE / 4);
    // What they had begun is answered once it has come.
    for client in &mut idle {
        assert_eq!(client.send("localhost\r\n\r\n").receive().status, 200);
    }
}
