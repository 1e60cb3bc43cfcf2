//! Trailers that went no further, since the other side takes none.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Direction;

/// Counts of messages whose trailers were dropped, by direction.
#[derive(Debug, Default)]
pub(crate) struct TrailerStats([AtomicU64; Direction::ALL.len()]);

impl TrailerStats {
    pub(crate) fn dropped(&self, direction: Direction) {
        self.0[direction as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> [(&'static str, u64); Direction::ALL.len()] {
        Direction::ALL
            .map(|(direction, label)| (label, self.0[direction as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Direction, Registry};

    #[test]
    fn dropped_trailers_are_counted_by_direction() {
        let registry = Registry::new(1);
        registry.count_dropped_trailers(Direction::Response);
        let text = registry.render();
        for (direction, count) in [("request", 0), ("response", 1)] {
            let line =
                format!("sallyport_trailers_dropped_total{{direction=\"{direction}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
