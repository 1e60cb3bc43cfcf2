//! Counts a few things and pushes them to DogStatsD.
//!
//! `cargo run -p sallyport-stats --features statsd --example push [-- udp://127.0.0.1:8125]`; to see
//! what is sent, listen with `nc -ul 8125`.

use std::{error::Error, sync::Arc, time::Duration};

use sallyport_stats::push::{
    Catalog, Event, Pipeline, PipelineConfig, Rate, Recorder, Unit,
    statsd::{DogStatsdConfig, origin},
};

fn main() -> Result<(), Box<dyn Error>> {
    let to = std::env::args().nth(1).unwrap_or_else(|| "udp://127.0.0.1:8125".to_owned());
    let mut dogstatsd = DogStatsdConfig::new(to.parse()?);
    dogstatsd.prefix = "example".to_owned();
    dogstatsd.container_id = origin::container_id();

    let catalog = Arc::new(Catalog::default());
    let requests = catalog.metric("requests").attribute("route", "checkout").counter()?;
    let open = catalog.metric("connections.open").unit(Unit::Count).gauge()?;
    let latency = catalog.metric("latency").attribute("route", "checkout").timing()?;

    let config = PipelineConfig::default();
    let pipeline = Pipeline::start(&config, catalog, vec![dogstatsd.spec("dogstatsd")])?;
    let recorder = pipeline.recorder();
    for request in 0..10_000_u32 {
        recorder.count(requests, 1);
        recorder.set(open, f64::from(request % 7));
        recorder.time_at(latency, Duration::from_micros(u64::from(request)), Rate::new(0.1));
    }
    let title = "the example ran".to_owned();
    recorder.event(Event { title, text: "to its end".to_owned(), ..Event::default() });

    let lost = pipeline.shutdown(Duration::from_secs(2));
    println!("lost: {lost:?}");
    Ok(())
}
