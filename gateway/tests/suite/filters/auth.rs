//! Who may pass: `jwt` and `basic_auth` before an origin that must hear nothing of whoever may not, and
//! whose refusals look alike to the byte.

#[path = "auth/issuer.rs"]
mod issuer;
#[path = "auth/keys.rs"]
mod keys;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use self::issuer::{Issuer, claims, now, unsigned};
use crate::support::{Client, Gateway, Origin, Response, config, tool};

/// A file of a filter's folder.
fn shipped(path: &str) -> String {
    let builtin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/src/builtin");
    std::fs::read_to_string(builtin.join(path)).unwrap()
}

/// Everything to `origin` past `filter`, with a file beside the configuration.
fn gateway(origin: &Origin, filter: &str, file: (&str, &str)) -> Gateway {
    let yaml = config(&format!(
        "upstreams:\n  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters: [{{ {filter} }}]
    routes: [{{ name: everything, forward: {{ upstream: up }} }}]
",
        origin.address
    ));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file.0), file.1).unwrap();
    let path = folder.path().join("sallyport.yaml");
    std::fs::write(&path, yaml).unwrap();
    Gateway::start_in(folder, path)
}

#[test]
fn the_commands_that_the_documentation_gives_make_hashes_that_let_in() {
    if !tool("htpasswd") || !tool("argon2") {
        return;
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"open sesame").unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let documented = shipped("basic_auth/README.md");
    assert!(
        documented.contains("htpasswd -nBC 10 ann")
            && documented.contains("-id -k 19456 -t 2 -p 1 -e")
    );
    // `-i` reads the password where the documented command asks for it, and the cost is the least.
    let mut users = run("htpasswd", &["-niBC", "4", "ann"]);
    let hash =
        run("argon2", &["0123456789abcdef", "-id", "-k", "19456", "-t", "2", "-p", "1", "-e"]);
    users.push_str(&format!("jörg:{hash}"));
    let origin = Origin::named("inside");
    let filter = "basic_auth: { file: users.txt, realm: r, user_header: x-user }";
    let gateway = gateway(&origin, filter, ("users.txt", &users));
    let mut client = Client::connect(gateway.web());
    for (name, password, status) in
        [("ann", "open sesame", 200), ("jörg", "open sesame", 200), ("ann", "open", 401)]
    {
        let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        assert_eq!(send(&mut client, &[value.into_bytes()]).status, status, "{name} {password}");
    }
}

/// Values of `Authorization` that must be refused, with a word on each.
type Refused = Vec<(&'static str, Vec<Vec<u8>>)>;

fn send(client: &mut Client, values: &[Vec<u8>]) -> Response {
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for value in values {
        request.extend([b"Authorization: ", &**value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    client.send(request).receive()
}

/// All that a client can see of a response but the time.
fn seen(response: &Response) -> (String, String) {
    let lines = response.head.split_inclusive("\r\n");
    let timeless = lines.filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    (timeless.collect(), response.body.clone())
}

/// All of `refused` get the answer to a request with the fields `like`; then `good` pass on the same
/// connection.
fn all_look_alike(
    gateway: &Gateway,
    origin: &Origin,
    like: &[Vec<u8>],
    refused: Refused,
    good: &[String],
) {
    let mut client = Client::connect(gateway.web());
    let answer = send(&mut client, like);
    assert_eq!(answer.status, 401);
    let expected = seen(&answer);
    for (what, values) in refused {
        assert_eq!(seen(&send(&mut client, &values)), expected, "{what}");
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    for value in good {
        let response = send(&mut client, &[value.clone().into_bytes()]);
        assert_eq!((response.status, &*response.body), (200, "one"), "{value}");
    }
    assert_eq!(origin.requests().len(), good.len());
}

/// Tokens that nobody may get in with.
fn bad_tokens(issuer: &Issuer) -> Vec<(&'static str, String)> {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        issuer.token(&claims)
    };
    let header = json!({ "alg": "ES256", "kid": "es" });
    let good = issuer.token(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = unsigned(&header, &json!({ "iss": "me", "aud": "shop", "exp": now() + 3600 }));
    let mut changed = URL_SAFE_NO_PAD.decode(signature).unwrap();
    changed[7] ^= 1;
    vec![
        ("tampered payload", format!("{forged}.{signature}")),
        ("tampered signature", format!("{head}.{}", URL_SAFE_NO_PAD.encode(changed))),
        ("no signature", format!("{head}.")),
        ("expired", with("exp", (now() - 60).into())),
        ("no expiry", with("exp", Value::Null)),
        ("not yet valid", with("nbf", (now() + 600).into())),
        ("wrong audience", with("aud", "bank".into())),
        ("wrong issuer", with("iss", "you".into())),
        ("wrong key", Issuer::new("es").token(&claims())),
        ("unknown kid", issuer.sign(&json!({ "alg": "ES256", "kid": "x" }), &claims())),
        ("9 KiB", with("sub", "x".repeat(9 << 10).into())),
        ("9 KiB of nothing", "x".repeat(9 << 10)),
        ("words", "not a token".into()),
        ("dots", "..".into()),
    ]
}

/// Unsigned tokens, and one signed with the public RSA key as if it were a secret.
fn confused_tokens() -> Vec<(&'static str, String)> {
    let unsigned_by = |alg| (alg, format!("{}.", unsigned(&json!({ "alg": alg }), &claims())));
    let mut tokens: Vec<_> = ["none", "None", "NONE", "nOnE", ""].map(unsigned_by).into();
    let modulus = URL_SAFE_NO_PAD.decode(rsa_jwk()["n"].as_str().unwrap()).unwrap();
    let message = unsigned(&json!({ "alg": "HS256", "kid": "rs" }), &claims());
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &modulus);
    let tag = ring::hmac::sign(&secret, message.as_bytes());
    tokens.push(("HS256", format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))));
    tokens
}

fn rsa_jwk() -> Value {
    let set: Value = serde_json::from_str(&shipped("jwt/jwks.json")).unwrap();
    set["keys"].as_array().unwrap().iter().find(|key| key["kty"] == "RSA").unwrap().clone()
}

#[test]
fn every_bad_token_gets_the_same_answer_to_the_byte() {
    let (origin, issuer) = (Origin::named("one"), Issuer::new("es"));
    let jwks = json!({ "keys": [issuer.jwk(), rsa_jwk()] }).to_string();
    let filter = "jwt: { jwks: { file: jwks.json }, issuer: me, audience: [shop] }";
    let gateway = gateway(&origin, filter, ("jwks.json", &jwks));
    let good = format!("Bearer {}", issuer.token(&claims()));
    let one = |(what, token): (_, String)| (what, vec![format!("Bearer {token}").into_bytes()]);
    let mut refused: Refused = bad_tokens(&issuer).into_iter().map(one).collect();
    refused.extend(confused_tokens().into_iter().map(one));
    let bytes = |value: &[u8]| vec![value.to_vec()];
    refused.extend([
        ("two fields", vec![good.clone().into_bytes(); 2]),
        ("a good and a bad field", vec![good.clone().into_bytes(), b"Bearer x".to_vec()]),
        ("bytes that are no text", bytes(b"Bearer \xff\xfe.\x80.\xc3")),
        ("a good token and such bytes", bytes(&[good.as_bytes(), b"\xff"].concat())),
    ]);
    // RFC 6750, 3.1: who brings no token is told of no error.
    let without: Refused = vec![
        ("the scheme alone", bytes(b"Bearer")),
        ("no token after it", bytes(b"Bearer ")),
        ("an empty field", bytes(b"")),
        ("another scheme", bytes(b"Basic YW5uOm9wZW4gc2VzYW1l")),
    ];
    all_look_alike(&gateway, &origin, &bytes(b"Bearer words"), refused, &[]);
    all_look_alike(&gateway, &origin, &[], without, &[good]);
}

#[test]
fn every_bad_password_gets_the_same_answer_to_the_byte() {
    let origin = Origin::named("one");
    let filter = "basic_auth: { file: users.txt, realm: staff only }";
    let gateway = gateway(&origin, filter, ("users.txt", &shipped("basic_auth/users.txt")));
    let basic = |credentials: &[u8]| format!("Basic {}", STANDARD.encode(credentials));
    let one = |credentials: &[u8]| vec![basic(credentials).into_bytes()];
    let bytes = |value: &[u8]| vec![value.to_vec()];
    let good = [basic(b"ann:open sesame"), basic("jörg:größe".as_bytes())];
    let refused: Refused = vec![
        ("a wrong password", one(b"ann:sesame")),
        ("no password", one(b"ann:")),
        ("somebody else's password", one("ann:größe".as_bytes())),
        ("an unknown name", one(b"bob:open sesame")),
        ("no name", one(b":open sesame")),
        ("no base64", bytes(b"Basic !!!!")),
        ("half a base64", bytes(b"Basic YW5uOm9wZW4gc2VzYW1")),
        ("no UTF-8", one(b"ann:\xff\xfe")),
        ("bytes that are no text", bytes(b"Basic \xff\xfe")),
        ("no colon", one(b"ann")),
        ("a control character", one(b"ann:open sesame\0")),
        ("too long for bcrypt", one(&[b"ann:".to_vec(), vec![b'x'; 100]].concat())),
        ("huge", one(&[b"ann:".to_vec(), vec![b'x'; 9 << 10]].concat())),
        ("the scheme alone", bytes(b"Basic")),
        ("nothing after it", bytes(b"Basic ")),
        ("an empty field", bytes(b"")),
        ("another scheme", bytes(b"Bearer YW5uOm9wZW4gc2VzYW1l")),
        ("two fields", vec![good[0].clone().into_bytes(); 2]),
    ];
    all_look_alike(&gateway, &origin, &[], refused, &good);
}
