use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature as by;
use serde_json::{Value, json};

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

mod fetching;

const CONFIG: &str = "{ jwks: { file: src/builtin/jwt/jwks.json }, issuer: me, audience: [shop] }";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "iss": "me", "aud": "shop", "sub": "ann", "exp": now() + 60 })
}

/// The claims with one of them other.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn der(name: &str) -> Vec<u8> {
    let path = Path::new("src/builtin/jwt").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let base64: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    STANDARD.decode(base64).unwrap()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn sign(key: &str, header: &Value, claims: &Value) -> String {
    let message = unsigned(header, claims);
    let (random, der, bytes) = (SystemRandom::new(), der(key), message.as_bytes());
    let ecdsa = |algorithm| {
        let key = by::EcdsaKeyPair::from_pkcs8(algorithm, &der, &random).unwrap();
        key.sign(&random, bytes).unwrap().as_ref().to_vec()
    };
    let rsa = |padding: &'static dyn by::RsaEncoding| {
        let key = by::RsaKeyPair::from_pkcs8(&der).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &random, bytes, &mut signature).unwrap();
        signature
    };
    let signature = match header["alg"].as_str().unwrap() {
        "RS256" => rsa(&by::RSA_PKCS1_SHA256),
        "RS384" => rsa(&by::RSA_PKCS1_SHA384),
        "RS512" => rsa(&by::RSA_PKCS1_SHA512),
        "PS256" => rsa(&by::RSA_PSS_SHA256),
        "PS384" => rsa(&by::RSA_PSS_SHA384),
        "PS512" => rsa(&by::RSA_PSS_SHA512),
        "ES256" => ecdsa(&by::ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES384" => ecdsa(&by::ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => by::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .unwrap()
            .sign(bytes)
            .as_ref()
            .to_vec(),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn es(claims: &Value) -> String {
    sign("es.pem", &json!({ "alg": "ES256", "kid": "es" }), claims)
}

/// Everything of the refusal that a client can see.
fn refusal(step: Step) -> String {
    match step {
        Step::Answer(answer) => format!("{answer:?}"),
        other => panic!("{other:?}"),
    }
}

fn tried(token: &str) -> Tried {
    let mut tried = Tried::new(&KIND, CONFIG);
    tried.header("authorization", &format!("Bearer {token}"));
    tried
}

#[test]
fn each_algorithm_is_accepted_with_its_kind_of_key() {
    for (key, id, algorithm) in [
        ("rs.pem", "rs", "RS256"),
        ("rs.pem", "rs", "RS384"),
        ("rs.pem", "rs", "RS512"),
        ("rs.pem", "rs", "PS256"),
        ("rs.pem", "rs", "PS384"),
        ("rs.pem", "rs", "PS512"),
        ("es.pem", "es", "ES256"),
        ("es384.pem", "es384", "ES384"),
        ("ed.pem", "ed", "EdDSA"),
    ] {
        let named = sign(key, &json!({ "alg": algorithm, "kid": id }), &claims());
        let unnamed = sign(key, &json!({ "alg": algorithm }), &claims());
        for token in [named, unnamed] {
            let mut tried = tried(&token);
            assert!(matches!(tried.request(), Step::Continue), "{algorithm}");
            assert!(tried.request.headers.contains_key("authorization"));
        }
    }
}

/// Tokens that nobody may get in with, and why.
fn bad_tokens() -> Vec<(&'static str, String)> {
    let good = es(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = unsigned(&json!({ "alg": "ES256", "kid": "es" }), &with("sub", "root"));
    let mut other = URL_SAFE_NO_PAD.decode(signature).unwrap();
    other[7] ^= 1;
    let no_exp = json!({ "iss": "me", "aud": "shop" });
    vec![
        ("tampered payload", format!("{forged}.{signature}")),
        ("tampered signature", format!("{head}.{}", URL_SAFE_NO_PAD.encode(other))),
        ("no signature", format!("{head}.")),
        ("cut signature", format!("{head}.{}", &signature[..20])),
        ("a part too many", format!("{good}.{signature}")),
        ("a part too few", head.to_owned()),
        ("expired", es(&with("exp", now() - 60))),
        ("expiry in words", es(&with("exp", "tomorrow"))),
        ("negative expiry", es(&with("exp", -1))),
        ("without expiry", es(&no_exp)),
        ("not yet valid", es(&with("nbf", now() + 60))),
        ("wrong audience", es(&with("aud", "bank"))),
        ("wrong audiences", es(&with("aud", json!(["bank", "post"])))),
        ("no audience", es(&with("aud", Value::Null))),
        ("audience of another type", es(&with("aud", 7))),
        ("wrong issuer", es(&with("iss", "you"))),
        ("issuer of another type", es(&with("iss", json!({ "me": 1 })))),
        ("no claims", es(&json!([]))),
        ("wrong key", sign("other.pem", &json!({ "alg": "ES256", "kid": "es" }), &claims())),
        ("unknown kid", sign("es.pem", &json!({ "alg": "ES256", "kid": "x" }), &claims())),
        ("another key's kid", sign("es.pem", &json!({ "alg": "ES256", "kid": "rs" }), &claims())),
        ("critical", sign("es.pem", &json!({ "alg": "ES256", "crit": ["b64"] }), &claims())),
        ("key in the token", own_key()),
        ("huge", es(&with("sub", "x".repeat(9000)))),
        ("words", "not a token".to_owned()),
        ("dots", "..".to_owned()),
        ("empty", String::new()),
    ]
}

/// A token that brings the key to verify it with.
fn own_key() -> String {
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    sign("other.pem", &json!({ "alg": "ES256", "jwk": jwk }), &claims())
}

/// Unsigned, or signed with what everybody knows: the public key as a shared secret.
fn confused_tokens() -> Vec<(&'static str, String)> {
    let none = |alg: &str| format!("{}.", unsigned(&json!({ "alg": alg }), &claims()));
    let mut tokens: Vec<_> = ["none", "None", "NONE", "nOnE", "", "ES256 "]
        .into_iter()
        .map(|alg| (alg, none(alg)))
        .collect();
    tokens.push(("no alg", format!("{}.", unsigned(&json!({}), &claims()))));
    let key = by::RsaKeyPair::from_pkcs8(&der("rs.pem")).unwrap();
    let public = by::KeyPair::public_key(&key).as_ref();
    for kid in ["rs", "es"] {
        let message = unsigned(&json!({ "alg": "HS256", "kid": kid }), &claims());
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public);
        let tag = ring::hmac::sign(&secret, message.as_bytes());
        tokens.push(("HS256", format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))));
    }
    // The right signature under the name of another algorithm.
    let signed = es(&claims());
    let signature = signed.rsplit_once('.').unwrap().1;
    for alg in ["RS256", "PS256", "ES384", "EdDSA"] {
        let message = unsigned(&json!({ "alg": alg, "kid": "es" }), &claims());
        tokens.push((alg, format!("{message}.{signature}")));
    }
    tokens
}

#[test]
fn every_refusal_looks_the_same() {
    let expected = refusal(Tried::new(&KIND, CONFIG).request());
    assert!(expected.contains("401") && expected.contains("\"www-authenticate\", \"Bearer\""));
    for (what, token) in bad_tokens().into_iter().chain(confused_tokens()) {
        assert_eq!(refusal(tried(&token).request()), expected, "{what}");
    }
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer\t"] {
        let mut tried = Tried::new(&KIND, CONFIG);
        tried.header("authorization", value);
        assert_eq!(refusal(tried.request()), expected, "{value:?}");
    }
}

#[test]
fn two_fields_and_bytes_that_are_no_text_are_refused_alike() {
    let expected = refusal(Tried::new(&KIND, CONFIG).request());
    let mut two = tried(&es(&claims()));
    let again = two.request.headers["authorization"].clone();
    two.request.headers.append("authorization", again);
    assert_eq!(refusal(two.request()), expected);
    let mut bytes = Tried::new(&KIND, CONFIG);
    let value = http::HeaderValue::from_bytes(b"Bearer \xff\xfe.a.b").unwrap();
    bytes.request.headers.insert("authorization", value);
    assert_eq!(refusal(bytes.request()), expected);
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    for claims in [with("exp", now() - 20), with("nbf", now() + 20)] {
        assert!(matches!(tried(&es(&claims)).request(), Step::Continue));
    }
}

#[test]
fn an_audience_that_is_not_ours_is_refused_even_where_none_is_set() {
    let config = "{ jwks: { file: src/builtin/jwt/jwks.json } }";
    for (aud, passes) in [(json!("shop"), false), (json!([]), false), (json!(7), false)] {
        let mut tried = Tried::new(&KIND, config);
        tried.header("authorization", &format!("Bearer {}", es(&with("aud", aud))));
        assert_eq!(matches!(tried.request(), Step::Continue), passes);
    }
    let mut tried = Tried::new(&KIND, config);
    let none = json!({ "exp": now() + 60 });
    tried.header("authorization", &format!("bearer {}", es(&none)));
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn claims_become_fields_and_forged_fields_go() {
    let config = "{ jwks: { file: src/builtin/jwt/jwks.json }, forward: false, \
        claims_to_headers: { x-user: sub, x-roles: roles, x-age: age, x-odd: odd, x-none: none } }";
    let mut tried = Tried::new(&KIND, config);
    let token = es(&json!({
        "exp": now() + 60, "sub": "ann\r\nx-admin: 1", "roles": ["a", "b"], "age": 7, "odd": ["a,b"],
    }));
    tried.header("authorization", &format!("Bearer {token}"));
    for name in ["x-user", "x-roles", "x-age", "x-odd", "x-none"] {
        tried.header(name, "forged");
    }
    assert!(matches!(tried.request(), Step::Continue));
    let headers = &tried.request.headers;
    assert_eq!(headers["x-roles"], "a,b");
    assert_eq!(headers["x-age"], "7");
    assert_eq!(headers.len(), 2, "{headers:?}");
}

#[test]
fn a_token_in_a_cookie_is_taken_from_it_alone() {
    let config = "{ jwks: { file: src/builtin/jwt/jwks.json }, issuer: me, audience: [shop], \
        cookie: s, forward: false }";
    let token = es(&claims());
    for (cookie, rest) in
        [(format!("s={token}"), None), (format!("a=1; s={token}; ss=2"), Some("a=1; ss=2"))]
    {
        let mut tried = Tried::new(&KIND, config);
        tried.header("cookie", &cookie);
        assert!(matches!(tried.request(), Step::Continue), "{cookie}");
        let left = tried.request.headers.get("cookie").map(|left| left.to_str().unwrap());
        assert_eq!(left, rest);
    }
    let mut twice = Tried::new(&KIND, config);
    twice.header("cookie", &format!("s={token}; s={token}"));
    assert!(matches!(twice.request(), Step::Answer(_)));
}

#[test]
fn the_pause_depends_on_how_the_last_fetch_went() {
    use super::fetch::pause;
    let refresh = Duration::from_secs(300);
    assert_eq!(pause(true, true, refresh), refresh);
    assert_eq!(pause(false, true, refresh), Duration::from_secs(10));
    assert_eq!(pause(false, false, refresh), Duration::from_secs(1));
}

/// A filter whose keys are yet to come.
fn filter_without_keys() -> super::Jwt {
    super::Jwt {
        keys: arc_swap::ArcSwapOption::empty(),
        remote: None,
        refetch: std::sync::Arc::default(),
        source: super::Source::Header(http::header::AUTHORIZATION),
        checks: super::Checks::new(super::token::Rules {
            issuer: None,
            audience: Vec::new(),
            algorithms: super::keys::ALGORITHMS.to_vec(),
            leeway_seconds: 0,
            required: Vec::new(),
        }),
        forward: true,
        claims_to_headers: Vec::new(),
        label: None,
    }
}

/// How long a refused and an accepted token take: `cargo test --release -- --ignored --nocapture jwt`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    for (key, alg) in [("rs", "RS256"), ("es", "ES256"), ("ed", "EdDSA")] {
        let token = sign(&format!("{key}.pem"), &json!({ "alg": alg, "kid": key }), &claims());
        let mut tried = tried(&token);
        let begun = std::time::Instant::now();
        for _ in 0..1000 {
            assert!(matches!(tried.request(), Step::Continue));
        }
        eprintln!("{alg}: {:?} a request", begun.elapsed() / 1000);
    }
}
