//! What is counted of a control plane: `sallyport_xds_*`.

use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::resources::ResourceKind;

/// The figures of one client.
#[derive(Clone, Debug)]
pub struct Figures {
    registry: Registry,
    pub(super) connected: IntGauge,
    pub(super) connections: IntCounter,
    pub(super) updates: IntCounterVec,
    pub(super) resources: IntGaugeVec,
    pub(super) waiting: IntGauge,
    pub(super) expired: IntCounter,
}

impl Default for Figures {
    fn default() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("its name is well-formed");
            registry.register(Box::new(gauge.clone())).expect("its name is its own");
            gauge
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("its name is well-formed");
            registry.register(Box::new(counter.clone())).expect("its name is its own");
            counter
        };
        let updates = IntCounterVec::new(
            Opts::new("sallyport_xds_updates_total", "Responses of the control plane, by outcome."),
            &["type", "result"],
        )
        .expect("its name is well-formed");
        let resources = IntGaugeVec::new(
            Opts::new(
                "sallyport_xds_resources",
                "Resources of the control plane that are accepted.",
            ),
            &["type"],
        )
        .expect("its name is well-formed");
        registry.register(Box::new(updates.clone())).expect("its name is its own");
        registry.register(Box::new(resources.clone())).expect("its name is its own");
        for kind in ResourceKind::ALL {
            for result in ["accepted", "rejected"] {
                updates.with_label_values(&[kind.short_name(), result]);
            }
            resources.with_label_values(&[kind.short_name()]);
        }
        Self {
            connected: gauge(
                "sallyport_xds_connected",
                "Whether there is a stream with the control plane.",
            ),
            connections: counter(
                "sallyport_xds_connections_total",
                "Streams that were opened with the control plane.",
            ),
            waiting: gauge(
                "sallyport_xds_resources_waiting",
                "Resources that wait for others that they name.",
            ),
            expired: counter(
                "sallyport_xds_resources_expired_total",
                "Resources whose time to live was over.",
            ),
            updates,
            resources,
            registry,
        }
    }
}

impl Figures {
    /// The figures as they are now.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}
