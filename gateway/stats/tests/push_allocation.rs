//! Recording allocates nothing, whether there is room or not.

use std::{sync::Arc, time::Duration};

use sallyport_stats::push::{Catalog, Overflow, Pipeline, PipelineConfig, Rate, Recorder};

#[test]
fn recording_allocates_nothing() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let config = PipelineConfig { overflow, capacity: 256, ..PipelineConfig::default() };
        let catalog = Arc::new(Catalog::default());
        let pipeline = Pipeline::start(&config, Arc::clone(&catalog), Vec::new()).unwrap();
        let counter = catalog.metric("c").counter().unwrap();
        let gauge = catalog.metric("g").gauge().unwrap();
        let timing = catalog.metric("t").timing().unwrap();
        let recorder = pipeline.recorder();
        recorder.count(counter, 1);
        let recorded = allocation_counter::measure(|| {
            for i in 0..10_000_u32 {
                recorder.count(counter, 1);
                recorder.set(gauge, f64::from(i));
                recorder.set(gauge, f64::NAN);
                recorder.time_at(timing, Duration::from_micros(i.into()), Rate::new(0.5));
            }
        });
        assert_eq!(recorded.count_total, 0, "{overflow:?}");
    }
}
