use super::{
    super::http::tests::{Received, receiver},
    wire::TimeSeries,
    *,
};
use crate::push::{
    batch::{Point, Value, sketch_of},
    catalog::Catalog,
    unit::Unit,
};

#[derive(Default)]
struct Fixture {
    catalog: Catalog,
    now_ms: u64,
}

impl Fixture {
    fn point(&self, id: crate::push::series::SeriesId, value: Value) -> Point {
        Point { series: self.catalog.series(id.index()).unwrap(), value }
    }

    fn count(&self, name: &str, attributes: &[(&str, &str)], value: f64) -> Point {
        let metric = self.catalog.metric(name).attributes(attributes.iter().copied());
        self.point(metric.counter().unwrap().0, Value::Count(value))
    }

    fn batch(&mut self, points: Vec<Point>) -> Batch {
        let start_ms = 1_000_000 + self.now_ms;
        self.now_ms += 10_000;
        Batch { start_ms, end_ms: start_ms + 10_000, points, ..Batch::default() }
    }
}

fn states(labels: &[(&str, &str)]) -> States {
    let labels: Vec<_> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    States::new(External::new(&labels))
}

fn text(series: &TimeSeries) -> String {
    let labels: Vec<_> =
        series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    let samples: Vec<_> =
        series.samples.iter().map(|it| format!("{}@{}", it.value, it.timestamp)).collect();
    format!("{} {}", labels.join(","), samples.join(" "))
}

fn texts(states: &States, now_ms: u64) -> Vec<String> {
    states.series(now_ms).iter().map(text).collect()
}

#[test]
fn counters_count_up_and_begin_at_zero() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[("job", "edge")]));
    let points = vec![fixture.count("requests", &[("zone", "a"), ("Area", "b")], 3.0)];
    states.observe(&fixture.batch(points));
    let line = "Area=b,__name__=requests_total,job=edge,zone=a";
    assert_eq!(texts(&states, 1_010_000), [format!("{line} 0@1000002 3@1010000")]);
    states.sent();
    let points = vec![fixture.count("requests", &[("zone", "a"), ("Area", "b")], 4.0)];
    states.observe(&fixture.batch(points));
    assert_eq!(texts(&states, 1_020_000), [format!("{line} 7@1020000")]);
    states.observe(&fixture.batch(Vec::new()));
    assert_eq!(texts(&states, 1_030_000), [format!("{line} 7@1030000")], "as a scrape finds it");
}

#[test]
fn histograms_are_cumulative_and_exact_at_their_edges() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[]));
    let id = fixture.catalog.metric("latency").timing().unwrap().0;
    let values = [(0.25, 1.0), (0.2500001, 1.0), (3.0, 1.0), (1_000.0, 1.0)];
    for _ in 0..2 {
        let sketch = Value::Sketch(Box::new(sketch_of(&values)));
        let point = fixture.point(id, sketch);
        states.observe(&fixture.batch(vec![point]));
    }
    states.sent();
    let lines = texts(&states, 5);
    assert_eq!(lines.len(), 20 + 3);
    for expected in [
        "__name__=latency_seconds_bucket,le=0.125 0@5",
        "__name__=latency_seconds_bucket,le=0.25 2@5",
        "__name__=latency_seconds_bucket,le=0.5 4@5",
        "__name__=latency_seconds_bucket,le=4 6@5",
        "__name__=latency_seconds_bucket,le=64 6@5",
        "__name__=latency_seconds_bucket,le=+Inf 8@5",
        "__name__=latency_seconds_count 8@5",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }
}

#[test]
fn names_are_made_legal_and_what_becomes_one_is_added_up() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[("__meta", "x"), ("e", "")]));
    let points = vec![
        fixture.count("a.b", &[("k.1", "x"), ("k-1", "y")], 1.0),
        fixture.count("a-b", &[("k_1", "y;x")], 2.0),
        fixture.count("9\nä", &[("le", "1"), ("__name__", "evil"), ("none", "")], 1.0),
    ];
    states.observe(&fixture.batch(points));
    states.sent();
    let lines = texts(&states, 5);
    assert_eq!(
        lines,
        [
            "__name__=a_b_total,_meta=x,k_1=y;x 3@5",
            "__name__=_9___total,_le=1,_meta=x,_name__=evil 1@5",
        ]
    );
}

#[test]
fn units_stand_in_the_name_once() {
    let catalog = Catalog::default();
    for (name, unit, expected) in [
        ("sent_bytes_total", Unit::Bytes, "sent_bytes_total"),
        ("sent", Unit::Bytes, "sent_bytes_total"),
        ("seconds", Unit::Seconds, "seconds_total"),
        ("requests", Unit::Count, "requests_total"),
    ] {
        let id = catalog.metric(name).unit(unit).counter().unwrap().0;
        let series = catalog.series(id.index()).unwrap();
        assert_eq!(labels::metric_name(&series), expected);
    }
}

#[test]
fn a_name_taken_by_another_kind_is_counted_as_unsayable() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[]));
    let gauge = fixture.catalog.metric("a_total").gauge().unwrap().0;
    let points = vec![fixture.count("a", &[], 1.0), fixture.point(gauge, Value::Gauge(1.0))];
    states.observe(&fixture.batch(points));
    assert_eq!((states.unsayable(), states.series(5).len()), (1, 1));
}

fn decoded(request: &Received) -> WriteRequest {
    let body = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
    WriteRequest::decode(&*body).unwrap()
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn requests_are_as_specified_and_come_in_their_time() {
    let answers = vec![("204 No Content", Vec::new()); 3];
    let (url, told) = receiver(answers);
    let config = RemoteWriteConfig::new(HttpConfig::new(url));
    let mut exporter = RemoteWriteExporter::new(&config).unwrap();
    let (mut fixture, mut tally) = (Fixture::default(), Tally::default());
    // Ten seconds each: the second is not due.
    for _ in 0..3 {
        let points = vec![fixture.count("c", &[], 1.0)];
        let batch = fixture.batch(points);
        exporter.observe(&batch);
        exporter.export(&batch, &mut tally).unwrap();
    }
    assert_eq!((tally.points, tally.sends), (3, 2));
    let (first, second) = (told.recv().unwrap(), told.recv().unwrap());
    assert_eq!(first.path, "/push");
    for (header, value) in HEADERS {
        assert_eq!(first.header(header), Some(value));
    }
    assert_eq!(text(&decoded(&first).timeseries[0]), "__name__=c_total 0@1000002 1@1010000");
    assert_eq!(text(&decoded(&second).timeseries[0]), "__name__=c_total 3@1030000");
    exporter.finish(&mut tally).unwrap();
    let marker = decoded(&told.recv().unwrap());
    assert_eq!(markers(&marker), [("c_total".to_owned(), 1_030_001)], "nothing else is left");
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn an_outage_costs_no_count() {
    let (url, told) = receiver(vec![
        ("500 Internal Server Error", Vec::new()),
        ("400 Bad Request", b"out of order sample".to_vec()),
        ("204 No Content", Vec::new()),
    ]);
    let config = RemoteWriteConfig::new(HttpConfig::new(url));
    let mut exporter = RemoteWriteExporter::new(&config).unwrap();
    let mut fixture = Fixture::default();
    let mut export = || {
        let points = vec![fixture.count("c", &[], 1.0)];
        let batch = fixture.batch(points);
        exporter.observe(&batch);
        exporter.export(&batch, &mut Tally::default())
    };
    assert!(export().unwrap_err().is_retryable());
    assert!(!export().unwrap_err().is_retryable());
    export().unwrap();
    let last = told.iter().nth(2).unwrap();
    let kept = text(&decoded(&last).timeseries[0]);
    assert_eq!(kept, "__name__=c_total 3@1030000", "a zero that was refused is not sent again");
}

/// Names and times of the stale markers of a request.
fn markers(request: &WriteRequest) -> Vec<(String, i64)> {
    let mut markers = Vec::new();
    for series in &request.timeseries {
        let name = series.labels.iter().find(|label| label.name == "__name__").unwrap();
        let last = series.samples.last().unwrap();
        if last.value.to_bits() == 0x7ff0_0000_0000_0002 {
            markers.push((name.value.clone(), last.timestamp));
        }
    }
    markers
}

#[test]
fn remote_write_1_0_a_series_that_has_ended_is_sent_a_stale_marker_and_then_no_more() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[]));
    let gauge = fixture.catalog.metric("level").gauge().unwrap().0;
    let points = vec![fixture.point(gauge, Value::Gauge(7.0)), fixture.count("c", &[], 1.0)];
    states.observe(&fixture.batch(points));
    states.series(1_010_000);
    states.sent();
    let mut batch = fixture.batch(Vec::new());
    batch.retired = vec![fixture.catalog.series(gauge.index()).unwrap()];
    states.observe(&batch);
    let request = WriteRequest { timeseries: states.series(1_020_000) };
    assert_eq!(markers(&request), [("level".to_owned(), 1_020_000)]);
    assert_eq!(request.timeseries[0].samples.len(), 1, "its value was sent before");
    states.sent();
    assert_eq!(texts(&states, 1_030_000), ["__name__=c_total 1@1030000"]);
    let point = fixture.point(gauge, Value::Gauge(8.0));
    states.observe(&fixture.batch(vec![point]));
    assert_eq!(texts(&states, 1_040_000)[1], "__name__=level 8@1040000", "it may return");
}

#[test]
fn what_a_series_came_to_before_it_ended_is_sent() {
    let (mut fixture, mut states) = (Fixture::default(), states(&[]));
    let mut batch = fixture.batch(vec![fixture.count("c", &[], 4.0)]);
    batch.retired = vec![Arc::clone(&batch.points[0].series)];
    states.observe(&batch);
    let line = text(&states.series(1_010_000)[0]);
    assert_eq!(line, "__name__=c_total 0@1000002 4@1009999 NaN@1010000");
}

/// As a receiver of Prometheus does it: samples of a series come in the order of their time, and one
/// time has one value. Answers 400 for a request with any other sample.
#[derive(Default)]
struct InOrder(std::collections::HashMap<String, (i64, u64)>);

impl InOrder {
    fn take(&mut self, series: &[TimeSeries]) -> bool {
        let mut all = true;
        for line in series {
            let name = format!("{:?}", line.labels);
            for sample in &line.samples {
                let new = (sample.timestamp, sample.value.to_bits());
                match self.0.get(&name) {
                    Some(last) if new.0 < last.0 || new.0 == last.0 && new.1 != last.1 => {
                        all = false;
                    }
                    _ => drop(self.0.insert(name.clone(), new)),
                }
            }
        }
        all
    }
}

#[test]
fn an_exporter_that_follows_another_sends_nothing_from_before_it() {
    let (mut fixture, mut receiver) = (Fixture::default(), InOrder::default());
    for exporter in 0..3 {
        let mut states = states(&[]);
        let mut end_ms = 0;
        for _ in 0..2 {
            let points = vec![fixture.count("c", &[], 1.0)];
            let batch = fixture.batch(points);
            end_ms = batch.end_ms();
            states.observe(&batch);
            assert!(receiver.take(&states.series(end_ms)), "exporter {exporter}");
            states.sent();
        }
        states.end_all();
        assert!(receiver.take(&states.series(end_ms + 1)), "the markers of exporter {exporter}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn many_series_are_several_requests() {
    let (url, told) = receiver(vec![("200 OK", Vec::new()); 3]);
    let config = RemoteWriteConfig::new(HttpConfig::new(url));
    let mut exporter = RemoteWriteExporter::new(&config).unwrap();
    let mut fixture = Fixture::default();
    let names: Vec<String> = (0..SERIES_MAX * 2 + 1).map(|i| i.to_string()).collect();
    let points = names.iter().map(|name| fixture.count("c", &[("k", name)], 1.0)).collect();
    let batch = fixture.batch(points);
    exporter.observe(&batch);
    let mut tally = Tally::default();
    exporter.export(&batch, &mut tally).unwrap();
    assert_eq!((tally.points, tally.sends), (names.len() as u64, 3));
    let sizes: Vec<_> = told.iter().take(3).map(|it| decoded(&it).timeseries.len()).collect();
    assert_eq!(sizes, [SERIES_MAX, SERIES_MAX, 1]);
}
