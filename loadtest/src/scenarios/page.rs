//! The page of a run: k6's own, with our verdict and the gateway's process above its plots.
//!
//! k6's page brings its script and its data along and asks the network for nothing; what is put in
//! front of it is plain HTML and SVG, so that the page stays one file.

use super::Report;
use super::judge::{Check, Seen};
use super::watch::Sample;
use crate::plot::Lines;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const BODY: &str = "<body>";
/// In the place of k6's page where there is none.
const TOO_SHORT: &str = "<!doctype html><html><head><meta charset=\"UTF-8\"></head><body>\
    <p id=\"data\">The run was too short for k6's plots.</p></body></html>\n";

/// Puts the report in front of the page that k6 left at `page`; k6 leaves none of a run that ended
/// within a second or two, and then the report is the page.
///
/// # Errors
/// The page has no data or cannot be written; or a plot cannot be drawn in `dir`.
pub fn complete(page: &Path, report: &Report<'_>, dir: &Path) -> Result<()> {
    let shown = page.display().to_string();
    let k6s = if page.exists() { fs::read_to_string(page)? } else { TOO_SHORT.to_owned() };
    ensure!(k6s.contains("id=\"data\""), "{shown} has no data");
    let (head, rest) = k6s.split_once(BODY).with_context(|| format!("{shown} has no body"))?;
    let heading = heading(report, dir)?;
    Ok(fs::write(page, format!("{head}{BODY}{heading}{rest}"))?)
}

fn heading(report: &Report<'_>, dir: &Path) -> Result<String> {
    let mut html = format!(
        "<section style=\"font-family:sans-serif;max-width:60rem;margin:1rem auto\">\
         <h1>{}: {}</h1><p>{} requests/s planned, {} s, against {}</p><table>",
        report.scenario.name(),
        escaped(report.verdict.to_string().split(':').next().unwrap_or_default()),
        report.load.rate,
        report.load.duration_s,
        escaped(&report.target),
    );
    for check in &report.checks {
        html += &row(check);
    }
    html += "</table>";
    if let Some(seen) = report.seen {
        html += &process(seen, dir)?;
    }
    Ok(html + "</section>")
}

fn row(check: &Check) -> String {
    let Check { name, passed, found } = check;
    let (colour, word) = if *passed { ("#2a2", "ok") } else { ("#c22", "FAILED") };
    let (name, found) = (escaped(name), escaped(found));
    format!("<tr><td style=\"color:{colour}\">{word}</td><td>{name}</td><td>{found}</td></tr>")
}

fn process(seen: &Seen, dir: &Path) -> Result<String> {
    let line = |y, figure: fn(&Sample) -> f64| {
        let points = seen.samples.iter().map(|sample| (sample.at_s, figure(sample))).collect();
        drawn(y, points, dir)
    };
    Ok(line("memory, MiB", |sample| sample.memory_bytes as f64 / 1024.0 / 1024.0)?
        + &line("open descriptors", |sample| sample.descriptors as f64)?
        + &line("share of its CPU, %", |sample| sample.cpu_share * 100.0)?)
}

fn drawn(y: &str, points: Vec<(f64, f64)>, dir: &Path) -> Result<String> {
    let lines = Lines {
        title: format!("The gateway: {y}"),
        x: "s".to_owned(),
        y: y.to_owned(),
        log_x: false,
        log_y: false,
        series: vec![("sallyport".to_owned(), points)],
        rules: Vec::new(),
    };
    let file = dir.join("plot.svg");
    lines.write(&file)?;
    Ok(format!("<img alt=\"{y}\" src=\"{}\">", inlined(&fs::read_to_string(&file)?)))
}

/// An image of its own, which the style of k6's page does not reach.
fn inlined(svg: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b" -_.,:;=/()".contains(&byte);
    let mut address = "data:image/svg+xml,".to_owned();
    for byte in svg.bytes() {
        match safe(byte) {
            true => address.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => write!(address, "%{byte:02X}").unwrap_or_default(),
        }
    }
    address
}

fn escaped(text: &str) -> String {
    let mut html = String::new();
    for letter in text.chars() {
        match letter {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            // Writing to a string cannot fail.
            other => write!(html, "{other}").unwrap_or_default(),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::acts::Acts;
    use crate::scenarios::{Kind, Load};
    use crate::verdict::Verdict;

    fn sample(at_s: f64) -> Sample {
        Sample { at_s, memory_bytes: 20 << 20, descriptors: 40, cpu_share: 0.5 }
    }

    fn completed(k6s: Option<&str>) -> Result<String> {
        let dir = tempfile::tempdir()?;
        let page = dir.path().join("page.html");
        k6s.map_or(Ok(()), |k6s| fs::write(&page, k6s))?;
        let seen = Seen { samples: vec![sample(1.0), sample(2.0)], acts: Acts::default() };
        let verdict = Verdict::Fail("http_reqs: count>5 (count 3)".to_owned());
        let report = Report {
            scenario: Kind::Steady,
            machine: crate::machine::Machine::describe(),
            target: "http://<here>".to_owned(),
            load: Load { rate: 5, duration_s: 2, vus: 1 },
            checks: vec![Check {
                name: "http_reqs: count>5".to_owned(),
                passed: false,
                found: "count 3".to_owned(),
            }],
            seen: Some(&seen),
            k6: &serde_json::Value::Null,
            verdict: &verdict,
        };
        complete(&page, &report, dir.path())?;
        Ok(fs::read_to_string(&page)?)
    }

    #[test]
    fn verdict_checks_and_plots_come_before_k6s_own() {
        let page =
            completed(Some("<html><body><script id=\"data\">x</script></body></html>")).unwrap();
        assert!(page.contains("<h1>steady: FAIL</h1>"), "{page}");
        assert!(page.contains("FAILED</td><td>http_reqs: count&gt;5</td>"));
        assert!(page.contains("against http://&lt;here&gt;"));
        assert_eq!(page.matches("src=\"data:image/svg+xml,%3Csvg ").count(), 3);
        assert!(page.find("<img").unwrap() < page.find("id=\"data\"").unwrap());
    }

    #[test]
    fn a_run_too_short_for_plots_has_a_page_all_the_same() {
        assert!(completed(None).unwrap().contains("too short"));
    }

    #[test]
    fn a_page_without_data_is_none() {
        assert!(completed(Some("<html><body></body></html>")).is_err());
    }
}
