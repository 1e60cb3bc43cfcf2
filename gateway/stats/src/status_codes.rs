//! How often each route answered with each status code, where the configuration asks for that.
//!
//! It is apart from [`route`](crate::route), whose counters every request writes: a code more
//! than doubles what a visited route holds, so nothing here is there unless somebody asks.
//! A route has a counter for every code from 100 to 599 and one for all others, so that no
//! response, whatever an origin writes into it, makes a series that was not bounded before.

use std::sync::atomic::Ordering;

use crate::{
    route::RouteName,
    table::{Row, Table},
};

/// The lowest code with a counter of its own.
const FIRST: u16 = 100;
/// Codes from [`FIRST`] on with a counter of their own.
const CODES: usize = 500;
/// The counter of all other codes, behind theirs.
const OTHER: usize = CODES;
const WORDS: usize = CODES + 1;

pub(crate) fn table(shards: usize) -> Table<RouteName> {
    Table::new(WORDS, shards)
}

/// A handle on one route's counters by status code.
#[derive(Clone)]
pub(crate) struct StatusCodes(Row);

impl StatusCodes {
    pub(crate) fn new(row: Row) -> Self {
        Self(row)
    }

    /// Counts a response with `status`; 0 stands for none, which is not counted.
    #[inline]
    pub(crate) fn count(&self, status: u16) {
        if status > 0 {
            self.0.cell()[word(status)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[inline]
fn word(status: u16) -> usize {
    let above = usize::from(status.wrapping_sub(FIRST));
    if above < CODES { above } else { OTHER }
}

/// The codes that a route has answered with, as label values, and how often.
pub(crate) fn counts(row: &Row) -> Vec<(String, u64)> {
    if !row.is_visited() {
        return Vec::new();
    }
    let label = |word| match word {
        OTHER => "other".to_owned(),
        code => (usize::from(FIRST) + code).to_string(),
    };
    let all = (0..WORDS).map(|word| (word, row.sum(word)));
    all.filter(|(_, count)| *count > 0).map(|(word, count)| (label(word), count)).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use crate::{Registry, RouteStats};

    const NAME: &str = "sallyport_route_responses_total";

    fn route(registry: &Registry, name: &str) -> RouteStats {
        registry.routes(&[(Arc::from("shop"), Arc::from(name))]).remove(0)
    }

    fn finish(route: &RouteStats, statuses: &[u16]) {
        for status in statuses {
            route.begin();
            route.finish(*status, None, Duration::from_millis(1));
        }
    }

    fn lines(registry: &Registry) -> Vec<String> {
        let text = registry.render();
        let lines = text.lines().filter(|line| line.starts_with(NAME));
        lines.map(|line| line[NAME.len()..].to_owned()).collect()
    }

    #[test]
    fn codes_are_counted_singly_where_that_is_asked_for() {
        let registry = Registry::new(2);
        finish(&route(&registry, "a"), &[200, 404]);
        assert!(lines(&registry).is_empty());
        registry.count_status_codes(true);
        let counted = route(&registry, "a");
        assert!(lines(&registry).is_empty(), "nothing before the first");
        finish(&counted, &[200, 404, 404, 599, 600, 999, 99, 0]);
        assert_eq!(
            lines(&registry),
            [
                r#"{virtual_host="shop",route="a",code="200"} 1"#,
                r#"{virtual_host="shop",route="a",code="404"} 2"#,
                r#"{virtual_host="shop",route="a",code="599"} 1"#,
                r#"{virtual_host="shop",route="a",code="other"} 3"#,
            ]
        );
    }

    #[test]
    fn a_route_that_is_gone_keeps_its_codes_until_its_last_request_is_over() {
        let registry = Registry::new(1);
        registry.count_status_codes(true);
        let old = route(&registry, "old");
        finish(&old, &[201]);
        old.begin();
        let new = route(&registry, "new");
        assert_eq!(lines(&registry).len(), 1);
        old.finish(204, None, Duration::from_millis(1));
        assert!(lines(&registry).is_empty());
        finish(&new, &[200]);
        assert_eq!(lines(&registry).len(), 1);
        // Nobody asks any more, though the handle of an earlier configuration counts on.
        registry.count_status_codes(false);
        finish(&route(&registry, "new"), &[200]);
        finish(&new, &[200]);
        assert!(lines(&registry).is_empty());
    }
}
