//! curl and `openssl s_client`.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::pki::Pki;
use super::{answering, forwarding, with_tls};
use crate::support::{Gateway, Origin, tool};

/// What curl prints of `https://HOST/` with `arguments`: the body, the version of HTTP and the status.
fn curl(pki: &Pki, address: SocketAddr, host: &str, arguments: &[&str]) -> Result<String, String> {
    let (port, ca) = (address.port(), pki.path("ca.pem"));
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(["-w", " %{http_version} %{http_code}", "--cacert"])
        .arg(ca)
        .args(arguments)
        .arg(format!("https://{host}:{port}/"))
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// What `openssl s_client` prints with `arguments`, given `input`.
fn s_client(pki: &Pki, address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("timeout")
        .args(["-k", "1", "20", "openssl", "s_client", "-connect", &address.to_string(), "-CAfile"])
        .arg(pki.path("ca.pem"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Where the handshake fails, nobody reads it.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";

#[test]
fn curl_speaks_every_version_that_there_is() {
    if !tool("curl") {
        return;
    }
    let (pki, origin) = (Pki::new("test"), Origin::named("origin"));
    pki.issue("site", &["a.example", "*.b.example"]);
    let tls = format!("{{ certificates: [{}] }}", pki.entry("site"));
    let gateway = Gateway::start(&with_tls(&tls, &forwarding(origin.address)));
    let web = gateway.web();
    for (arguments, version) in [
        (&["--http1.1"][..], "1.1"),
        (&["--http2"], "2"),
        (&["--tls-max", "1.2", "--http1.1"], "1.1"),
        (&["--tls-max", "1.2", "--http2"], "2"),
        (&["--tlsv1.3", "--http2"], "2"),
    ] {
        let printed = curl(&pki, web, "a.example", arguments).unwrap();
        assert_eq!(printed, format!("origin {version} 200"), "{arguments:?}");
        assert_eq!(origin.last().fields("x-forwarded-proto"), ["https"]);
    }
    assert!(curl(&pki, web, "x.b.example", &[]).is_ok());
    assert!(curl(&pki, web, "x.y.b.example", &[]).is_err(), "a wildcard is one label");
    gateway.counts(
        r#"sallyport_tls_handshakes_total{listener="web",version="1.2",result="success"}"#,
        2.0,
    );
    gateway.counts(r#"sallyport_tls_handshakes_active{listener="web"}"#, 0.0);
}

#[test]
fn curl_is_held_to_the_oldest_version_and_to_the_protocols() {
    if !tool("curl") {
        return;
    }
    let pki = Pki::new("test");
    pki.issue("site", &["a.example"]);
    let tls = format!("{{ min_version: \"1.3\", certificates: [{}] }}", pki.entry("site"));
    let yaml = with_tls(&tls, &answering("hello")).replace(
        "    address: 127.0.0.1:0\n",
        "    address: 127.0.0.1:0\n    protocols: [http1]\n",
    );
    let gateway = Gateway::start(&yaml);
    let printed = curl(&pki, gateway.web(), "a.example", &["--http2"]).unwrap();
    assert_eq!(printed, "hello 1.1 200");
    assert!(curl(&pki, gateway.web(), "a.example", &["--tls-max", "1.2"]).is_err());
    gateway.counts(
        r#"sallyport_tls_handshakes_total{listener="web",version="1.2",result="version"}"#,
        1.0,
    );
}

#[test]
fn openssl_is_shown_name_protocol_and_version() {
    if !tool("openssl") {
        return;
    }
    let pki = Pki::new("test");
    pki.issue("first", &["first.example"]);
    pki.issue("second", &["second.example"]);
    let (first, second) = (pki.entry("first"), pki.entry("second"));
    let tls = format!("{{ default: refuse, certificates: [{first}, {second}] }}");
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    let ask = |arguments: &[&str]| s_client(&pki, gateway.web(), arguments, "");
    let shown = ask(&["-servername", "second.example", "-alpn", "h2,http/1.1", "-tls1_3"]);
    assert!(shown.contains("Verify return code: 0 (ok)"), "{shown}");
    assert!(shown.contains("ALPN protocol: h2") && shown.contains("TLSv1.3"), "{shown}");
    let shown = ask(&["-servername", "first.example", "-alpn", "http/1.1", "-tls1_2"]);
    assert!(shown.contains("ALPN protocol: http/1.1"), "{shown}");
    // No suite of static RSA or CBC is there to be agreed on.
    let old =
        ["-servername", "first.example", "-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA"];
    assert!(ask(&old).contains("handshake failure"), "{}", ask(&old));
    for unknown in [&["-servername", "third.example"][..], &["-noservername"]] {
        let shown = ask(unknown);
        assert!(shown.contains("unrecognized name"), "{shown}");
    }
    let kind =
        r#"sallyport_tls_handshakes_total{listener="web",version="1.3",result="unknown_name"}"#;
    gateway.counts(kind, 2.0);
    assert!(ask(&["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"]).contains("protocol version"));
}

#[test]
fn openssl_resumes_sessions_and_may_not_renegotiate() {
    if !tool("openssl") {
        return;
    }
    let pki = Pki::new("test");
    pki.issue("site", &["a.example"]);
    let tls = format!("{{ certificates: [{}] }}", pki.entry("site"));
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    let session = pki.path("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let name = ["-servername", "a.example", "-quiet", version];
        let kept =
            s_client(&pki, gateway.web(), &[&name[..], &["-sess_out", &session]].concat(), REQUEST);
        assert!(kept.contains("hello"), "{kept}");
        let named = ["-servername", "a.example", version, "-sess_in", &session];
        let shown = s_client(&pki, gateway.web(), &named, "");
        assert!(shown.contains("Reused, TLSv1."), "{shown}");
    }
    gateway.counts(r#"sallyport_tls_resumptions_total{listener="web"}"#, 2.0);
    let alone = ["-servername", "a.example", "-tls1_2", "-msg"];
    let shown = s_client(&pki, gateway.web(), &alone, "R\n");
    assert!(shown.contains("Secure Renegotiation IS supported"), "{shown}");
    assert!(shown.contains("no_renegotiation"), "{shown}");
}

#[test]
fn openssl_is_shown_the_staple() {
    if !tool("openssl") {
        return;
    }
    let pki = Pki::new("test");
    pki.issue_changed("site", &["a.example"], |params| {
        params.serial_number = Some(vec![0x0a, 0xbc].into());
    });
    fs::write(pki.path("index"), "V\t351231235959Z\t\t0ABC\tunknown\t/CN=site\n").unwrap();
    let openssl = |arguments: &[&str]| {
        let folder = pki.path("");
        let output = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(&["ocsp", "-issuer", "ca.pem", "-cert", "site.pem", "-reqout", "request"]);
    let answer = ["-rkey", "ca.key", "-reqin", "request", "-respout", "site.ocsp", "-ndays", "7"];
    openssl(
        &[&["ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem"], &answer[..]]
            .concat(),
    );
    let entry =
        pki.entry("site").replace(" }", &format!(", ocsp: {} }}", pki.path("site.ocsp").display()));
    let tls = format!("{{ certificates: [{entry}] }}");
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    let shown = s_client(&pki, gateway.web(), &["-servername", "a.example", "-status"], "");
    assert!(shown.contains("OCSP Response Status: successful"), "{shown}");
    assert!(shown.contains("Cert Status: good"), "{shown}");
}
