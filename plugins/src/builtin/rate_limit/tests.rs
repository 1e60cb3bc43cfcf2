use std::time::Duration;

use http::{HeaderValue, Response, header};
use sallyport_route::Hints;

use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

/// Sends another request; the status that it is refused with.
fn refused(tried: &mut Tried) -> Option<u16> {
    tried.run = crate::Run::default();
    match tried.request() {
        Step::Answer(answer) => Some(answer.status.as_u16()),
        _ => None,
    }
}

fn from(tried: &mut Tried, client: &str) {
    tried.about.client = Some(client.parse().unwrap());
}

#[test]
fn a_source_is_an_address_or_a_64() {
    let mut tried = Tried::new(&KIND, "{ key: source, requests: 1, per: 1m }");
    for (client, status) in [
        ("192.0.2.1", None),
        ("192.0.2.1", Some(429)),
        ("::ffff:192.0.2.1", Some(429)),
        ("192.0.2.2", None),
        ("2001:db8::1", None),
        ("2001:db8::2", Some(429)),
        ("2001:db8:0:1::1", None),
    ] {
        from(&mut tried, client);
        assert_eq!(refused(&mut tried), status, "{client}");
    }
}

#[test]
fn requests_without_the_key_go_by_their_source() {
    let mut tried = Tried::new(&KIND, "{ key: { header: x-tenant }, requests: 1, per: 1m }");
    from(&mut tried, "192.0.2.1");
    assert_eq!(refused(&mut tried), None);
    assert_eq!(refused(&mut tried), Some(429));
    tried.header("x-tenant", "a");
    assert_eq!(refused(&mut tried), None);
    from(&mut tried, "192.0.2.2");
    assert_eq!(refused(&mut tried), Some(429));
}

#[test]
fn a_network_has_one_bucket() {
    let office = Hints { network: Some("office".into()), ..Hints::default() };
    let mut tried = Tried::new(&KIND, "{ key: { hint: network }, requests: 1, per: 1m }");
    tried.about.hints = Some(Box::leak(Box::new(office)));
    from(&mut tried, "192.0.2.1");
    assert_eq!(refused(&mut tried), None);
    from(&mut tried, "192.0.2.2");
    assert_eq!(refused(&mut tried), Some(429));
    tried.about.hints = None;
    assert_eq!(refused(&mut tried), None);
}

#[test]
fn a_route_has_one_bucket() {
    let mut tried = Tried::new(&KIND, "{ key: route, requests: 1, per: 1m }");
    from(&mut tried, "192.0.2.1");
    assert_eq!(refused(&mut tried), None);
    from(&mut tried, "192.0.2.2");
    assert_eq!(refused(&mut tried), Some(429));
    tried.about.route = "other";
    assert_eq!(refused(&mut tried), None);
}

#[test]
fn the_client_is_told_when_to_come_back() {
    let mut tried = Tried::new(&KIND, "{ key: source, requests: 4, per: 10s }");
    for remaining in (0..4).rev() {
        assert_eq!(refused(&mut tried), None);
        let mut response = Response::new(()).into_parts().0;
        tried.response(&mut response);
        let told = format!("\"rate_limit\";r={remaining};t=3");
        assert_eq!(response.headers["ratelimit"], told);
    }
    tried.again();
    tried.about.started += Duration::from_millis(100);
    let Step::Answer(answer) = tried.request() else { unreachable!("the bucket is empty") };
    assert_eq!(answer.reason, "rate_limited");
    let after = (header::RETRY_AFTER, HeaderValue::from_static("3"));
    assert!(answer.headers.contains(&after));
    let mut response = Response::new(()).into_parts().0;
    tried.response(&mut response);
    assert_eq!(response.headers["ratelimit"], "\"rate_limit\";r=0;t=3");
    assert_eq!(response.headers["ratelimit-policy"], "\"rate_limit\";q=4;w=10");
    tried.about.started += Duration::from_millis(2400);
    assert_eq!(refused(&mut tried), None);
}

#[test]
fn the_fields_of_others_stay() {
    let mut tried = Tried::new(&KIND, "{ key: source, requests: 4 }");
    tried.request();
    let mut response = Response::new(()).into_parts().0;
    response.headers.insert("ratelimit", HeaderValue::from_static("\"daily\";r=9"));
    tried.response(&mut response);
    assert_eq!(response.headers.get_all("ratelimit").iter().count(), 2);
}
