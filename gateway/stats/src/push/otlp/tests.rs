use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsPartialSuccess,
    common::v1::any_value,
    metrics::v1::{Metric, metric::Data, number_data_point},
};

use super::*;
use crate::push::{
    batch::{Point, Value, sketch_of},
    catalog::Catalog,
    unit::Unit,
};

#[derive(Default)]
struct Fixture {
    catalog: Catalog,
    flushed: u64,
}

impl Fixture {
    fn count(&self, attributes: &[(&str, &str)], value: f64) -> Point {
        let metric = self.catalog.metric("requests").unit(Unit::Count);
        let id = metric.attributes(attributes.iter().copied()).counter().unwrap().0;
        Point { series: self.catalog.series(id.index()).unwrap(), value: Value::Count(value) }
    }

    fn gauge(&self, value: f64) -> Point {
        let id = self.catalog.metric("temperature").gauge().unwrap().0;
        Point { series: self.catalog.series(id.index()).unwrap(), value: Value::Gauge(value) }
    }

    fn timing(&self, values: &[f64]) -> Point {
        let id = self.catalog.metric("latency").timing().unwrap().0;
        let values: Vec<_> = values.iter().map(|value| (*value, 1.0)).collect();
        let value = Value::Sketch(Box::new(sketch_of(&values)));
        Point { series: self.catalog.series(id.index()).unwrap(), value }
    }

    fn batch(&mut self, points: Vec<Point>) -> Batch {
        self.flushed += 1;
        let end_ms = 1_000 * self.flushed;
        Batch { start_ms: end_ms - 1_000, end_ms, points, ..Batch::default() }
    }
}

fn sent(requests: &mut Requests, batch: &Batch) -> (Vec<Metric>, Tally) {
    let (mut metrics, mut tally) = (Vec::new(), Tally::default());
    requests.observe(batch);
    requests
        .send(batch, &mut tally, |request, _| {
            for resource in request.resource_metrics {
                for scope in resource.scope_metrics {
                    metrics.extend(scope.metrics);
                }
            }
            Ok(ExportMetricsServiceResponse::default())
        })
        .unwrap();
    (metrics, tally)
}

fn sums(metric: &Metric) -> Vec<i64> {
    let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?} is no sum") };
    assert!(sum.is_monotonic);
    let value = |value| match value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("{other:?} is not whole"),
    };
    sum.data_points.iter().map(|point| value(point.value)).collect()
}

#[test]
fn points_become_what_the_data_model_has_for_them() {
    let mut fixture = Fixture::default();
    let points = vec![
        fixture.count(&[("route", "a")], 3.0),
        fixture.gauge(-1.5),
        fixture.count(&[("route", "b")], 4.0),
        fixture.timing(&[0.25, 0.3, 0.0]),
    ];
    let batch = fixture.batch(points);
    let (metrics, tally) = sent(&mut Requests::new(&OtlpConfig::default()), &batch);
    assert_eq!((tally.points, tally.sends), (4, 1));
    let names: Vec<_> = metrics.iter().map(|it| (it.name.as_str(), it.unit.as_str())).collect();
    assert_eq!(names, [("latency", "s"), ("requests", "1"), ("temperature", "")]);
    assert_eq!(sums(&metrics[1]), [3, 4]);
    let Some(Data::Sum(sum)) = &metrics[1].data else { panic!("checked above") };
    let attribute = &sum.data_points[0].attributes[0];
    let value = attribute.value.as_ref().and_then(|value| value.value.clone());
    assert_eq!(attribute.key, "route");
    assert_eq!(value, Some(any_value::Value::StringValue("a".into())));
    assert_eq!(sum.data_points[0].time_unix_nano, 1_000_000_000);
    let Some(Data::ExponentialHistogram(histogram)) = &metrics[0].data else {
        panic!("not exponential")
    };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.zero_count, point.sum), (3, 1, Some(0.55)));
    let buckets = point.positive.as_ref().unwrap();
    // A quarter is the upper edge of bucket -2 * 2^4 - 1.
    assert_eq!((point.scale, buckets.offset), (4, -33));
    assert_eq!(buckets.bucket_counts.iter().sum::<u64>(), 2);
}

#[test]
fn deltas_are_of_a_window_and_cumulative_sums_of_all() {
    for (temporality, expected) in [
        (Temporality::Delta, [vec![1], vec![1, 5], vec![]]),
        (Temporality::Cumulative, [vec![1], vec![2, 5], vec![2, 5]]),
    ] {
        let mut fixture = Fixture::default();
        let config = OtlpConfig { temporality, ..OtlpConfig::default() };
        let mut requests = Requests::new(&config);
        for (round, expected) in expected.into_iter().enumerate() {
            let mut points = vec![fixture.count(&[], 1.0), fixture.count(&[("a", "b")], 5.0)];
            points.truncate([1, 2, 0][round]);
            let batch = fixture.batch(points);
            let (metrics, tally) = sent(&mut requests, &batch);
            assert_eq!(metrics.first().map(sums).unwrap_or_default(), expected);
            assert_eq!(tally.points, batch.points().len() as u64);
        }
    }
}

#[test]
fn cumulative_distributions_are_merged_and_explicit_ones_exact() {
    let mut fixture = Fixture::default();
    let config = OtlpConfig {
        temporality: Temporality::Cumulative,
        histograms: Histograms::Explicit,
        ..OtlpConfig::default()
    };
    let mut requests = Requests::new(&config);
    let points = vec![fixture.timing(&[0.00001, 0.25])];
    let batch = fixture.batch(points);
    sent(&mut requests, &batch);
    let points = vec![fixture.timing(&[0.26, 1_000.0])];
    let batch = fixture.batch(points);
    let (metrics, _) = sent(&mut requests, &batch);
    let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("not explicit") };
    let point = &histogram.data_points[0];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let counted: Vec<_> =
        point.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0).collect();
    assert_eq!(counted, [(0, &1), (11, &1), (12, &1), (20, &1)]);
    assert_eq!((point.explicit_bounds[11], point.count), (0.25, 4));
}

#[test]
fn the_data_model_says_of_a_series_that_has_ended_that_it_has_no_value() {
    let mut fixture = Fixture::default();
    let config = OtlpConfig { temporality: Temporality::Cumulative, ..OtlpConfig::default() };
    let mut requests = Requests::new(&config);
    let points = vec![fixture.count(&[], 5.0), fixture.gauge(1.0)];
    sent(&mut requests, &fixture.batch(points));
    let flags = |metrics: &[Metric]| -> Vec<(u32, bool)> {
        let points = metrics.iter().map(|metric| match &metric.data {
            Some(Data::Sum(sum)) => &sum.data_points[0],
            Some(Data::Gauge(gauge)) => &gauge.data_points[0],
            other => panic!("{other:?}"),
        });
        points.map(|point| (point.flags, point.value.is_some())).collect()
    };
    let mut batch = fixture.batch(Vec::new());
    batch.retired = vec![fixture.count(&[], 0.0).series];
    assert_eq!(flags(&sent(&mut requests, &batch).0), [(1, false), (0, true)]);
    // It returns: a sum that began anew says since when it counts.
    let points = vec![fixture.count(&[], 2.0)];
    let (metrics, _) = sent(&mut requests, &fixture.batch(points));
    assert_eq!(sums(&metrics[0]), [2]);
    let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("checked above") };
    assert_eq!(sum.data_points[0].start_time_unix_nano, 2_000_000_000);

    let mut last = Vec::new();
    requests
        .finish(&mut Tally::default(), |request, _| {
            last.extend(request.resource_metrics[0].scope_metrics[0].metrics.clone());
            Ok(ExportMetricsServiceResponse::default())
        })
        .unwrap();
    assert_eq!(flags(&last), [(1, false), (1, false)]);
}

#[test]
fn what_the_receiver_refuses_is_counted() {
    let mut fixture = Fixture::default();
    let points = vec![fixture.count(&[], 1.0), fixture.gauge(1.0)];
    let batch = fixture.batch(points);
    let mut tally = Tally::default();
    let partial =
        ExportMetricsPartialSuccess { rejected_data_points: 1, error_message: "no".into() };
    Requests::new(&OtlpConfig::default())
        .send(&batch, &mut tally, |_, _| {
            Ok(ExportMetricsServiceResponse { partial_success: Some(partial.clone()) })
        })
        .unwrap();
    assert_eq!((tally.points, tally.refused), (1, 1));
}

#[cfg(feature = "otlp-http")]
#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn http_requests_are_as_specified() {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use prost::Message;

    use super::super::http::{HttpConfig, tests::receiver};

    let (url, told) = receiver(vec![("200 OK", Vec::new()), ("503 Busy", Vec::new())]);
    let otlp = OtlpConfig {
        resource: vec![("service.name".into(), "edge".into())],
        ..OtlpConfig::default()
    };
    let spec = OtlpHttpConfig { http: HttpConfig::new(url), otlp }.spec("otlp");
    let mut exporter = (spec.build)().unwrap();
    let mut fixture = Fixture::default();
    let points = vec![fixture.count(&[], 2.0)];
    let batch = fixture.batch(points);
    let mut tally = Tally::default();
    exporter.export(&batch, &mut tally).unwrap();
    let request = told.recv().unwrap();
    assert_eq!(request.path, "/push");
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(request.body.len() as u64, tally.bytes);
    let message = ExportMetricsServiceRequest::decode(&*request.body).unwrap();
    let resource = &message.resource_metrics[0];
    assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
    assert_eq!(sums(&resource.scope_metrics[0].metrics[0]), [2]);
    assert!(exporter.export(&batch, &mut tally).unwrap_err().is_retryable());
}

#[cfg(feature = "otlp-grpc")]
#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn grpc_without_a_receiver_may_be_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spec = OtlpGrpcConfig::new(format!("http://127.0.0.1:{port}")).spec("otlp");
    let mut exporter = (spec.build)().unwrap();
    let mut fixture = Fixture::default();
    let points = vec![fixture.count(&[], 2.0)];
    let error = exporter.export(&fixture.batch(points), &mut Tally::default()).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[cfg(feature = "otlp-grpc")]
#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn grpc_with_a_receiver_that_never_answers_costs_one_deadline() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = OtlpGrpcConfig::new(format!("http://{}", listener.local_addr().unwrap()));
    config.deadline = std::time::Duration::from_millis(100);
    let mut exporter = (config.spec("otlp").build)().unwrap();
    let mut fixture = Fixture::default();
    let points = vec![fixture.count(&[], 2.0)];
    let started = std::time::Instant::now();
    exporter.export(&fixture.batch(points), &mut Tally::default()).unwrap_err();
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
}
