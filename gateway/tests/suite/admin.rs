//! The admin listener: where it is, who is answered, and what is told.

#[path = "admin/access.rs"]
mod access;
#[path = "admin/history.rs"]
mod history;
#[path = "admin/page.rs"]
mod page;
#[path = "admin/secured.rs"]
mod secured;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde_json::Value;

use crate::support::{Gateway, PATIENCE, check, config, eventually, get, request, sallyport};

/// A request to the admin listener on a Unix socket; status and body.
fn ask(socket: &Path, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}

/// A configuration with this admin section.
fn with_admin(admin: &str) -> String {
    config("").replace("admin: { address: 127.0.0.1:0 }", &format!("admin: {admin}"))
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_the_process() {
    let folder = tempfile::tempdir().unwrap();
    for (name, written, mode) in [("a", "", 0o660), ("b", ", mode: \"0600\"", 0o600)] {
        let socket = folder.path().join(name);
        let yaml = with_admin(&format!("{{ address: \"unix:{}\"{written} }}", socket.display()));
        let mut gateway = Gateway::start(&yaml);
        gateway.logged(&format!("name=admin address=unix:{}", socket.display()));
        let (status, body) = eventually("an answer", || ask(&socket, "GET", "/healthz"));
        assert_eq!((status, body.as_str()), (200, "ok\n"));
        let metadata = std::fs::metadata(&socket).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, mode);
        // A reload moves it.
        let moved = folder.path().join("c");
        std::fs::write(&gateway.config, yaml.replace(&format!("/{name}\""), "/c\"")).unwrap();
        gateway.signal("-HUP");
        let (status, _) = eventually("an answer elsewhere", || ask(&moved, "GET", "/readyz"));
        assert_eq!(status, 200);
        eventually("the old one to go", || (!socket.exists()).then_some(()));
        gateway.signal("-TERM");
        assert!(gateway.wait().success());
        assert!(!moved.exists());
    }
}

#[test]
fn what_a_killed_process_left_is_taken_and_what_is_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let yaml = with_admin(&format!("{{ address: \"unix:{}\" }}", socket.display()));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "a socket stays behind when its process ends");
    let gateway = Gateway::start(&yaml);
    eventually("an answer", || ask(&socket, "GET", "/healthz"));
    let fails = |yaml: &str| {
        let file = folder.path().join("second.yaml");
        std::fs::write(&file, yaml).unwrap();
        let output = sallyport().args(["run", "--config"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = fails(&yaml);
    assert!(said.contains("another process listens there"), "{said}");
    assert_eq!(ask(&socket, "GET", "/healthz").unwrap().0, 200);
    drop(gateway);
    let file = folder.path().join("precious");
    std::fs::write(&file, "kept").unwrap();
    let said = fails(&with_admin(&format!("{{ address: \"unix:{}\" }}", file.display())));
    assert!(said.contains("no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn every_bad_value_is_told_with_its_remedy() {
    for (admin, said) in [
        ("{ address: 0.0.0.0:9901 }", "admin.address: 0.0.0.0:9901 is open to other machines"),
        ("{ address: 0.0.0.0:9901 }", "write 127.0.0.1:9901 or unix:/run/sallyport/admin.sock"),
        (
            "{ address: \"unix:admin.sock\" }",
            "admin.address: \"unix:admin.sock\": is not the whole",
        ),
        ("{ address: \"unix:/a/\" }", "ends with a slash"),
        ("{ address: nowhere }", "write IP:PORT such as 127.0.0.1:9901, or unix:/run/"),
        (
            "{ address: \"unix:/a\", mode: 660 }",
            "admin.mode: is 660, not a string, put it in quotes: \"660\"",
        ),
        ("{ address: \"unix:/a\", mode: \"0999\" }", "admin.mode: \"0999\": is no mode"),
        ("{ address: \"unix:/a\", mode: \"1777\" }", "is no mode of three octal digits"),
        ("{ address: 127.0.0.1:1, mode: \"0660\" }", "admin.mode: is for Unix sockets only"),
        ("{ address: 127.0.0.1:1, hosts: [\"a:1\"] }", "admin.hosts[0]: \"a:1\": is not the name"),
        ("{ address: 127.0.0.1:1, token_file: gone }", "cannot be read"),
        ("{ address: 127.0.0.1:1, read_token_file: test.yaml }", "stands without `token_file`"),
        ("{ address: 127.0.0.1:1, token_file: test.yaml }", "test.yaml holds no token"),
        ("{ address: 127.0.0.1:1, tls: {} }", "admin.tls: has no `certificates`"),
        ("{ address: 127.0.0.1:1, tokens: [] }", "admin.tokens: unknown key"),
    ] {
        let output = check(&with_admin(admin));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{admin}\n{told}");
        assert!(
            told.contains(said) && told.contains("test.yaml:3"),
            "{admin}\n{told}\nlacks {said}"
        );
    }
    assert!(check(&with_admin("{ address: \"unix:/run/a.sock\" }")).status.success());
}

#[test]
fn what_is_logged_is_changed_while_it_runs() {
    let gateway = Gateway::start(&config(""));
    let view = |path: &str| -> Value {
        serde_json::from_str(&get(gateway.admin(), "localhost", path).body).unwrap()
    };
    assert_eq!(view("/log")["level"], "info");
    assert_eq!(view("/log")["format"], "text");
    let put = |query: &str| {
        let text =
            format!("PUT /log{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        request(gateway.admin(), &text)
    };
    assert_eq!(put("?level=error").status, 200);
    assert_eq!(view("/log")["level"], "error");
    let before = gateway.log().len();
    gateway.signal("-HUP");
    assert_eq!(put("?level=info,sallyport=debug").status, 200);
    gateway.logged("what is logged was changed");
    assert!(gateway.log().len() <= before + 2, "{:#?}", gateway.log());
    for bad in ["?level=loud", "?level=", "", "?level=info&level=debug", "?levle=info"] {
        let refused = put(bad);
        assert_eq!(refused.status, 400, "{bad}");
        let problem: Value = serde_json::from_str(&refused.body).unwrap();
        assert_eq!(problem["status"], 400);
    }
    assert_eq!(view("/log")["level"], "info,sallyport=debug");
}

#[test]
fn the_description_is_of_what_there_is() {
    let gateway = Gateway::start(&config(""));
    let admin = |method: &str, path: &str| {
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        request(gateway.admin(), &text)
    };
    let document: Value = serde_json::from_str(&admin("GET", "/openapi.json").body).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let index = admin("GET", "/").body;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            if path == "/upgrade" {
                // Another process would answer the rest: suite `upgrade`.
                continue;
            }
            let (mut asked, mut query) = (path.clone(), String::new());
            for parameter in operation["parameters"].as_array().unwrap() {
                let name = parameter["name"].as_str().unwrap();
                let example = match &parameter["example"] {
                    Value::Array(items) => items[0].as_str().unwrap().to_owned(),
                    Value::Number(number) => number.to_string(),
                    example => example.as_str().unwrap().to_owned(),
                };
                let example = example.replace(' ', "%20").replace('=', "%3D").replace('?', "%3F");
                asked = asked.replace(&format!("{{{name}}}"), &example);
                if parameter["in"] == "query" {
                    query +=
                        &format!("{}{name}={example}", if query.is_empty() { "?" } else { "&" });
                }
            }
            let answer = admin(&method, &format!("{asked}{query}"));
            let described = &operation["responses"][answer.status.to_string()];
            assert!(described.is_object(), "{method} {path}: {} {}", answer.status, answer.body);
            if let Some(content) = described["content"].as_object() {
                let media = answer.field("content-type").unwrap();
                let is_described = content.keys().any(|it| media.starts_with(it.as_str()));
                assert!(is_described, "{method} {path}: {media}");
            }
            assert!(index.contains(path.as_str()), "{path} is not in\n{index}");
            // And nothing else can be done there.
            let other = admin("PATCH", &asked);
            assert_eq!(other.status, 405, "{path}");
            assert!(other.field("allow").unwrap().contains(&method), "{path}: {}", other.head);
        }
    }
}

#[test]
fn problems_are_told_as_rfc9457_has_them() {
    let gateway = Gateway::start(&config(""));
    for (line, status) in [
        ("GET /nothing", 404),
        ("POST /config", 405),
        ("GET /explain?host=x", 400),
        ("GET /explain?host=x&path=/&colour=red", 400),
        ("GET /explain?host=x&path=/&client=nobody", 400),
        ("GET /config/history?x=1", 400),
        ("DELETE /verdicts/nobody", 400),
        ("DELETE /verdicts/192.0.2.1", 404),
        ("DELETE /verdicts/%ff", 400),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = request(gateway.admin(), &text);
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        assert_eq!(answer.field("content-type").unwrap(), "application/problem+json", "{line}");
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], status, "{line}");
        assert!(problem["title"].is_string() && problem["type"] == "about:blank", "{line}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{line}");
    }
}
