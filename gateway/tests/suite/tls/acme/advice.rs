//! When to renew, as the authority says (ARI, RFC 9773). Pebble's package does not know that, so
//! its directory is shown with a resource more, which is answered here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Authority, issued, serial};
use crate::support::{Gateway, eventually, tool};

const WHY: &str = "https://authority.example/why";
const DAY: Duration = Duration::from_secs(86_400);

/// Shows the directory of an authority, and answers what it is asked about certificates.
struct Adviser {
    address: SocketAddr,
    window: Arc<Mutex<(SystemTime, SystemTime)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Adviser {
    fn start(authority: &Authority, window: (SystemTime, SystemTime)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (config, pebble) = (config(authority), authority.port);
        let adviser = Self { address, window: Arc::new(Mutex::new(window)), asked: Arc::default() };
        let (window, asked) = (adviser.window.clone(), adviser.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let (window, asked) = (window.clone(), asked.clone());
                std::thread::spawn(move || {
                    let stream = StreamOwned::new(connection, stream);
                    serve(stream, |path| match path.strip_prefix("/advice/") {
                        None => directory(pebble, address.port()),
                        Some(certificate) => {
                            asked.lock().unwrap().push(certificate.to_owned());
                            advice(*window.lock().unwrap())
                        }
                    });
                });
            }
        });
        adviser
    }

    fn says(&self, window: (SystemTime, SystemTime)) {
        *self.window.lock().unwrap() = window;
    }
}

fn config(authority: &Authority) -> Arc<ServerConfig> {
    let path = |ending| authority.pki.path(&format!("pebble.{ending}"));
    let certificate = CertificateDer::from_pem_file(path("pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

/// Answers requests without bodies until the client is done.
fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    answer: impl Fn(&str) -> serde_json::Value,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
        }
        let body = answer(first.split(' ').nth(1).unwrap_or_default()).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRetry-After: 21600\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        if reader.get_mut().write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Pebble's directory, with what it does not have.
fn directory(pebble: u16, own: u16) -> serde_json::Value {
    let at = |path: &str| format!("https://localhost:{pebble}/{path}");
    serde_json::json!({
        "newNonce": at("nonce-plz"),
        "newAccount": at("sign-me-up"),
        "newOrder": at("order-plz"),
        "revokeCert": at("revoke-cert"),
        "keyChange": at("rollover-account-key"),
        "renewalInfo": format!("https://localhost:{own}/advice"),
    })
}

fn advice((from, until): (SystemTime, SystemTime)) -> serde_json::Value {
    let window = serde_json::json!({
        "start": sallyport_tls::utc(from),
        "end": sallyport_tls::utc(until),
    });
    serde_json::json!({ "suggestedWindow": window, "explanationURL": WHY })
}

#[test]
fn a_certificate_is_renewed_when_its_authority_says_so() {
    if !tool("pebble") || !tool("pebble-challtestsrv") {
        return;
    }
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let _running = authority.start();
    let now = SystemTime::now();
    let adviser = Adviser::start(&authority, (now - 2 * DAY, now - DAY));
    let yaml = |http, tls| {
        let yaml = authority.yaml("http-01", folder.path(), http, tls);
        let pebble = format!("localhost:{}/dir", authority.port);
        yaml.replace(&pebble, &format!("localhost:{}/dir", adviser.address.port()))
    };
    let yaml = yaml(authority.http, authority.tls);
    let figure = |gateway: &Gateway, name: &str, more: &str| {
        let labels = format!("account=\"pebble\",domain=\"a.example\"{more}");
        gateway.metric(&format!("sallyport_acme_{name}{{{labels}}}"))
    };
    let is_issued =
        |gateway: &Gateway| figure(gateway, "issues_total", ",result=\"issued\"") == Some(1.0);
    let gateway = Gateway::start(&yaml);
    gateway.logged("a certificate was issued");
    eventually("the first", || {
        is_issued(&gateway).then(|| figure(&gateway, "renewal_timestamp_seconds", ""))?
    });
    let first = serial(&gateway);
    drop(gateway);
    // It would live for years, and the authority wants it renewed since yesterday.
    let gateway = Gateway::start(&yaml);
    gateway.logged(WHY);
    assert_ne!(issued(&gateway, &first), first);
    eventually("the second", || is_issued(&gateway).then_some(()));
    drop(gateway);
    let asked = adviser.asked.lock().unwrap().clone();
    // Authority and serial number, in base64url.
    let is_identifier = |it: &String| it.split('.').count() == 2 && !it.contains(['/', '=', '+']);
    assert!(!asked.is_empty() && asked.iter().all(is_identifier), "{asked:?}");
    // The one after that is for another week.
    adviser.says((now + 10 * DAY, now + 12 * DAY));
    let gateway = Gateway::start(&yaml);
    let window = (now + 10 * DAY, now + 12 * DAY);
    let unix_s = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64().floor();
    eventually("a moment in the window", || {
        let at = figure(&gateway, "renewal_timestamp_seconds", "")?;
        (unix_s(window.0)..=unix_s(window.1)).contains(&at).then_some(())
    });
    assert!(gateway.config_view()["acme"][0]["renewal_unix_s"].is_number());
}
