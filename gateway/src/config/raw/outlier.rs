//! `outlier_detection:` of an upstream.

use sallyport_config::{Node, Sink};

use super::scalar;
use crate::config::outlier::OutlierDetection;

/// What is written of outliers.
#[derive(Debug, Default)]
pub(super) struct RawOutliers {
    /// What finds them; `None` where only the panic threshold is given.
    pub(super) detection: Option<OutlierDetection>,
    pub(super) panic_below: Option<u8>,
}

pub(super) fn read(node: Node<'_>, sink: &mut Sink) -> Option<RawOutliers> {
    node.mapping(sink, |fields, sink| {
        let errors = fields.optional(sink, "consecutive_errors", |node, sink| {
            node.number(sink, 1, 1_000).map(|errors| errors as u32)
        });
        let success_rate = fields.optional(sink, "success_rate", scalar::percent);
        let base_ejection = fields.optional(sink, "base_ejection", scalar::duration);
        let max_ejected = fields.optional(sink, "max_ejected", scalar::percent);
        let panic_below = fields.optional(sink, "panic_below", scalar::percent);
        let keys = ["consecutive_errors", "success_rate", "base_ejection", "max_ejected"];
        let detects = keys.iter().any(|key| fields.has(key)) || !fields.has("panic_below");
        let default = OutlierDetection::default();
        let detection = detects.then(|| OutlierDetection {
            consecutive_errors: errors.unwrap_or(default.consecutive_errors),
            success_rate: success_rate.or(default.success_rate),
            base_ejection: base_ejection.unwrap_or(default.base_ejection),
            max_ejected: max_ejected.unwrap_or(default.max_ejected),
        });
        Some(RawOutliers { detection, panic_below })
    })
}
