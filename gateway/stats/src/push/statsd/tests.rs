use std::{
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::push::{
    batch::{Alert, Event, Point, Value, sketch_of},
    catalog::Catalog,
    series::Kind,
};

type Attributes<'a> = &'a [(&'a str, &'a str)];

fn point(name: &str, kind: Kind, attributes: Attributes<'_>, value: Value) -> Point {
    let catalog = Catalog::default();
    let metric = catalog.metric(name).attributes(attributes.iter().copied());
    match kind {
        Kind::Counter => drop(metric.counter().unwrap()),
        Kind::Gauge => drop(metric.gauge().unwrap()),
        Kind::Histogram => drop(metric.histogram().unwrap()),
        Kind::Timing => drop(metric.timing().unwrap()),
    }
    Point { series: catalog.series(0).unwrap(), value }
}

fn written(dialect: Dialect, point: &Point) -> Vec<String> {
    let mut out = Vec::new();
    let mut messages = Messages::new(dialect, "");
    messages
        .point(point, 1_656_581_400_123, 1_432, |message| {
            out.push(String::from_utf8(message.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
    out
}

fn dog() -> DogStatsdConfig {
    DogStatsdConfig::new("localhost:8125".parse().unwrap())
}

#[test]
fn dogstatsd_as_it_is_documented() {
    let plain = || Dialect::dog(&dog());
    let tags = &[("route", "checkout"), ("url", "http://a:80/")][..];
    let counted = point("requests", Kind::Counter, tags, Value::Count(3.0));
    assert_eq!(written(plain(), &counted), ["requests:3|c|#route:checkout,url:http://a:80/"]);
    let gauge = point("temperature", Kind::Gauge, &[], Value::Gauge(-2.5));
    assert_eq!(written(plain(), &gauge), ["temperature:-2.5|g"]);
    let raw = Value::Raw(vec![(0.001, 1.0), (0.25, 0.1), (0.002, 1.0)]);
    let timing = point("latency", Kind::Timing, &[], raw.clone());
    assert_eq!(written(plain(), &timing), ["latency:250|ms|@0.1", "latency:1:2|ms"]);
    let histogram = point("size", Kind::Histogram, &[], raw.clone());
    let config = DogStatsdConfig { distributions: true, ..dog() };
    assert_eq!(written(Dialect::dog(&config), &histogram)[1], "size:0.001:0.002|d");
    // The type has no unit; the name says seconds.
    let timing = point("took_seconds", Kind::Timing, &[], raw);
    assert_eq!(written(Dialect::dog(&config), &timing)[1], "took_seconds:0.001:0.002|d");
}

#[test]
fn dogstatsd_says_whence_and_when() {
    let config = DogStatsdConfig {
        tags: vec![("env".into(), "prod".into())],
        timestamps: true,
        container_id: Some("ci-abc".into()),
        external_data: Some("it-false,cn-app|x".into()),
        ..dog()
    };
    let counted = point("requests", Kind::Counter, &[("a", "b")], Value::Count(1.0));
    let expected = "requests:1|c|#env:prod,a:b|c:ci-abc|e:it-false,cn-app_x|T1656581400";
    assert_eq!(written(Dialect::dog(&config), &counted), [expected]);
    let timing = point("t", Kind::Timing, &[], Value::Raw(vec![(1.0, 1.0)]));
    assert_eq!(
        written(Dialect::dog(&config), &timing),
        ["t:1000|ms|#env:prod|c:ci-abc|e:it-false,cn-app_x"],
        "distributions have no time",
    );
}

#[test]
fn dogstatsd_events() {
    let mut messages = Messages::new(Dialect::dog(&dog()), "");
    let event = Event {
        title: "reload".into(),
        text: "two\nlines, one ü".into(),
        alert: Alert::Warning,
        timestamp_ms: Some(1_656_581_400_999),
        aggregation_key: Some("config|x".into()),
        attributes: vec![("file".into(), "a|b".into())],
    };
    let message = String::from_utf8(messages.event(&event).unwrap()).unwrap();
    let expected = "_e{6,18}:reload|two\\nlines, one ü|d:1656581400|k:config_x|t:warning|#file:a_b";
    assert_eq!(message, expected);
    assert_eq!(Messages::new(Dialect::plain(TagStyle::InName), "").event(&event), None);
}

#[test]
fn statsd_writes_attributes_in_every_style() {
    let counted = point("r", Kind::Counter, &[("k", "v:1"), ("l", "x.y")], Value::Count(2.0));
    for (style, expected) in [
        (TagStyle::InName, "r.k.v_1.l.x_y:2|c"),
        (TagStyle::DogStatsd, "r:2|c|#k:v:1,l:x.y"),
        (TagStyle::Influx, "r,k=v_1,l=x.y:2|c"),
        (TagStyle::Librato, "r#k=v_1,l=x.y:2|c"),
        (TagStyle::SignalFx, "r[k=v_1,l=x.y]:2|c"),
    ] {
        assert_eq!(written(Dialect::plain(style), &counted), [expected]);
    }
}

#[test]
fn statsd_reaches_negative_gauges_from_zero() {
    let gauge = point("g", Kind::Gauge, &[], Value::Gauge(-5.0));
    assert_eq!(written(Dialect::plain(TagStyle::InName), &gauge), ["g:0|g\ng:-5|g"]);
}

#[test]
fn statsd_sends_one_value_a_message() {
    let raw = Value::Raw(vec![(1.0, 1.0), (2.0, 1.0)]);
    let values = point("h", Kind::Histogram, &[], raw);
    assert_eq!(written(Dialect::plain(TagStyle::InName), &values), ["h:1|h", "h:2|h"]);
}

#[test]
fn counts_of_a_sketch_survive_as_rates() {
    for count in (1..2_000).chain([1 << 20, (1 << 32) - 1]) {
        let mut digits = Vec::new();
        text::number(&mut digits, text::share_of(count));
        let read: f64 = std::str::from_utf8(&digits).unwrap().parse().unwrap();
        assert_eq!((1.0 / read) as u64, count);
    }
    let sketch = Value::Sketch(Box::new(sketch_of(&[(1.0, 1.0), (1.0, 1.0), (8.0, 1.0)])));
    let written = written(Dialect::dog(&dog()), &point("h", Kind::Histogram, &[], sketch));
    assert!(written[0].ends_with("|h|@0.5") && written[1].ends_with("|h"), "{written:?}");
}

#[test]
fn a_long_distribution_is_several_whole_messages() {
    let raw = Value::Raw((0..500).map(|value| (f64::from(value), 1.0)).collect());
    let point = point("h", Kind::Histogram, &[("k", "v")], raw);
    let written = written(Dialect::dog(&dog()), &point);
    assert!(written.len() > 1 && written.iter().all(|message| message.len() <= 1_432));
    let values = written.iter().flat_map(|message| parse(message).unwrap().values);
    assert_eq!(values.collect::<Vec<_>>(), (0..500).map(f64::from).collect::<Vec<_>>());
}

/// What a receiver makes of a message.
#[derive(Debug, PartialEq)]
struct Parsed {
    name: String,
    values: Vec<f64>,
    letters: String,
    tags: Vec<(String, String)>,
}

fn parse(message: &str) -> Option<Parsed> {
    let (name, rest) = message.split_once(':')?;
    let mut fields = rest.split('|');
    let values =
        fields.next()?.split(':').map(|value| value.parse().ok()).collect::<Option<_>>()?;
    let letters = fields.next()?.to_owned();
    let mut tags = Vec::new();
    for field in fields {
        let tag = |tag: &str| tag.split_once(':').map(|(k, v)| (k.to_owned(), v.to_owned()));
        if let Some(list) = field.strip_prefix('#') {
            tags = list.split(',').map(tag).collect::<Option<_>>()?;
        }
    }
    Some(Parsed { name: name.to_owned(), values, letters, tags })
}

fn attributes() -> impl Strategy<Value = Vec<(String, String)>> {
    let text = "[a-z|:,#@\\[\\]=;\\n\\r\\t \\PC]{1,12}";
    prop::collection::vec((text, text), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_attribute_says_more_than_itself(name in "[a-z|:,#@\\n .]{0,12}x", tags in attributes()) {
        let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let point = point(&name, Kind::Counter, &tags, Value::Count(7.0));
        let message = written(Dialect::dog(&dog()), &point).remove(0);
        prop_assert!(!message.contains(['\n', '\r']));
        let parsed = parse(&message);
        prop_assert!(parsed.is_some(), "{message}");
        let parsed = parsed.unwrap();
        prop_assert_eq!((parsed.values, parsed.letters.as_str()), (vec![7.0], "c"));
        prop_assert_eq!(parsed.tags.len(), point.series.attributes().len());
        prop_assert_eq!(parsed.name.chars().count(), name.chars().count());
    }

    #[test]
    fn no_style_lets_an_attribute_out(name in "[a-z|:,#@\\n .]{0,12}x", tags in attributes()) {
        let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let point = point(&name, Kind::Counter, &tags, Value::Count(7.0));
        let styles = [TagStyle::InName, TagStyle::Influx, TagStyle::Librato, TagStyle::SignalFx];
        for style in styles {
            let message = written(Dialect::plain(style), &point).remove(0);
            let (name, value) = message.split_once(':').unwrap();
            prop_assert_eq!(value, "7|c");
            prop_assert!(!name.contains(['\n', '\r', '|', ' ']), "{}", message);
            let listed = name.matches('=').count();
            let expected = if style == TagStyle::InName { 0 } else { point.series.attributes().len() };
            prop_assert_eq!(listed, expected);
        }
    }

    #[test]
    fn no_event_says_more_than_itself(title in "\\PC{0,20}|[|\\n]{1,5}", text in "[\\PC\\n|#]{0,40}") {
        let event = Event { title, text, ..Event::default() };
        let message = Messages::new(Dialect::dog(&dog()), "").event(&event).unwrap();
        prop_assert!(!message.contains(&b'\n'));
        let message = String::from_utf8(message).unwrap();
        let (lengths, rest) = message.strip_prefix("_e{").unwrap().split_once("}:").unwrap();
        let (title, text) = lengths.split_once(',').unwrap();
        let (title, text): (usize, usize) = (title.parse().unwrap(), text.parse().unwrap());
        prop_assert_eq!(&rest[title..=title], "|");
        prop_assert_eq!(&rest[title + 1 + text..], "|t:info");
    }

    #[test]
    fn numbers_read_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        let mut digits = Vec::new();
        text::number(&mut digits, value);
        prop_assert!(digits.len() < 30);
        prop_assert_eq!(std::str::from_utf8(&digits).unwrap().parse::<f64>().unwrap(), value);
    }
}

fn batch(points: Vec<Point>) -> Batch {
    Batch { points, end_ms: 1_000, ..Batch::default() }
}

fn address(port: u16) -> Address {
    Address::Udp("127.0.0.1".into(), port)
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn datagrams_arrive_and_none_is_cut() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut config = StatsdConfig::new(address(receiver.local_addr().unwrap().port()));
    config.prefix = "edge.".into();
    config.link.sockets = 3;
    let mut exporter = StatsdExporter::plain(&config);
    let names: Vec<String> = (0..300).map(|i| format!("metric-{i}")).collect();
    let points = names.iter().map(|name| point(name, Kind::Counter, &[], Value::Count(1.0)));
    let mut tally = Tally::default();
    exporter.export(&batch(points.collect()), &mut tally).unwrap();
    assert_eq!((tally.points, tally.unsayable), (300, 0));
    let (mut lines, mut room) = (Vec::new(), [0; 65_536]);
    for _ in 0..tally.sends {
        let length = receiver.recv(&mut room).unwrap();
        assert!(length <= 1_432);
        let text = std::str::from_utf8(&room[..length]).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    let expected: Vec<_> = names.iter().map(|name| format!("edge.{name}:1|c")).collect();
    lines.sort_unstable_by_key(|line| expected.iter().position(|it| it == line));
    assert_eq!(lines, expected);
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_metric_longer_than_a_datagram_is_counted() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = StatsdConfig::new(address(receiver.local_addr().unwrap().port()));
    config.datagram_bytes_max = Some(64);
    let long = point(&"x".repeat(100), Kind::Counter, &[], Value::Count(1.0));
    let short = point("y", Kind::Counter, &[], Value::Count(1.0));
    let mut tally = Tally::default();
    StatsdExporter::plain(&config).export(&batch(vec![long, short]), &mut tally).unwrap();
    assert_eq!((tally.points, tally.unsayable, tally.sends), (1, 1, 1));
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_receiver_that_is_not_there_is_noticed_each_time() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut exporter = StatsdExporter::plain(&StatsdConfig::new(address(port)));
    let one = batch(vec![point("m", Kind::Counter, &[], Value::Count(1.0))]);
    // The first goes into the void, and the system tells so when the next is sent.
    exporter.export(&one, &mut Tally::default()).unwrap();
    for _ in 0..10 {
        let error = exporter.export(&one, &mut Tally::default()).unwrap_err();
        assert!(matches!(error, ExportError::Send(_)), "{error:?}");
    }
    let receiver = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    // What was refused before says nothing of these.
    exporter.export(&one, &mut Tally::default()).unwrap();
    exporter.export(&one, &mut Tally::default()).unwrap();
    let mut room = [0; 100];
    for _ in 0..2 {
        let length = receiver.recv(&mut room).unwrap();
        assert_eq!(&room[..length], b"m:1|c");
    }
}

/// Nobody reads, so the socket's queue fills up, and sending must end by its deadline.
#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_receiver_that_never_reads_costs_one_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.sock");
    let receiver = UnixDatagram::bind(&path).unwrap();
    let mut config = DogStatsdConfig::new(Address::Unix(path));
    config.link.deadline = Duration::from_millis(50);
    let mut exporter = StatsdExporter::dog(&config);
    let one = || batch(vec![point("m", Kind::Counter, &[], Value::Count(1.0))]);
    let started = Instant::now();
    let error = (0..10_000).find_map(|_| exporter.export(&one(), &mut Tally::default()).err());
    assert!(matches!(error, Some(ExportError::Send(_))), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let mut room = [0; 100];
    let length = receiver.recv(&mut room).unwrap();
    assert_eq!(&room[..length], b"m:1|c");
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_receiver_that_comes_back_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dsd.sock");
    let mut exporter = StatsdExporter::dog(&DogStatsdConfig::new(Address::Unix(path.clone())));
    let one = batch(vec![point("m", Kind::Counter, &[], Value::Count(1.0))]);
    let missing = exporter.export(&one, &mut Tally::default());
    assert!(matches!(missing, Err(ExportError::Connect { .. })));
    for _ in 0..2 {
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut sent = exporter.export(&one, &mut Tally::default());
        if sent.is_err() {
            sent = exporter.export(&one, &mut Tally::default());
        }
        sent.unwrap();
        let mut room = [0; 100];
        let length = receiver.recv(&mut room).unwrap();
        assert_eq!(&room[..length], b"m:1|c");
        std::fs::remove_file(&path).unwrap();
    }
}
