use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::chain::Step;
use crate::testing::Tried;

mod fetching;
mod issuer;

use issuer::{RSA_TOKENS, filter, filter_of, jwks, rsa_jwk, sign, unsigned};

const RULES: &str = ", issuer: me, audience: [shop]";

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

fn es(claims: &Value) -> String {
    sign("es", &json!({ "alg": "ES256", "kid": "es" }), claims)
}

/// Everything of the refusal that a client can see.
fn refusal(step: Step) -> String {
    match step {
        Step::Answer(answer) => format!("{answer:?}"),
        other => panic!("{other:?}"),
    }
}

fn tried(token: &str) -> Tried {
    let mut tried = filter(RULES);
    tried.header("authorization", &format!("Bearer {token}"));
    tried
}

#[test]
fn each_algorithm_is_accepted_with_its_kind_of_key() {
    let mut tokens = Vec::new();
    for (key, algorithm) in [("es", "ES256"), ("es384", "ES384"), ("ed", "EdDSA")] {
        let named = json!({ "alg": algorithm, "kid": key });
        tokens.push((algorithm, sign(key, &named, &claims())));
        tokens.push((algorithm, sign(key, &json!({ "alg": algorithm }), &claims())));
    }
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        tokens.push((algorithm, rsa_token("named", algorithm)));
        tokens.push((algorithm, rsa_token("unnamed", algorithm)));
    }
    for (algorithm, token) in tokens {
        let mut tried = tried(&token);
        assert!(matches!(tried.request(), Step::Continue), "{algorithm}");
        assert!(tried.request.headers.contains_key("authorization"));
    }
}

/// One of the tokens in the file.
fn rsa_token(kind: &str, name: &str) -> String {
    RSA_TOKENS[kind][name].as_str().unwrap().to_owned()
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
        ("wrong key", sign("other", &json!({ "alg": "ES256", "kid": "es" }), &claims())),
        ("unknown kid", sign("es", &json!({ "alg": "ES256", "kid": "x" }), &claims())),
        ("another key's kid", sign("es", &json!({ "alg": "ES256", "kid": "rs" }), &claims())),
        ("critical", sign("es", &json!({ "alg": "ES256", "crit": ["b64"] }), &claims())),
        ("key in the token", own_key()),
        ("huge", es(&with("sub", "x".repeat(9000)))),
        ("words", "not a token".to_owned()),
        ("dots", "..".to_owned()),
    ]
}

/// A token that brings the key to verify it with.
fn own_key() -> String {
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    sign("other", &json!({ "alg": "ES256", "jwk": jwk }), &claims())
}

/// Tokens of an RSA key that are not good either.
fn bad_rsa_tokens() -> Vec<(&'static str, String)> {
    let good = rsa_token("named", "RS256");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = unsigned(&json!({ "alg": "RS256", "kid": "rs" }), &with("sub", "root"));
    let mut other = URL_SAFE_NO_PAD.decode(signature).unwrap();
    other[7] ^= 1;
    let padded = rsa_token("named", "PS256");
    let padded = padded.rsplit_once('.').unwrap().1;
    vec![
        ("tampered payload, RSA", format!("{forged}.{signature}")),
        ("tampered signature, RSA", format!("{head}.{}", URL_SAFE_NO_PAD.encode(other))),
        ("another padding", format!("{head}.{padded}")),
        ("expired, RSA", rsa_token("refused", "expired")),
        ("wrong audience, RSA", rsa_token("refused", "wrong audience")),
        ("wrong key, RSA", rsa_token("refused", "wrong key")),
    ]
}

/// Unsigned, or signed with what everybody knows: the public key as a shared secret.
fn confused_tokens() -> Vec<(&'static str, String)> {
    let none = |alg: &str| format!("{}.", unsigned(&json!({ "alg": alg }), &claims()));
    let mut tokens: Vec<_> = ["none", "None", "NONE", "nOnE", "", "ES256 "]
        .into_iter()
        .map(|alg| (alg, none(alg)))
        .collect();
    tokens.push(("no alg", format!("{}.", unsigned(&json!({}), &claims()))));
    for public in public_forms() {
        for kid in ["rs", "es"] {
            let message = unsigned(&json!({ "alg": "HS256", "kid": kid }), &claims());
            let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
            let tag = ring::hmac::sign(&secret, message.as_bytes());
            tokens.push(("HS256", format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))));
        }
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

/// The RSA public key as it is written: the modulus, `RSAPublicKey` (RFC 8017, A.1.1), and
/// `SubjectPublicKeyInfo` in DER and in PEM.
fn public_forms() -> Vec<Vec<u8>> {
    let modulus = URL_SAFE_NO_PAD.decode(rsa_jwk()["n"].as_str().unwrap()).unwrap();
    let lengths = b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00";
    let key = [&lengths[..], &modulus, b"\x02\x03\x01\x00\x01"].concat();
    let rsa = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let info = [&rsa[..], b"\x03\x82\x01\x0f\x00", &key].concat();
    let text = STANDARD.encode(&info);
    let lines: Vec<_> = text.as_bytes().chunks(64).collect();
    let pem = [b"-----BEGIN PUBLIC KEY-----", &*lines.join(&b'\n'), b"-----END PUBLIC KEY-----\n"];
    vec![modulus, key, info, pem.join(&b'\n')]
}

#[test]
fn every_refusal_looks_the_same() {
    let expected = refusal(tried("words").request());
    let challenge = r#"("www-authenticate", "Bearer error=\"invalid_token\"")"#;
    assert!(expected.contains("401"), "{expected}");
    assert!(expected.contains(&challenge[1..challenge.len() - 1]), "{expected}");
    for (what, token) in [bad_tokens(), bad_rsa_tokens(), confused_tokens()].concat() {
        assert_eq!(refusal(tried(&token).request()), expected, "{what}");
    }
    let without = refusal(filter(RULES).request());
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer\t"] {
        let mut tried = filter(RULES);
        tried.header("authorization", value);
        assert_eq!(refusal(tried.request()), without, "{value:?}");
    }
}

#[test]
fn two_fields_and_bytes_that_are_no_text_are_refused_alike() {
    let expected = refusal(tried("words").request());
    let mut two = tried(&es(&claims()));
    let again = two.request.headers["authorization"].clone();
    two.request.headers.append("authorization", again);
    assert_eq!(refusal(two.request()), expected);
    let mut bytes = filter(RULES);
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
    for (aud, passes) in [(json!("shop"), false), (json!([]), false), (json!(7), false)] {
        let mut tried = filter("");
        tried.header("authorization", &format!("Bearer {}", es(&with("aud", aud))));
        assert_eq!(matches!(tried.request(), Step::Continue), passes);
    }
    let mut tried = filter("");
    let none = json!({ "exp": now() + 60 });
    tried.header("authorization", &format!("bearer {}", es(&none)));
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn claims_become_fields_and_forged_fields_go() {
    let rest = ", forward: false, \
        claims_to_headers: { x-user: sub, x-roles: roles, x-age: age, x-odd: odd, x-none: none }";
    let mut tried = filter(rest);
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
    let rules = ", issuer: me, audience: [shop], cookie: s, forward: false";
    let token = es(&claims());
    for (cookie, rest) in
        [(format!("s={token}"), None), (format!("a=1; s={token}; ss=2"), Some("a=1; ss=2"))]
    {
        let mut tried = filter(rules);
        tried.header("cookie", &cookie);
        assert!(matches!(tried.request(), Step::Continue), "{cookie}");
        let left = tried.request.headers.get("cookie").map(|left| left.to_str().unwrap());
        assert_eq!(left, rest);
    }
    let mut twice = filter(rules);
    twice.header("cookie", &format!("s={token}; s={token}"));
    assert!(matches!(twice.request(), Step::Answer(_)));
}

/// What is passed over must not count as a key: a set of nothing else would take the place of good keys.
#[test]
fn a_weak_rsa_key_is_no_key() {
    use super::keys::{Keys, KeysError};
    let weak = json!({ "keys": [RSA_TOKENS["weak"]] }).to_string();
    assert!(matches!(Keys::parse(weak.as_bytes()), Err(KeysError::NoneUsable)));
}

/// RFC 7518, 6.3.1.1 forbids it, and issuers do it all the same.
#[test]
fn a_modulus_may_begin_with_a_zero() {
    let mut key = rsa_jwk();
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
    key["n"] = URL_SAFE_NO_PAD.encode([&[0], &modulus[..]].concat()).into();
    let mut tried = filter_of(json!({ "keys": [key] }).to_string().as_bytes(), RULES);
    tried.header("authorization", &format!("Bearer {}", rsa_token("named", "RS256")));
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn the_keys_of_the_example_can_all_be_used() {
    let example: Value = serde_json::from_str(include_str!("jwks.json")).unwrap();
    for key in example["keys"].as_array().unwrap() {
        let one = json!({ "keys": [key] }).to_string();
        assert!(super::keys::Keys::parse(one.as_bytes()).is_ok(), "{key}");
    }
}

#[test]
fn the_pause_depends_on_how_the_last_fetch_went() {
    use super::fetch::pause;
    let refresh = Duration::from_secs(300);
    assert_eq!(pause(true, true, refresh), refresh);
    assert_eq!(pause(false, true, refresh), Duration::from_secs(10));
    assert_eq!(pause(false, false, refresh), Duration::from_secs(1));
}

#[test]
fn rfc6750_3_1_a_request_without_a_token_is_told_of_no_error() {
    let mut empty = filter(RULES);
    empty.header("authorization", "Bearer ");
    for mut tried in [filter(RULES), empty] {
        let refusal = refusal(tried.request());
        assert!(refusal.contains("\"Bearer\"") && !refusal.contains("invalid_token"), "{refusal}");
    }
}

/// A set with `before` and then the key that signs as `es`, under another id.
fn keys_before(before: usize, id: &Value, of_each: impl Fn(Value) -> Value) -> Vec<u8> {
    let set: Value = serde_json::from_slice(&jwks()).unwrap();
    let key = |kid: &str| set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid);
    let mut other = key("es").unwrap().clone();
    // The generator of the curve: a good point that signs nothing here.
    other["x"] = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY".into();
    other["y"] = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU".into();
    let mut keys = vec![of_each(other); before];
    let mut last = key("es").unwrap().clone();
    last["kid"] = id.clone();
    keys.push(last);
    json!({ "keys": keys }).to_string().into_bytes()
}

#[test]
fn rfc7517_4_5_the_key_that_a_token_names_is_found_behind_any_number_of_others() {
    let unnamed = |mut key: Value| {
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let same = |mut key: Value| {
        key["kid"] = "mine".into();
        key
    };
    let named = json!({ "alg": "ES256", "kid": "mine" });
    let nameless = json!({ "alg": "ES256" });
    for (what, set, header) in [
        ("keys without kid", keys_before(40, &"mine".into(), unnamed), &named),
        ("keys of the same kid", keys_before(40, &"mine".into(), same), &named),
        ("a token without kid", keys_before(8, &"mine".into(), same), &nameless),
        ("a token without kid, keys without", keys_before(8, &Value::Null, unnamed), &nameless),
    ] {
        let mut tried = filter_of(&set, RULES);
        let token = sign("es", header, &claims());
        tried.header("authorization", &format!("Bearer {token}"));
        assert!(matches!(tried.request(), Step::Continue), "{what}");
    }
}

#[test]
fn rules_on_claims_hold_all_and_any_of_nested_values() {
    let says = |name: &str, value: Value| es(&with(name, value));
    let nested = json!({ "roles": ["reader", "admin"], "level": 3, "a.b": { "c": true } });
    let dotted = says("https://idp.example/roles", json!("admin"));
    let all = |rules: &str| format!("claims: {{ all: [{rules}] }}");
    let any = |rules: &str| format!("claims: {{ any: [{rules}] }}");
    let admin = "{ claim: realm.roles, values: [admin, root] }";
    for (rules, token, passes) in [
        (all(admin), says("realm", nested.clone()), true),
        (all(admin), says("realm", json!({ "roles": ["reader"] })), false),
        (all(admin), says("realm", json!({ "roles": "root" })), true),
        (all(admin), says("realm", json!({ "roles": [["root"]] })), false),
        (all(admin), says("realm", json!("admin")), false),
        (all(admin), es(&claims()), false),
        (all("{ claim: realm.level, values: ['3'] }"), says("realm", nested.clone()), true),
        (all("{ claim: realm.a.b.c, values: ['true'] }"), says("realm", nested.clone()), true),
        (all("{ claim: realm.level }"), says("realm", nested.clone()), true),
        (all("{ claim: realm }"), says("realm", Value::Null), false),
        (all("{ claim: 'https://idp.example/roles', values: [admin] }"), dotted, true),
        (all("{ claim: scope, values: [write] }"), says("scope", json!("read write")), true),
        (all("{ claim: scope, values: [writ] }"), says("scope", json!("read write")), false),
        (all("{ claim: sub, values: [ann] }, { claim: no }"), es(&claims()), false),
        (any("{ claim: sub, values: [ann] }, { claim: no }"), es(&claims()), true),
        (any("{ claim: sub, values: [bob] }, { claim: no }"), es(&claims()), false),
    ] {
        let mut tried = filter(&format!("{RULES}, {rules}"));
        tried.header("authorization", &format!("Bearer {token}"));
        match tried.request() {
            Step::Continue => assert!(passes, "{rules} let {token} pass"),
            Step::Answer(answer) => {
                let text = format!("{answer:?}");
                assert!(!passes && text.contains("403"), "{rules}: {text}");
                assert!(text.contains("insufficient_scope"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
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
        claim_rules: super::ClaimRules::default(),
        claims_to_headers: Vec::new(),
        label: None,
    }
}

/// How long a refused and an accepted token take: `cargo test --release -- --ignored --nocapture jwt`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    let signed = |key: &str, alg: &str| sign(key, &json!({ "alg": alg, "kid": key }), &claims());
    for (alg, token) in [
        ("RS256", rsa_token("named", "RS256")),
        ("ES256", signed("es", "ES256")),
        ("EdDSA", signed("ed", "EdDSA")),
    ] {
        let mut tried = tried(&token);
        let begun = std::time::Instant::now();
        for _ in 0..1000 {
            assert!(matches!(tried.request(), Step::Continue));
        }
        eprintln!("{alg}: {:?} a request", begun.elapsed() / 1000);
    }
}
