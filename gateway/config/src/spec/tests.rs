use super::Spec;
use crate::schema;

#[test]
fn every_key_has_a_description() {
    let schema = schema::of::<Spec>();
    assert_eq!(schema::undescribed(&schema), Vec::<String>::new());
}

#[test]
fn a_key_that_is_written_is_never_null() {
    let schema = serde_json::to_string(&schema::of::<Spec>()).unwrap();
    assert!(!schema.contains("null"), "{schema}");
}

#[test]
fn a_threshold_needs_what_decides_who_is_ill() {
    let schema = serde_json::to_value(schema::of::<super::Upstream>()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let upstream = |more: &str| {
        let text =
            format!(r#"{{ "name": "a", "endpoints": [{{ "address": "10.0.0.1:1" }}]{more} }}"#);
        validator.is_valid(&serde_json::from_str(&text).unwrap())
    };
    assert!(upstream("") && upstream(r#", "outlier_detection": {}"#));
    assert!(!upstream(r#", "outlier_detection": { "panic_below": "10%" }"#));
    assert!(upstream(r#", "outlier_detection": { "panic_below": "10%", "max_ejected": "5%" }"#));
    assert!(upstream(r#", "health_check": {}, "outlier_detection": { "panic_below": "10%" }"#));
    assert!(!upstream(r#", "queue": {}"#) && !upstream(r#", "limits": {}"#));
}

#[test]
fn a_listener_goes_to_https_or_nowhere_and_names_who_sends_headers() {
    let schema = serde_json::to_value(schema::of::<super::Listener>()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let listener = |more: &str| {
        let text = format!(r#"{{ "name": "a", "address": "127.0.0.1:80", {more} }}"#);
        validator.is_valid(&serde_json::from_str(&text).unwrap())
    };
    assert!(listener(r#""redirect": { "scheme": "https", "status": 308, "port": 8443 }"#));
    assert!(!listener(r#""redirect": { "scheme": "http" }"#));
    assert!(!listener(r#""redirect": { "status": 301 }"#));
    assert!(listener(r#""proxy_protocol": { "from": ["10.0.0.0/8", "::1"] }"#));
    assert!(!listener(r#""proxy_protocol": { "from": [] }"#));
    assert!(!listener(r#""proxy_protocol": {}"#));
}
