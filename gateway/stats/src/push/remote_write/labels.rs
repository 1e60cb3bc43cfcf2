//! Names and labels as Prometheus allows them.

use std::collections::BTreeMap;

use crate::push::series::{Kind, Series};

/// Labels by name, as the protocol wants them sorted.
pub(super) type Labels = BTreeMap<String, String>;

/// Labels of every series.
#[derive(Debug)]
pub(super) struct External(Labels);

impl External {
    pub(super) fn new(labels: &[(String, String)]) -> Self {
        let mut external = Labels::new();
        for (key, value) in labels {
            external.insert(label_name(key), value.clone());
        }
        Self(external)
    }

    /// A series' labels without its name. Where two attributes become one label their values are
    /// joined, as OpenTelemetry does it; empty ones are left out, as the protocol demands.
    pub(super) fn labels(&self, series: &Series) -> Labels {
        let mut own = Labels::new();
        for (key, value) in series.attributes() {
            let joined = own.entry(label_name(key)).or_default();
            if !joined.is_empty() {
                joined.push(';');
            }
            joined.push_str(value);
        }
        for (key, value) in &self.0 {
            own.entry(key.clone()).or_insert_with(|| value.clone());
        }
        own.retain(|_, value| !value.is_empty());
        own
    }
}

/// The metric's name: legal characters, then its unit, then `_total` where it counts.
pub(super) fn metric_name(series: &Series) -> String {
    let mut name = legal(series.name(), |c| c == ':');
    let total = "_total";
    if series.kind() == Kind::Counter && name.ends_with(total) {
        name.truncate(name.len() - total.len());
    }
    if let Some(unit) = series.unit().prometheus()
        && name != unit
        && !name.ends_with(&format!("_{unit}"))
    {
        name.push('_');
        name.push_str(unit);
    }
    if series.kind() == Kind::Counter {
        name.push_str(total);
    }
    name
}

/// Two underscores in front are Prometheus's own, and `le` is the histogram's.
fn label_name(key: &str) -> String {
    let name = legal(key, |_| false);
    match name.trim_start_matches('_') {
        "le" if name == "le" => "_le".to_owned(),
        rest if name.starts_with("__") => format!("_{rest}"),
        _ => name,
    }
}

fn legal(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    if text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        out.push('_');
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    out.extend(text.chars().map(|c| if legal(c) { c } else { '_' }));
    out
}
