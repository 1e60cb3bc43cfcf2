//! A collector made from the protocol's own service definition, over gRPC; and over HTTP the same
//! message.

use std::sync::{Arc, Mutex, mpsc};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};
use sallyport_stats::push::{
    Distributions,
    otlp::{OtlpConfig, OtlpGrpcConfig, Temporality},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use tonic::{Request, Response, Status, transport::Server};

use crate::{LATENCIES_MS, OPEN, REQUESTS, push};

#[derive(Clone)]
struct Collector(Arc<Mutex<Vec<Metric>>>);

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if request.metadata().get("x-token").is_none_or(|token| token != "secret") {
            return Err(Status::unauthenticated("no token"));
        }
        let resources = request.into_inner().resource_metrics;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_metrics);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.metrics));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Runs a collector while `push` is under way, and returns what it took.
fn collected(temporality: Temporality) -> Vec<Metric> {
    let metrics = Arc::new(Mutex::new(Vec::new()));
    let collector = Collector(Arc::clone(&metrics));
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        Runtime::new().unwrap().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            Server::builder()
                .add_service(MetricsServiceServer::new(collector))
                .serve_with_incoming_shutdown(incoming, async { stopped.await.unwrap_or_default() })
                .await
                .unwrap();
        });
    });
    let mut config = OtlpGrpcConfig::new(format!("http://{}", told.recv().unwrap()));
    config.metadata = vec![("x-token".into(), "secret".into())];
    config.otlp = OtlpConfig { temporality, ..OtlpConfig::default() };
    push(config.spec("otlp"), Distributions::Sketch);
    stop.send(()).ok();
    server.join().unwrap();
    Arc::into_inner(metrics).unwrap().into_inner().unwrap()
}

/// The values of a series' points, in the order in which they came.
fn counts(metrics: &[Metric], route: &str) -> Vec<i64> {
    let points =
        metrics.iter().filter(|metric| metric.name == "requests").flat_map(|metric| match &metric
            .data
        {
            Some(Data::Sum(sum)) => sum.data_points.clone(),
            other => panic!("{other:?} is no sum"),
        });
    let of_route = points.filter(|point| format!("{:?}", point.attributes).contains(route));
    let value = |value| match value {
        Some(Value::AsInt(value)) => value,
        other => panic!("{other:?} is not whole"),
    };
    // The last of a sum may say that there is no value any more.
    of_route.filter(|point| point.flags == 0).map(|point| value(point.value)).collect()
}

#[test]
fn a_collector_takes_every_figure() {
    let metrics = collected(Temporality::Delta);
    assert_eq!(counts(&metrics, "\"a\"").iter().sum::<i64>(), REQUESTS[0] as i64);
    assert_eq!(counts(&metrics, "evil").iter().sum::<i64>(), REQUESTS[1] as i64);
    let gauges: Vec<f64> = metrics
        .iter()
        .filter_map(|metric| match &metric.data {
            Some(Data::Gauge(gauge)) => match gauge.data_points[0].value {
                Some(Value::AsDouble(value)) => Some(value),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(gauges, [OPEN]);
    let histogram = metrics.iter().find_map(|metric| match &metric.data {
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.first(),
        _ => None,
    });
    let point = histogram.expect("there is one");
    assert_eq!(point.count, LATENCIES_MS.len() as u64);
    assert_eq!((point.min, point.max), (Some(0.001), Some(4.0)));
    let sum = LATENCIES_MS.iter().sum::<u64>() as f64 / 1e3;
    assert!((point.sum.unwrap() - sum).abs() < 1e-9);
}

#[test]
fn a_collector_takes_cumulative_sums() {
    let metrics = collected(Temporality::Cumulative);
    for (route, total) in [("\"a\"", REQUESTS[0]), ("evil", REQUESTS[1])] {
        let counts = counts(&metrics, route);
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(counts.last().copied(), Some(total as i64));
    }
    let ended = metrics.iter().filter(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.iter().all(|point| point.flags == 1),
        _ => false,
    });
    assert_eq!(ended.count(), 1, "the sums end with their exporter");
}
