//! Tables in Markdown, and ratios to the best of a row.

use super::entry::Entry;
use crate::figures::Spread;
use std::fmt::Write;

/// Each proxy's figure over that of the one with the smallest median.
pub(super) fn to_best<Sample>(
    entries: &[Entry<Sample>],
    figure: impl Fn(&Sample) -> f64 + Copy,
) -> Vec<Option<Spread>> {
    let medians = entries.iter().filter_map(|entry| Some((entry, entry.spread(figure)?.median)));
    let best = medians.min_by(|one, other| one.1.total_cmp(&other.1));
    let Some((best, median)) = best else { return vec![None; entries.len()] };
    let ratio = |entry: &Entry<Sample>| match entry.samples.len() == best.samples.len() {
        true => Spread::of_ratios(&entry.each(figure), &best.each(figure)),
        false => Some(entry.spread(figure)?.divided(median)),
    };
    entries.iter().map(ratio).collect()
}

/// A table with a line for each row.
pub(super) fn markdown(heads: &[String], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        // Writing to a string cannot fail.
        writeln!(text, "| {} |", row.join(" | ")).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(proxy: &'static str, figures: &[f64]) -> Entry<f64> {
        Entry { proxy, samples: figures.to_vec(), absent: None }
    }

    fn medians(entries: &[Entry<f64>]) -> Vec<Option<f64>> {
        let ratios = to_best(entries, |figure| *figure);
        ratios.into_iter().map(|ratio| Some(ratio?.median)).collect()
    }

    #[test]
    fn the_best_is_one_and_the_absent_have_no_ratio() {
        let entries = [
            entry("sallyport", &[30.0, 60.0, 30.0]),
            entry("nginx", &[20.0, 40.0, 20.0]),
            entry("pingap", &[]),
            entry("envoy", &[40.0]),
        ];
        assert_eq!(medians(&entries), [Some(1.5), Some(1.0), None, Some(2.0)]);
        assert_eq!(medians(&[entry("pingap", &[])]), [None]);
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let rows = [vec!["nginx".to_owned(), "19.0".to_owned()]];
        let heads = ["proxy", "us"].map(str::to_owned);
        assert_eq!(markdown(&heads, &rows), "| proxy | us |\n|---|---|\n| nginx | 19.0 |\n");
    }
}
