//! The report as text for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::report::Report;
use crate::cli::shown;
use crate::pinned::view::{SourceView, ZoneView};

/// The report, with a heading for each part; counters that are 0 are left out.
pub(super) fn of(report: &Report) -> String {
    let mut text = format!("{}: generation {}, ", report.pin_path.display(), report.generation);
    text += &match report.heartbeat_age_s {
        Some(age) => format!("heartbeat {} ago\n", shown(Duration::from_secs_f64(age))),
        None => "no loader at work\n".to_owned(),
    };
    text += match report.syn_cookies {
        true => "SYN floods: answered with SYN cookies\n",
        false => "SYN floods: dropped (no SYN cookies)\n",
    };
    let (on, all) = (report.interfaces_attached, report.interfaces);
    let short = if on < all { ": packets of the others are not looked at" } else { "" };
    // Writing to a string cannot fail.
    writeln!(text, "interfaces: the program is on {on} of {all}{short}").ok();
    let attached = report.attached.iter();
    let attached =
        attached.map(|row| vec![row.interface.to_string(), or_dash(row.mode.as_deref())]);
    table(&mut text, &["attached", "mode"], attached.collect());
    table(&mut text, &["zone", "id", "ifindex", "vlan", "dropping", "counting"], zones(report));
    let networks = report.networks.iter().map(|row| {
        let packets = row.packets.map(|packets| packets.to_string());
        vec![
            row.name.clone(),
            row.id.to_string(),
            row.action.into(),
            row.prefixes.to_string(),
            or_dash(packets.as_deref()),
        ]
    });
    table(&mut text, &["network", "id", "action", "prefixes", "packets"], networks.collect());
    table(&mut text, &["source", "syn/s", "network", "zone", "seen", "screens"], sources(report));
    table(&mut text, &["reason", "packets", "bytes", "dropped", "dropped bytes"], counters(report));
    table(&mut text, &["map", "entries", "of", "full"], maps(report));
    text
}

fn maps(report: &Report) -> Vec<Vec<String>> {
    let row = |row: &super::report::MapRow| {
        let full = row.entries.map(|entries| {
            format!("{:.0} %", entries as f64 * 100.0 / f64::from(row.entries_max.max(1)))
        });
        let entries = row.entries.map(|entries| entries.to_string());
        vec![
            row.map.to_owned(),
            or_dash(entries.as_deref()),
            row.entries_max.to_string(),
            or_dash(full.as_deref()),
        ]
    };
    report.maps.iter().map(row).collect()
}

fn zones(report: &Report) -> Vec<Vec<String>> {
    let row = |row: &ZoneView| {
        let vlan = if row.vlan == 0 { "all".to_owned() } else { row.vlan.to_string() };
        let (dropping, counting) = (list(&row.dropping), list(&row.counting));
        vec![
            row.name.clone(),
            row.id.to_string(),
            row.ifindex.to_string(),
            vlan,
            dropping,
            counting,
        ]
    };
    report.zones.iter().map(row).collect()
}

fn sources(report: &Report) -> Vec<Vec<String>> {
    let row = |row: &SourceView| {
        let seen = Duration::from_secs_f64(row.last_seen_s);
        vec![
            row.address.to_string(),
            row.syn_per_s.to_string(),
            or_dash(row.network.as_deref()),
            or_dash(row.zone.as_deref()),
            format!("{} ago", shown(seen)),
            list(&row.screens),
        ]
    };
    report.sources.iter().map(row).collect()
}

fn counters(report: &Report) -> Vec<Vec<String>> {
    let counted = report.counters.iter().filter(|row| row.packets + row.dropped_packets > 0);
    let row = |row: &super::report::CounterRow| {
        let figures = [row.packets, row.bytes, row.dropped_packets, row.dropped_bytes];
        let figures = figures.iter().map(u64::to_string);
        std::iter::once(row.reason.to_owned()).chain(figures).collect()
    };
    counted.map(row).collect()
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn list(items: &[&str]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

/// Columns as wide as their widest cell; nothing where there are no rows.
fn table(text: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    text.push('\n');
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            // Writing to a string cannot fail.
            write!(line, "{cell:<width$}  ", width = width(column).unwrap_or(0)).ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut text = String::new();
        table(&mut text, &["a", "b"], vec![vec!["long".into(), "x".into()]]);
        assert_eq!(text, "\na     b\nlong  x\n");
        table(&mut text, &["c"], Vec::new());
        assert_eq!(text, "\na     b\nlong  x\n");
    }
}
