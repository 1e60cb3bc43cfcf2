use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    net::{TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::push::{
    batch::{Point, Value, sketch_of},
    catalog::{Catalog, CatalogLimits},
    unit::Unit,
};

fn config() -> EmfConfig {
    EmfConfig::new("localhost:25888".parse().unwrap(), "Sallyport")
}

fn records(config: &EmfConfig, points: Vec<Point>) -> (Vec<Json>, Tally) {
    let batch = Batch { points, end_ms: 1_565_375_354_953, ..Batch::default() };
    let mut tally = Tally::default();
    let records = Records::new(config).of(&batch, 65_507, &mut tally);
    let json = records.iter().map(|it| serde_json::from_slice(&it.json).unwrap()).collect();
    tally.points = records.iter().map(|it| it.points).sum();
    (json, tally)
}

/// Points with everything the catalogue knows about each.
#[derive(Default)]
struct Points {
    catalog: Catalog,
    points: Vec<Point>,
}

impl Points {
    fn counter(&mut self, name: &str, attributes: &[(&str, &str)], value: f64) -> &mut Self {
        let metric = self.catalog.metric(name).unit(Unit::Count);
        let id = metric.attributes(attributes.iter().copied()).counter().unwrap().0;
        let series = self.catalog.series(id.index()).unwrap();
        self.points.push(Point { series, value: Value::Count(value) });
        self
    }

    fn timing(&mut self, name: &str, value: Value) -> &mut Self {
        let id = self.catalog.metric(name).timing().unwrap().0;
        let series = self.catalog.series(id.index()).unwrap();
        self.points.push(Point { series, value });
        self
    }
}

/// The rules of the published schema, and of the specification beside it, as far as they concern a
/// record without a directive's optional parts.
fn check(record: &Json) {
    let meta = &record["_aws"];
    assert!(meta["Timestamp"].as_u64().is_some_and(|ms| ms > 1_000_000_000_000), "{record}");
    let directives = meta["CloudWatchMetrics"].as_array().unwrap();
    for directive in directives {
        let namespace = directive["Namespace"].as_str().unwrap();
        assert!((1..=1_024).contains(&namespace.len()));
        let sets = directive["Dimensions"].as_array().unwrap();
        assert!(!sets.is_empty());
        for set in sets {
            let set = set.as_array().unwrap();
            assert!(set.len() <= 30);
            for name in set {
                let name = name.as_str().unwrap();
                assert!((1..=250).contains(&name.len()) && !name.starts_with(':'));
                let value = record[name].as_str().expect("a dimension refers to a text");
                assert!((1..=1_024).contains(&value.len()) && !value.trim().is_empty());
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        let mut names = HashSet::new();
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            assert!((1..=1_024).contains(&name.len()) && names.insert(name));
            assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()));
            assert!(matches!(metric["StorageResolution"].as_u64(), None | Some(1 | 60)));
            check_target(&record[name]);
        }
    }
}

fn check_target(target: &Json) {
    let numbers = |list: &Json| {
        let list = list.as_array().unwrap();
        assert!((1..=100).contains(&list.len()) && list.iter().all(Json::is_number));
        list.len()
    };
    match target {
        Json::Number(_) => {}
        Json::Array(_) => drop(numbers(target)),
        Json::Object(_) => assert_eq!(numbers(&target["Values"]), numbers(&target["Counts"])),
        other => panic!("{other} is no target"),
    }
}

const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

#[test]
fn a_record_as_it_is_specified() {
    let mut points = Points::default();
    points.counter("requests", &[("route", "checkout")], 3.0);
    let raw = Value::Raw(vec![(0.25, 1.0), (1.0, 1.0)]);
    points.timing("latency", raw);
    let config = EmfConfig {
        dimensions: vec![("service".into(), "edge".into())],
        log_group: Some("/edge".into()),
        high_resolution: true,
        ..config()
    };
    let (records, tally) = records(&config, points.points);
    records.iter().for_each(check);
    assert_eq!((records.len(), tally.points), (2, 2));
    let expected = serde_json::json!({
        "_aws": {
            "Timestamp": 1_565_375_354_953_u64,
            "LogGroupName": "/edge",
            "CloudWatchMetrics": [{
                "Namespace": "Sallyport",
                "Dimensions": [["route", "service"]],
                "Metrics": [{ "Name": "requests", "Unit": "Count", "StorageResolution": 1 }],
            }],
        },
        "route": "checkout",
        "service": "edge",
        "requests": 3,
    });
    assert_eq!(records[0], expected);
    assert_eq!(records[1]["latency"], serde_json::json!([0.25, 1]));
}

#[test]
fn series_with_the_same_attributes_share_a_record_of_a_hundred_at_most() {
    let mut points = Points::default();
    for i in 0..250 {
        points.counter(&format!("m{i}"), &[("a", "b")], f64::from(i));
    }
    points.counter("other", &[("a", "c")], 1.0);
    let (records, tally) = records(&config(), points.points);
    records.iter().for_each(check);
    assert_eq!((records.len(), tally.points, tally.unsayable), (4, 251, 0));
    let found: Vec<_> =
        (0..250).filter_map(|i| records.iter().find_map(|it| it.get(format!("m{i}")))).collect();
    assert_eq!(found, (0..250).collect::<Vec<_>>());
}

#[test]
fn many_values_are_several_records() {
    let mut points = Points::default();
    points.timing("raw", Value::Raw((0..250).map(|i| (f64::from(i), 1.0)).collect()));
    let spread: Vec<_> = (0..2_000).map(|i| (1.01_f64.powi(i), 1.0)).collect();
    points.timing("sketch", Value::Sketch(Box::new(sketch_of(&spread))));
    let (records, tally) = records(&config(), points.points);
    records.iter().for_each(check);
    assert_eq!(tally.points, 2);
    let values: usize = records.iter().filter_map(|it| it["raw"].as_array()).map(Vec::len).sum();
    assert_eq!(values, 250);
    let counts = records.iter().filter_map(|it| it["sketch"]["Counts"].as_array()).flatten();
    assert_eq!(counts.filter_map(Json::as_u64).sum::<u64>(), 2_000);
}

#[test]
fn a_distribution_keeps_its_count_and_sum() {
    let mut points = Points::default();
    let values = [(0.5, 1.0), (0.5, 1.0), (4.0, 1.0)];
    points.timing("t", Value::Sketch(Box::new(sketch_of(&values))));
    points.timing("rated", Value::Raw(vec![(1.0, 0.1)]));
    let (records, _) = records(&config(), points.points);
    let figure = &records[0]["t"];
    assert_eq!((figure["Count"].as_u64(), figure["Sum"].as_f64()), (Some(3), Some(5.0)));
    assert_eq!((figure["Min"].as_f64(), figure["Max"].as_f64()), (Some(0.5), Some(4.0)));
    assert_eq!(records[0]["rated"]["Counts"], serde_json::json!([10]));
}

#[test]
fn what_cannot_be_said_is_counted() {
    let mut points = Points::default();
    points.counter("route", &[("route", "a name that is a dimension too")], 1.0);
    points.counter("_aws", &[], 1.0);
    points.counter("huge", &[], 1e300);
    points.counter("fine", &[("empty", " ")], 1.0);
    let keys: Vec<String> = (0..30).map(|i| format!("k{i}")).collect();
    let many: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    points.counter("many", &many, 1.0);
    let config = EmfConfig { dimensions: vec![("one".into(), "more".into())], ..config() };
    let (records, tally) = records(&config, points.points);
    records.iter().for_each(check);
    assert_eq!((tally.points, tally.unsayable), (1, 4));
}

#[test]
fn a_record_fits_its_link() {
    let limits = CatalogLimits { series: 1_000, ..CatalogLimits::default() };
    let mut points = Points { catalog: Catalog::new(limits), ..Points::default() };
    for i in 0..500 {
        points.counter(&format!("a-rather-long-name-{i:0>100}"), &[("a", "b")], 1.0);
    }
    let batch = Batch { points: points.points, end_ms: 1, ..Batch::default() };
    let mut tally = Tally::default();
    let records = Records::new(&config()).of(&batch, 1_400, &mut tally);
    assert!(records.iter().all(|record| record.json.len() <= 1_400));
    assert_eq!(records.iter().map(|record| record.points).sum::<u64>(), 500);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_name_or_attribute_breaks_a_record(
        names in prop::collection::vec("\\PC{0,10}[a-z\"\\\\{},:\\n]{1,5}", 1..5),
        attributes in prop::collection::vec(("\\PC{0,9}|[:\"\\n]{1,3}", "\\PC{0,9}|[\"}\\n]{1,3}"), 0..5),
    ) {
        let attributes: Vec<_> =
            attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut points = Points::default();
        for name in names.iter().filter(|name| !name.trim().is_empty()) {
            points.counter(name, &attributes, 1.0);
        }
        let total = points.points.len() as u64;
        let (records, tally) = records(&config(), points.points);
        records.iter().for_each(check);
        prop_assert_eq!(tally.points + tally.unsayable, total);
    }
}

fn one() -> Batch {
    let mut points = Points::default();
    points.counter("requests", &[], 1.0);
    Batch { points: points.points, end_ms: 1_565_375_354_953, ..Batch::default() }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn records_arrive_over_udp_and_tcp() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp_port, tcp_port) = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
    let mut tally = Tally::default();
    for address in
        [Address::Udp("127.0.0.1".into(), udp_port), Address::Tcp("127.0.0.1".into(), tcp_port)]
    {
        let config = EmfConfig { address, ..config() };
        EmfExporter::new(&config).export(&one(), &mut tally).unwrap();
    }
    let mut room = [0; 65_536];
    let length = udp.recv(&mut room).unwrap();
    check(&serde_json::from_slice(&room[..length]).unwrap());
    let mut line = String::new();
    BufReader::new(tcp.accept().unwrap().0).read_line(&mut line).unwrap();
    check(&serde_json::from_str(&line).unwrap());
    assert_eq!((tally.points, tally.sends), (2, 2));
}

/// The system accepts for it, and nobody ever reads.
#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_receiver_that_accepts_and_never_reads_costs_one_deadline() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp("127.0.0.1".into(), tcp.local_addr().unwrap().port());
    let mut config = EmfConfig { address, ..config() };
    config.link.deadline = Duration::from_millis(100);
    let mut exporter = EmfExporter::new(&config);
    let mut points = Points::default();
    for i in 0..90 {
        points.counter(&format!("m{i:0>150}"), &[], 1.0);
    }
    let batch = Batch { points: points.points, end_ms: 1, ..Batch::default() };
    let started = Instant::now();
    let error = (0..10_000).find_map(|_| exporter.export(&batch, &mut Tally::default()).err());
    assert!(matches!(error, Some(ExportError::Send(_))), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}
