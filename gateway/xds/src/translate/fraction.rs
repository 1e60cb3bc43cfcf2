//! Fractions and flags, and the runtime whose values may replace them.

use std::collections::BTreeMap;

use crate::fields::Fields;
use crate::findings::Findings;
use crate::resources::{ResourceKind, Resources};

/// Values of the runtime, by key: those that are numbers or truth values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Runtime(BTreeMap<String, f64>);

impl Runtime {
    /// The runtime of all layers; a later layer, by name, has the last word.
    pub(super) fn of(resources: &Resources, findings: &Findings) -> Self {
        let mut values = BTreeMap::new();
        for (_, resource) in resources.of(ResourceKind::Runtime) {
            let fields = Fields::new(&resource.message, resource.place.clone(), findings);
            fields.text("name");
            if let Some(layer) = fields.message("layer") {
                read(&layer, "", &mut values);
            }
        }
        Self(values)
    }
}

/// Takes the values of a `Struct` whose keys may be nested, as Envoy reads them.
fn read(fields: &Fields<'_>, above: &str, values: &mut BTreeMap<String, f64>) {
    for (key, value) in fields.entries("fields") {
        let key = if above.is_empty() { key } else { format!("{above}.{key}") };
        if let Some(nested) = value.message("struct_value") {
            read(&nested, &key, values);
        } else if let Some(number) = value.double("number_value") {
            values.insert(key, number);
        } else if let Some(flag) = value.flag("bool_value") {
            values.insert(key, f64::from(u8::from(flag)));
        } else if let Some(text) = value.text("string_value") {
            match text.parse() {
                Ok(number) => drop(values.insert(key, number)),
                Err(_) => value.leave("is no number, and nothing here asks for another value"),
            }
        }
    }
}

/// The percentage of a `FractionalPercent`.
pub(super) fn fractional(fields: &Fields<'_>) -> f64 {
    let numerator = fields.uint("numerator").unwrap_or(0) as f64;
    let of = match fields.choice("denominator").as_deref() {
        Some("TEN_THOUSAND") => 10_000.0,
        Some("MILLION") => 1_000_000.0,
        _ => 100.0,
    };
    (numerator * 100.0 / of).min(100.0)
}

/// The percentage of a `RuntimeFractionalPercent`.
pub(super) fn runtime_fractional(fields: &Fields<'_>, runtime: &Runtime) -> f64 {
    let default = fields.message("default_value").map(|value| fractional(&value));
    let key = fields.text("runtime_key");
    let set = key.and_then(|key| runtime.0.get(&key).copied());
    set.map(|percent| percent.clamp(0.0, 100.0)).or(default).unwrap_or(0.0)
}

/// The value of a `RuntimeFeatureFlag`.
pub(super) fn flag(fields: &Fields<'_>, runtime: &Runtime) -> bool {
    let default = fields.flag("default_value").unwrap_or(false);
    let set = fields.text("runtime_key").and_then(|key| runtime.0.get(&key).copied());
    set.map_or(default, |value| value != 0.0)
}

/// The percentage of a field, or `otherwise` where it is not set.
pub(super) fn percent_or(
    fields: &Fields<'_>,
    name: &str,
    runtime: &Runtime,
    otherwise: f64,
) -> f64 {
    fields.message(name).map_or(otherwise, |value| runtime_fractional(&value, runtime))
}
