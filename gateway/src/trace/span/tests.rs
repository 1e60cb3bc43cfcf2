use http::Method;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};

use super::{name, push_method, push_server, text};

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let value = |it: &KeyValue| match it.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|it| format!("{}={}", it.key, value(it))).collect()
}

#[test]
fn methods_that_nobody_knows_are_one() {
    let odd = Method::from_bytes(b"FROB").unwrap();
    let mut attributes = Vec::new();
    push_method(&mut attributes, &odd);
    assert_eq!(
        shown(&attributes),
        ["http.request.method=_OTHER", "http.request.method_original=FROB"]
    );
    assert_eq!(name(&odd, Some("r")), "HTTP r");
    assert_eq!(name(&Method::GET, None), "GET");
}

#[test]
fn an_authority_is_an_address_and_a_port() {
    for (authority, expected) in [
        ("shop.example", &["server.address=shop.example"][..]),
        ("shop.example:81", &["server.address=shop.example", "server.port=81"]),
        ("[2001:db8::1]:81", &["server.address=2001:db8::1", "server.port=81"]),
        ("[2001:db8::1]", &["server.address=2001:db8::1"]),
        ("a:99999", &["server.address=a:99999"]),
        ("", &["server.address="]),
    ] {
        let mut attributes = Vec::new();
        push_server(&mut attributes, authority);
        assert_eq!(shown(&attributes), expected, "{authority}");
    }
}

#[test]
fn texts_are_cut_between_characters() {
    let attribute = text("k", "ä".repeat(1_000));
    assert_eq!(shown(&[attribute])[0].len(), "k=".len() + 1_024);
}
