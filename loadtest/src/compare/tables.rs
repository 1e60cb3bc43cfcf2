//! The tables of the comparison, in Markdown.
//!
//! Every proxy is in every table. Ratios are to the best of the row, which is 1.00, and are taken round
//! by round where all rounds were measured.

use super::Results;
use super::entry::{Entry, absences};
use super::markdown::{markdown, to_best};
use super::turns::Sample;
use super::{FrontResult, TrafficResult, fronts};
use crate::figures::Spread;
use crate::open::{Figures, percentile};
use crate::report::cells;
use crate::requests::DISTURBED;

/// All tables of a run, each under its row's name.
pub fn all(results: &Results) -> String {
    let mut text = summary(results);
    for traffic in &results.traffic {
        text += &section(traffic.row.name(), &traffic_table(traffic), &absences(&traffic.entries));
    }
    for front in &results.fronts {
        text += &section(front.row.name(), &front_table(front), &absences(&front.entries));
    }
    if !results.idle.is_empty() {
        text += &section("idle", &idle_table(results), &absences(&results.idle));
    }
    if !results.reload.is_empty() {
        text += &section("reload", &reload_table(results), &absences(&results.reload));
    }
    if !results.flood.is_empty() {
        text += &section("flood", &flood_table(results), &absences(&results.flood));
    }
    text
}

fn section(name: &str, table: &str, absences: &[String]) -> String {
    let absences: String = absences.iter().map(|reason| format!("- {reason}\n")).collect();
    format!("## {name}\n\n{table}\n{absences}\n")
}

/// CPU per request of every row that measures requests, beside the ratio to the row's best.
fn summary(results: &Results) -> String {
    let Some(first) = results.traffic.first() else { return String::new() };
    let proxies = first.entries.iter().map(|entry| entry.proxy.to_owned());
    let heads: Vec<String> = ["row".to_owned()].into_iter().chain(proxies).collect();
    let row = |traffic: &TrafficResult| {
        let ratios = to_best(&traffic.entries, cpu_us);
        let cell =
            |(entry, ratio): (&Entry<Sample>, &Option<Spread>)| match (entry.spread(cpu_us), ratio)
            {
                (Some(cpu), Some(ratio)) => format!("{:.1} ({:.2})", cpu.median, ratio.median),
                _ => "-".to_owned(),
            };
        let name = [traffic.row.name().to_owned()];
        name.into_iter().chain(traffic.entries.iter().zip(&ratios).map(cell)).collect()
    };
    let table = markdown(&heads, &results.traffic.iter().map(row).collect::<Vec<_>>());
    format!("## CPU us per request (ratio to the best of the row)\n\n{table}\n")
}

fn cpu_us(sample: &Sample) -> f64 {
    sample.saturated.cpu_us_per_request
}

fn traffic_table(traffic: &TrafficResult) -> String {
    let at = format!("p50 us at {}/s", traffic.rate_per_s);
    let heads = [
        "proxy",
        "CPU us/req",
        "min..max",
        "/ best",
        "min..max",
        "req/s",
        &at,
        "p99 us",
        "min..max",
        "p99.9 us",
        "CPU us/req at that rate",
        "MiB",
        "remarks",
    ];
    let ratios = to_best(&traffic.entries, cpu_us);
    let rows = traffic.entries.iter().zip(ratios).map(|(entry, ratio)| traffic_row(entry, ratio));
    markdown(&heads.map(str::to_owned), &rows.collect::<Vec<_>>())
}

fn traffic_row(entry: &Entry<Sample>, ratio: Option<Spread>) -> Vec<String> {
    let [cpu, cpu_range] = cells(entry.spread(cpu_us), 1);
    let [ratio, ratio_range] = cells(ratio, 2);
    let [rate, _] = cells(entry.spread(|one| one.saturated.requests_per_s), 0);
    let [p50, _] = cells(offered(entry, |figures| figures.p50_us), 0);
    let [p99, p99_range] = cells(offered(entry, |figures| figures.p99_us), 0);
    let p999 = pooled(entry, 0.999).map_or("-".to_owned(), |us| format!("{us:.0}"));
    let [cpu_at_rate, _] = cells(entry.spread_of_some(|one| one.offered.cpu_us_per_request), 1);
    let [memory, _] = cells(entry.spread(|one| mib(one.held_bytes)), 1);
    let name = entry.proxy.to_owned();
    let remarks = remarks(entry);
    vec![
        name,
        cpu,
        cpu_range,
        ratio,
        ratio_range,
        rate,
        p50,
        p99,
        p99_range,
        p999,
        cpu_at_rate,
        memory,
        remarks,
    ]
}

/// Of a rate at which the sender fell behind there is no latency to tell.
fn offered(entry: &Entry<Sample>, figure: fn(&Figures) -> Option<f64>) -> Option<Spread> {
    let valid = |one: &Sample| !one.offered.figures.fell_behind;
    entry.spread_of_some(|one| figure(&one.offered.figures).filter(|_| valid(one)))
}

/// A percentile of all rounds together, for what is too rare for one of them.
fn pooled(entry: &Entry<Sample>, share: f64) -> Option<f64> {
    let valid = entry.samples.iter().filter(|one| !one.offered.figures.fell_behind);
    let mut all: Vec<f64> = valid.flat_map(|one| one.offered.latencies_us.clone()).collect();
    all.sort_by(f64::total_cmp);
    percentile(&all, share)
}

/// Whatever keeps figures from being read as they stand.
fn remarks(entry: &Entry<Sample>) -> String {
    let all = &entry.samples;
    let count = |is: fn(&Sample) -> bool| all.iter().filter(|one| is(one)).count();
    let counts = [
        ("disturbed", count(|one| one.saturated.disturbance > DISTURBED)),
        ("not saturated", count(|one| one.saturated.utilisation < 0.9)),
        ("CPU time incomplete", count(|one| one.saturated.account_incomplete)),
        ("rate not sustained", count(|one| !one.offered.figures.sustained)),
        ("INVALID rate: the sender fell behind", count(|one| one.offered.figures.fell_behind)),
    ];
    let mut remarks: Vec<String> = Vec::new();
    for (what, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
        remarks.push(format!("{what}: {count} of {}", all.len()));
    }
    let errors: u64 = all.iter().map(|one| one.saturated.errors.total()).sum();
    let failures: u64 = all.iter().map(|one| one.offered.figures.failures.total()).sum();
    if errors + failures > 0 {
        remarks.push(format!("{errors} errors saturated, {failures} failed at the rate"));
    }
    remarks.join("; ")
}

fn front_table(front: &FrontResult) -> String {
    let heads = ["proxy", "CPU us/req", "min..max", "/ best", "min..max", "req/s", "remarks"];
    let cpu = |one: &fronts::Sample| one.cpu_us_per_request;
    let ratios = to_best(&front.entries, cpu);
    let row = |(entry, ratio): (&Entry<fronts::Sample>, Option<Spread>)| {
        let [cpu, cpu_range] = cells(entry.spread(cpu), 1);
        let [ratio, ratio_range] = cells(ratio, 2);
        let [rate, _] = cells(entry.spread(|one| one.requests_per_s), 0);
        let (all, count) = (&entry.samples, |is: fn(&fronts::Sample) -> bool| {
            entry.samples.iter().filter(|one| is(one)).count()
        });
        let remark = |(what, count): (&str, usize)| {
            (count > 0).then(|| format!("{what}: {count} of {}", all.len()))
        };
        let counts = [
            ("disturbed", count(|one| one.disturbance > DISTURBED)),
            ("not saturated", count(|one| one.utilisation < 0.9)),
        ];
        let failed: u64 = all.iter().map(|one| one.failed).sum();
        let failed = (failed > 0).then(|| format!("{failed} failed"));
        let remarks: Vec<String> = counts.into_iter().filter_map(remark).chain(failed).collect();
        let name = entry.proxy.to_owned();
        vec![name, cpu, cpu_range, ratio, ratio_range, rate, remarks.join("; ")]
    };
    let rows = front.entries.iter().zip(ratios).map(row);
    markdown(&heads.map(str::to_owned), &rows.collect::<Vec<_>>())
}

fn idle_table(results: &Results) -> String {
    let heads = ["proxy", "KiB/connection", "min..max", "/ best", "connections", "MiB without any"];
    let ratios = to_best(&results.idle, |one| one.kib_per_connection());
    let row = |(entry, ratio): (&Entry<crate::idle::Sample>, Option<Spread>)| {
        let [kib, range] = cells(entry.spread(|one| one.kib_per_connection()), 2);
        let [ratio, _] = cells(ratio, 2);
        let [base, _] = cells(entry.spread(|one| one.base_mib()), 1);
        let connections = entry.samples.iter().map(|one| one.connections).min();
        let connections = connections.map_or("-".to_owned(), |count| count.to_string());
        vec![entry.proxy.to_owned(), kib, range, ratio, connections, base]
    };
    markdown(
        &heads.map(str::to_owned),
        &results.idle.iter().zip(ratios).map(row).collect::<Vec<_>>(),
    )
}

fn reload_table(results: &Results) -> String {
    let heads = [
        "proxy",
        "in force after ms",
        "min..max",
        "CPU ms",
        "min..max",
        "/ best",
        "MiB at its peak",
        "failed",
        "p99 us before",
        "p99 us during",
        "longest us",
        "remarks",
    ];
    let ratios = to_best(&results.reload, |one| one.cpu_ms);
    let row = |(entry, ratio): (&Entry<super::reload::Sample>, Option<Spread>)| {
        let [effect, effect_range] = cells(entry.spread(|one| one.effect_ms), 0);
        let [cpu, cpu_range] = cells(entry.spread(|one| one.cpu_ms), 0);
        let [ratio, _] = cells(ratio, 2);
        let [peak, _] = cells(entry.spread(|one| one.peak_mib), 1);
        let failed = total(entry, |one| one.failed);
        let [before, _] = cells(entry.spread_of_some(|one| one.p99_before_us), 0);
        let [during, _] = cells(entry.spread_of_some(|one| one.p99_us), 0);
        let [longest, _] = cells(entry.spread_of_some(|one| one.max_us), 0);
        let remark = fell_behind(entry.samples.iter().any(|one| one.fell_behind));
        vec![
            entry.proxy.to_owned(),
            effect,
            effect_range,
            cpu,
            cpu_range,
            ratio,
            peak,
            failed,
            before,
            during,
            longest,
            remark,
        ]
    };
    markdown(
        &heads.map(str::to_owned),
        &results.reload.iter().zip(ratios).map(row).collect::<Vec<_>>(),
    )
}

fn flood_table(results: &Results) -> String {
    let heads = [
        "proxy",
        "CPU % in the flood",
        "min..max",
        "/ best",
        "CPU % without",
        "good p50 us",
        "good p99 us",
        "good p99 us without",
        "good failed",
        "bad answered",
        "bad refused",
        "remarks",
    ];
    let ratios = to_best(&results.flood, |one| one.cpu_flood);
    let row = |(entry, ratio): (&Entry<super::flood::Sample>, Option<Spread>)| {
        let [flood, range] = cells(entry.spread(|one| one.cpu_flood * 100.0), 1);
        let [ratio, _] = cells(ratio, 2);
        let [calm, _] = cells(entry.spread(|one| one.cpu_calm * 100.0), 1);
        let [p50, _] = cells(entry.spread_of_some(|one| one.p50_us), 0);
        let [p99, _] = cells(entry.spread_of_some(|one| one.p99_us), 0);
        let [p99_calm, _] = cells(entry.spread_of_some(|one| one.p99_calm_us), 0);
        let failed = total(entry, |one| one.failed);
        let (answered, refused) =
            (total(entry, |one| one.bad_answered), total(entry, |one| one.bad_refused));
        let remark = fell_behind(entry.samples.iter().any(|one| one.fell_behind));
        vec![
            entry.proxy.to_owned(),
            flood,
            range,
            ratio,
            calm,
            p50,
            p99,
            p99_calm,
            failed,
            answered,
            refused,
            remark,
        ]
    };
    markdown(
        &heads.map(str::to_owned),
        &results.flood.iter().zip(ratios).map(row).collect::<Vec<_>>(),
    )
}

fn total<Sample>(entry: &Entry<Sample>, count: fn(&Sample) -> u64) -> String {
    match entry.samples.is_empty() {
        true => "-".to_owned(),
        false => entry.samples.iter().map(count).sum::<u64>().to_string(),
    }
}

fn fell_behind(behind: bool) -> String {
    if behind { "INVALID latencies: the sender fell behind".to_owned() } else { String::new() }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
