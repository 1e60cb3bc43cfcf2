//! Which engine served how many requests.

use std::sync::atomic::Ordering;

use crate::sheet::Sheet;

/// What serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// The gateway's own for HTTP/1.1.
    Http1,
    /// The gateway's own for clients of HTTP/2.
    Http2,
    /// Pingora.
    Pingora,
}

impl ServedBy {
    /// Every engine.
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Pingora];

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Pingora => "pingora",
        }
    }
}

/// Counts of requests, by engine.
pub(crate) struct EngineStats(Sheet);

impl EngineStats {
    pub(crate) fn new(shards: usize) -> Self {
        Self(Sheet::new(1, ServedBy::ALL.len(), shards))
    }

    #[inline]
    pub(crate) fn count(&self, engine: ServedBy) {
        self.0.cell(0)[engine as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> [(ServedBy, u64); ServedBy::ALL.len()] {
        ServedBy::ALL.map(|engine| {
            let cells = self.0.cells(0);
            (engine, cells.map(|cell| cell[engine as usize].load(Ordering::Relaxed)).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ServedBy;
    use crate::Registry;

    #[test]
    fn requests_are_counted_by_engine() {
        let registry = Registry::new(2);
        registry.count_engine(ServedBy::Http1);
        registry.count_engine(ServedBy::Http1);
        registry.count_engine(ServedBy::Pingora);
        let text = registry.render();
        for (engine, count) in [("http1", 2), ("http2", 0), ("pingora", 1)] {
            let line = format!("sallyport_engine_requests_total{{engine=\"{engine}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
