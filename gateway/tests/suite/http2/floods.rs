//! Clients that send what costs them little: they are borne for a while, and then the connection ends.

use std::net::Ipv4Addr;

use super::client::{
    ACK, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS, NO_ERROR, PING,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, with_h2c,
};
use super::unread::endless;
use crate::support::{Gateway, Origin, check, config, forward_all};

const ANSWER: &str = "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: ok, respond: { status: 200, body: ok } }
";

fn answering(http2: &str) -> String {
    with_h2c(&config(ANSWER), &format!(", http2: {{ {http2} }}"))
}

fn closed(gateway: &Gateway, reason: &str, times: f64) {
    let sample = format!("sallyport_http2_connections_closed_total{{reason=\"{reason}\"}}");
    gateway.counts(&sample, times);
}

/// How the connection ends for a client that sends `frame` again and again: with a GOAWAY, or so suddenly that the
/// GOAWAY is lost on the way.
fn flood(gateway: &Gateway, mut frame: impl FnMut(&mut Frames) -> bool) {
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[]);
    for _ in 0..1_000_000 {
        if !frame(&mut client) {
            break;
        }
    }
    let goodbye = client.goodbye();
    assert!(matches!(goodbye, None | Some(ENHANCE_YOUR_CALM)), "{goodbye:?}");
}

#[test]
fn a_flood_of_ping_acks_is_closed_and_leaves_the_log_alone() {
    for level in ["", "info", "debug"] {
        let yaml = with_h2c(&config(ANSWER), "");
        let gateway = if level.is_empty() {
            Gateway::start(&yaml)
        } else {
            Gateway::start_logging(&yaml, level)
        };
        let before = gateway.log().len();
        flood(&gateway, |client| client.send(PING, ACK, 0, &[7; 8]));
        closed(&gateway, "pings", 1.0);
        let lines = gateway.log().split_off(before);
        // One at `debug` for each request of the admin listener, and none for each PING.
        assert!(lines.len() < 100, "{level:?}: {} lines such as {:?}", lines.len(), lines.last());
    }
}

#[test]
fn every_kind_of_empty_frame_has_its_bound() {
    let key_of = |reason| match reason {
        "frames" => "max_control_frames_per_10s".to_owned(),
        other => format!("max_{other}_per_10s"),
    };
    type Send = fn(&mut Frames) -> bool;
    let floods: [(&str, &str, Send); 6] = [
        ("PING", "pings", |client| client.send(PING, 0, 0, &[7; 8])),
        ("SETTINGS", "settings", |client| client.send(SETTINGS, 0, 0, &[])),
        ("WINDOW_UPDATE", "frames", |client| client.send(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", "frames", |client| client.send(2, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown", "frames", |client| client.send(0xee, 0, 0, b"x")),
        ("empty DATA", "frames", |client| client.send(DATA, 0, 1, b"")),
    ];
    // A body that is waited for: empty DATA is for an open stream.
    let origin = Origin::start(|_, _| true);
    let waiting = forward_all(&[origin.address]).replace(
        "    routes:\n",
        "    routes:\n      - { name: ok, match: { methods: [GET] }, respond: { status: 200 } }\n",
    );
    for (name, reason, frame) in floods {
        let key = format!(", http2: {{ {}: 50 }}", key_of(reason));
        let gateway = Gateway::start(&with_h2c(&waiting, &key));
        let mut client = Frames::connect(gateway.web());
        client.request(1, "POST", 0, &[]);
        for _ in 0..40 {
            frame(&mut client);
        }
        client.request(3, "GET", END_STREAM, &[]);
        while client.receive_kind(HEADERS).expect(name).stream != 3 {}
        assert_eq!(
            gateway.metric("sallyport_http2_connections_closed_total{reason=\"age\"}"),
            None
        );
        flood(&gateway, frame);
        closed(&gateway, reason, 1.0);
    }
}

#[test]
fn rfc9113_10_5_resets_are_counted_even_where_each_request_was_begun() {
    let origin = Origin::start(|_, _| true);
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_h2c(&yaml, ", http2: { max_resets_per_10s: 100 }"));
    let mut client = Frames::connect(gateway.web());
    let mut begun = 0;
    for stream in (1..2_000).step_by(2) {
        client.request(stream, "GET", END_STREAM, &[]);
        // Paced: the request is under way before it is reset.
        if !client.send(PING, 0, 0, &[0; 8]) || client.receive_kind(PING).is_none() {
            break;
        }
        begun += 1;
        client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    assert!((100..=102).contains(&begun), "{begun} were reset");
    closed(&gateway, "resets", 1.0);
}

#[test]
fn streams_that_wait_for_their_client_end_the_connection_if_they_are_too_many() {
    let (address, _) = endless();
    let yaml = with_h2c(&forward_all(&[address]), ", http2: { max_stalled_streams: 4 }");
    let gateway = Gateway::start(&yaml);
    let connect = |streams: u32| {
        let mut client = Frames::connect(gateway.web());
        (0..streams).for_each(|stream| client.request(2 * stream + 1, "GET", END_STREAM, &[]));
        client
    };
    let mut few = connect(4);
    let mut many = connect(5);
    assert_eq!(many.goodbye(), Some(ENHANCE_YOUR_CALM));
    closed(&gateway, "stalled", 1.0);
    few.send(PING, 0, 0, &[7; 8]);
    assert!(few.receive_kind(PING).is_some(), "it is borne");
}

#[test]
fn malformed_requests_end_the_connection_after_a_few() {
    let gateway = Gateway::start(&answering("max_streams: 100"));
    let mut client = Frames::connect(gateway.web());
    for stream in (1..100).step_by(2) {
        client.request(stream, "GET", END_STREAM, &[("host", "other.test")]);
    }
    assert!(client.goodbye().is_some());
    closed(&gateway, "malformed", 1.0);
}

#[test]
fn a_connection_takes_as_many_streams_as_configured() {
    for (keys, streams) in [("max_age: 1h", 128), ("max_streams: 7", 7)] {
        let gateway = Gateway::start(&answering(keys));
        assert_eq!(Frames::connect(gateway.web()).setting(3), Some(streams));
    }
}

#[test]
fn rfc9113_6_8_an_old_connection_finishes_its_requests_and_takes_no_more() {
    let gateway = Gateway::start(&answering("max_age: 300ms"));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[]);
    let warning = client.receive_kind(GOAWAY).unwrap();
    assert_eq!(warning.content[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    // The client answers the PING by which the gateway knows that the warning has arrived.
    let ping = client.receive_kind(PING).unwrap();
    assert_eq!(ping.flags, 0);
    client.send(PING, ACK, 0, &ping.content);
    assert_eq!(client.goodbye(), Some(NO_ERROR));
    closed(&gateway, "age", 1.0);
}

#[test]
fn an_idle_connection_is_told_goodbye() {
    let yaml =
        answering("max_age: 1h").replace("h2c: true", "h2c: true, timeouts: { idle: 200ms }");
    let gateway = Gateway::start(&yaml);
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[]);
    assert_eq!(client.status(), 200);
    assert_eq!(client.goodbye(), Some(NO_ERROR));
    closed(&gateway, "idle", 1.0);
}

#[test]
fn a_verdict_ends_open_connections_with_goaway() {
    const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let rules = "verdicts:\n  rules:\n    - { on: 4xx, more_than: 3, within: 10s, for: 1h }\n";
    let yaml = with_h2c(&config(&format!("{rules}virtual_hosts: []\n")), "");
    let gateway = Gateway::start(&yaml);
    let mut kept = Frames::connect_from(BAD, gateway.web());
    kept.request(1, "GET", END_STREAM, &[]);
    assert_eq!(kept.status(), 404);
    let mut other = Frames::connect_from(BAD, gateway.web());
    for stream in [1, 3, 5] {
        other.request(stream, "GET", END_STREAM, &[]);
        assert_eq!(other.status(), 404);
    }
    gateway.logged("verdict");
    kept.request(3, "GET", END_STREAM, &[]);
    assert_eq!(kept.goodbye(), Some(ENHANCE_YOUR_CALM));
    closed(&gateway, "verdict", 1.0);
}

#[test]
fn what_a_reload_says_of_http2_holds_for_new_connections() {
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let yaml = |limit: &str, idle: &str| {
        let yaml =
            answering("max_age: 1h") + &format!("limits: {{ request_header_bytes: {limit} }}\n");
        yaml.replace("h2c: true", &format!("h2c: true, timeouts: {{ idle: {idle} }}"))
    };
    let gateway = Gateway::start(&yaml("4KiB", "60s"));
    let mut before = Frames::connect(gateway.web());
    assert_eq!(before.setting(MAX_HEADER_LIST_SIZE), Some(4_096));
    gateway.replace(&yaml("8KiB", "200ms"));
    let mut after = Frames::connect(gateway.web());
    assert_eq!(after.setting(MAX_HEADER_LIST_SIZE), Some(8_192));
    assert_eq!(after.goodbye(), Some(NO_ERROR));
    before.request(1, "GET", END_STREAM, &[]);
    assert_eq!(before.status(), 200, "the one before has its own time");
}

#[test]
fn bounds_of_http2_without_http2_are_refused() {
    let yaml = config(ANSWER).replace("127.0.0.1:0 }\nadmin", "127.0.0.1:0, http2: {} }\nadmin");
    let output = check(&yaml);
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("listeners[0].http2: has no effect"), "{said}");
}

#[test]
fn a_head_that_never_ends_ends_with_the_idle_time() {
    let yaml =
        answering("max_age: 1h").replace("h2c: true", "h2c: true, timeouts: { idle: 200ms }");
    let gateway = Gateway::start(&yaml);
    let mut client = Frames::connect(gateway.web());
    // Neither END_HEADERS nor the CONTINUATION that must follow.
    client.send(HEADERS, END_STREAM & !END_HEADERS, 1, &[0x82]);
    assert!(client.goodbye().is_some());
}
