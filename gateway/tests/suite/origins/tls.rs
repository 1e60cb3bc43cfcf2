//! TLS to origins: who is believed, what is shown, and what fails how.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::certificates::{Authority, server};
use super::{ask, upstream};
use crate::support::{Gateway, Response, check, eventually, sallyport, write_by_rename};

/// An origin that speaks TLS and answers every request with what it knows of the connection.
struct TlsOrigin {
    address: SocketAddr,
    /// The kinds of handshakes that succeeded.
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    requests: Arc<Mutex<usize>>,
}

impl TlsOrigin {
    /// `keep` is whether connections serve more than one request.
    fn start(config: Arc<ServerConfig>, keep: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (handshakes, requests) = (Arc::default(), Arc::default());
        let origin =
            Self { address, handshakes: Arc::clone(&handshakes), requests: Arc::clone(&requests) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let (handshakes, requests) = (handshakes.clone(), requests.clone());
                thread::spawn(move || {
                    let stream = StreamOwned::new(connection, stream);
                    serve(stream, keep, &handshakes, &requests);
                });
            }
        });
        origin
    }

    fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }
}

fn serve(
    stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    keep: bool,
    handshakes: &Mutex<Vec<HandshakeKind>>,
    requests: &Mutex<usize>,
) {
    let mut reader = BufReader::new(stream);
    let mut is_first = true;
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        let connection = &reader.get_ref().conn;
        if std::mem::take(&mut is_first) {
            handshakes.lock().unwrap().extend(connection.handshake_kind());
        }
        *requests.lock().unwrap() += 1;
        let name = connection.server_name().unwrap_or("none");
        let shown = connection.peer_certificates().map_or(0, <[_]>::len);
        let body = format!("sni={name} certificates={shown}");
        let close = if keep { "" } else { "Connection: close\r\n" };
        let answer =
            format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n{body}", body.len());
        if reader.get_mut().write_all(answer.as_bytes()).is_err() || !keep {
            reader.get_mut().conn.send_close_notify();
            reader.get_mut().flush().ok();
            return;
        }
    }
}

fn gateway(tls: &str, endpoint: &str) -> Gateway {
    Gateway::start_single(&upstream(&format!(
        "tls: {tls}\nendpoints: [ {{ address: \"{endpoint}\" }} ]"
    )))
}

fn is_refused(response: &Response) -> bool {
    (response.status, response.error().as_deref()) == (502, Some("tls"))
}

#[test]
fn names_and_addresses_are_verified_with_the_file_of_authorities() {
    let authority = Authority::new();
    let ca = authority.file();
    for (names, endpoint, server_name, sni) in [
        (&["localhost"][..], "localhost", "", "localhost"),
        (&["127.0.0.1"], "127.0.0.1", "", "none"),
        (&["api.internal"], "127.0.0.1", "server_name: api.internal, ", "api.internal"),
    ] {
        let origin = TlsOrigin::start(server(&authority.issue(names), None, &[]), true);
        let endpoint = format!("{endpoint}:{}", origin.address.port());
        let gateway = gateway(&format!("{{ {server_name}ca: {} }}", ca.display()), &endpoint);
        let response = eventually("an endpoint", || {
            let response = ask(&gateway);
            (response.status != 503).then_some(response)
        });
        assert_eq!(
            (response.status, &*response.body),
            (200, &*format!("sni={sni} certificates=0"))
        );
        assert_eq!(ask(&gateway).status, 200);
        gateway.counts("sallyport_connection_reuse_total{upstream=\"up\",reused=\"true\"}", 1.0);
    }
}

#[test]
fn what_is_not_verified_gets_no_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = |origin: &TlsOrigin| origin.address.port();
    let own = TlsOrigin::start(server(&authority.issue(&["api.internal"]), None, &[]), true);
    let ca = format!("ca: {}", authority.file().display());
    let foreign = format!("ca: {}", other.file().display());
    for (what, tls, endpoint) in [
        ("a wrong name", format!("{{ server_name: web.internal, {ca} }}"), "127.0.0.1"),
        // Without a name to send, the address itself must be in the certificate.
        ("an address without a name", format!("{{ {ca} }}"), "127.0.0.1"),
        ("a wrong authority", format!("{{ server_name: api.internal, {foreign} }}"), "127.0.0.1"),
        ("the system's authorities", "{ server_name: api.internal }".to_owned(), "127.0.0.1"),
    ] {
        let gateway = gateway(&tls, &format!("{endpoint}:{}", port(&own)));
        let response = ask(&gateway);
        assert!(is_refused(&response), "{what}: {response:?}");
        assert_eq!(own.requests(), 0, "{what}");
    }
    let gateway = gateway("{ insecure: { verify: false } }", &format!("127.0.0.1:{}", port(&own)));
    assert_eq!(ask(&gateway).status, 200);
}

#[test]
fn an_origin_without_tls_is_a_failed_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // As servers that are spoken to in TLS by mistake do.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").ok();
        }
    });
    let gateway = gateway("{}", &address.to_string());
    assert!(is_refused(&ask(&gateway)));
}

#[test]
fn client_certificates_are_shown() {
    let authority = Authority::new();
    let config = server(&authority.issue(&["127.0.0.1"]), Some(&authority), &[]);
    let origin = TlsOrigin::start(config, true);
    let own = authority.issue(&["gateway.internal"]);
    let ca = authority.file();
    let tls = format!(
        "{{ ca: {}, client_certificate: {{ cert: {}, key: {} }} }}",
        ca.display(),
        own.cert.display(),
        own.key_file.display()
    );
    let with = gateway(&tls, &origin.address.to_string());
    assert_eq!(ask(&with).body, "sni=none certificates=1");
    let without = gateway(&format!("{{ ca: {} }}", ca.display()), &origin.address.to_string());
    assert_eq!(ask(&without).status, 502);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn files_are_watched_and_what_was_verified_before_is_verified_again() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = TlsOrigin::start(server(&authority.issue(&["127.0.0.1"]), None, &[]), true);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::copy(authority.file(), &ca).unwrap();
    let gateway = gateway(&format!("{{ ca: {} }}", ca.display()), &origin.address.to_string());
    assert_eq!(ask(&gateway).status, 200);
    // The pool has a connection, and it is not used for peers that believe others.
    write_by_rename(&ca, &std::fs::read_to_string(other.file()).unwrap());
    eventually("the other authority in force", || is_refused(&ask(&gateway)).then_some(()));
    write_by_rename(&ca, "nothing");
    gateway.logged("holds no certificate");
    write_by_rename(&ca, &std::fs::read_to_string(authority.file()).unwrap());
    eventually("the first authority in force", || (ask(&gateway).status == 200).then_some(()));
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(server(&authority.issue(&["localhost"]), None, &[]), false);
    let mut command = sallyport();
    command.env("SSL_CERT_FILE", authority.file()).env_remove("SSL_CERT_DIR");
    let keys = format!(
        "tls: {{ server_name: localhost }}\nendpoints: [ {{ address: \"{}\" }} ]",
        origin.address
    );
    let gateway = Gateway::start_with(&upstream(&keys), command);
    eventually("a resumed session", || {
        assert_eq!(ask(&gateway).status, 200);
        origin.handshakes.lock().unwrap().contains(&HandshakeKind::Resumed).then_some(())
    });
}

#[test]
fn bad_files_are_told() {
    let authority = Authority::new();
    let (own, others) = (authority.issue(&["a.internal"]), authority.issue(&["b.internal"]));
    let pair = |cert: &std::path::Path, key: &std::path::Path| {
        format!("client_certificate: {{ cert: {}, key: {} }}", cert.display(), key.display())
    };
    for (tls, told) in [
        (pair(&own.cert, &others.key_file), "the key is not the certificate's"),
        (pair(&own.key_file, &own.key_file), "holds no certificate"),
        (pair(&own.cert, &own.cert), "holds no private key"),
        ("ca: /nonexistent.pem".to_owned(), "/nonexistent.pem cannot be read"),
        (format!("ca: {}", own.key_file.display()), "holds no certificate"),
        ("server_name: \"a b\"".to_owned(), "is no name that a certificate can be for"),
        (
            format!("ca: {}, insecure: {{ verify: false }}", own.cert.display()),
            "`ca` has no effect",
        ),
        ("verify: false".to_owned(), "verify"),
    ] {
        let keys = format!("tls: {{ {tls} }}\nendpoints: [ {{ address: \"a:80\" }} ]");
        let output = check(&upstream(&keys));
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{tls}: {text}");
        assert!(text.contains(told), "{tls}: {text}");
    }
}
