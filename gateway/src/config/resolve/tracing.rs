//! `tracing`, and what of it virtual hosts and routes say.

use http::Uri;
use sallyport_config::spec::push::OtlpProtocol;
use sallyport_config::spec::scalar::Share;
use sallyport_config::spec::{self, TracingOverride};
use sallyport_config::{Place, Sink};
use sallyport_stats::push::otlp::{OtlpGrpcConfig, TraceReceiver};

use super::Resolver;
use super::push::{http, pairs, refuse_binary};
use crate::config::tracing::Tracing;
use crate::trace::context::Sample;

/// The port that collectors take OTLP over HTTP at.
const HTTP_PORT: u16 = 4318;

/// The path of traces, where a URL has none.
const PATH: &str = "/v1/traces";

pub(super) fn tracing(spec: &spec::Tracing, place: &Place<'_>, sink: &mut Sink) -> Option<Tracing> {
    Some(Tracing {
        receiver: receiver(&spec.otlp, &Place::Key(place, "otlp"), sink)?,
        resource: pairs(&spec.otlp.resource),
        sample: sample(spec.sample),
        trust: spec.trust,
        queue: spec.queue.0 as usize,
    })
}

fn receiver(spec: &spec::TracingOtlp, place: &Place<'_>, sink: &mut Sink) -> Option<TraceReceiver> {
    let mut http = http(&spec.url, &spec.headers, place, sink)?;
    http.deadline = spec.timeout.0;
    let uri: Uri = http.url.parse().ok()?;
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    let usual = match has_path || uri.port_u16() == Some(HTTP_PORT) {
        true => OtlpProtocol::Http,
        false => OtlpProtocol::Grpc,
    };
    if spec.protocol.unwrap_or(usual) == OtlpProtocol::Grpc {
        refuse_binary(&http.headers, place, sink)?;
        let mut config = OtlpGrpcConfig::new(http.url);
        (config.metadata, config.deadline) = (http.headers, http.deadline);
        return Some(TraceReceiver::Grpc(config));
    }
    if !has_path {
        http.url = format!("{}{PATH}", http.url.trim_end_matches('/'));
    }
    Some(TraceReceiver::Http(http))
}

fn sample(share: Share) -> Sample {
    Sample::of_hundred_million(share.0)
}

impl Resolver<'_, '_, '_> {
    /// The share that a virtual host or a route at `place` says. One that nothing is sent of is a
    /// slip.
    pub(super) fn sample(
        &mut self,
        spec: Option<&TracingOverride>,
        place: &Place<'_>,
    ) -> Option<Sample> {
        let spec = spec?;
        if self.declared.main().tracing.is_none() {
            let what = "has no effect: nothing says where traces are sent";
            let fix =
                "add `tracing: { otlp: { url: \"http://collector:4317\" } }` to the main file";
            Place::Key(place, "tracing").refuse::<()>(self.problems, what, fix);
        }
        Some(sample(spec.sample))
    }
}
