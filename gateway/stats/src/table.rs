//! Which row of which sheet belongs to which name, through any number of configurations.
//!
//! A new configuration installs its names. Those that were there keep their rows and so their
//! counts; the new ones share one new sheet; those no longer given leave the list that is exposed,
//! while whoever still holds their row goes on counting in it.
//!
//! Rows are not taken back singly: a departed name keeps its row until nothing holds any row of
//! the same sheet, and resumes its counts should it return before. That is what makes going back
//! and forth between two configurations free of cost, and what bounds the memory is that a sheet
//! goes as a whole when the last of its names has.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::sheet::Sheet;

/// The rows of all names of one kind, each of `words` counters.
pub(crate) struct Table<N> {
    words: usize,
    shards: usize,
    /// The counter that keeps a departed name exposed while it is above zero.
    staying: Option<usize>,
    names: Mutex<Names<N>>,
}

/// One name's counters. A copy is another handle on the same ones.
#[derive(Clone)]
pub(crate) struct Row {
    sheet: Arc<Sheet>,
    row: usize,
}

struct Names<N> {
    installed: Arc<[(N, Row)]>,
    /// Names no longer given that were still counting when they left.
    departing: Vec<(N, Row)>,
    known: HashMap<N, Place>,
    generation: u64,
}

/// Where a name's row is, and the latest configuration that had the name.
struct Place {
    sheet: Weak<Sheet>,
    row: usize,
    generation: u64,
}

impl<N: Clone + Eq + Hash> Table<N> {
    pub(crate) fn new(words: usize, shards: usize) -> Self {
        let names = Names {
            installed: Arc::new([]),
            departing: Vec::new(),
            known: HashMap::new(),
            generation: 0,
        };
        Self { words, shards, staying: None, names: Mutex::new(names) }
    }

    /// As this table, and a departed name stays exposed until its counter `word` is back at zero.
    pub(crate) fn staying_while(self, word: usize) -> Self {
        Self { staying: Some(word), ..self }
    }

    /// Makes `names` the exposed ones and returns a row for each, in their order. A name given
    /// twice gets the same row twice and is exposed once.
    pub(crate) fn install(&self, names: &[N]) -> Vec<Row> {
        self.install_among(names, |_| true)
    }

    /// As [`install`](Self::install), in place of those that `replaces` says; all others stay.
    pub(crate) fn install_among(&self, names: &[N], replaces: impl Fn(&N) -> bool) -> Vec<Row> {
        let mut table = self.lock();
        let others: Vec<_> =
            table.installed.iter().filter(|(name, _)| !replaces(name)).cloned().collect();
        // Held from here on, lest a row found now be gone when it is handed out.
        let found: Vec<_> = names.iter().map(|name| table.living(name)).collect();
        let fresh = found.iter().filter(|row| row.is_none()).count();
        let sheet = Arc::new(Sheet::new(fresh, self.words, self.shards));
        let mut free = (0..fresh).map(|row| Row { sheet: Arc::clone(&sheet), row });
        table.known.reserve(fresh);
        table.generation += 1;
        let mut installed = others;
        installed.reserve(names.len());
        let place = |(name, found)| table.place(name, found, &mut free, &mut installed);
        let rows = names.iter().zip(found).map(place).collect();
        let before = std::mem::replace(&mut table.installed, installed.into());
        table.depart(&before, self.staying);
        // Else its sheets would be alive for this pass, and their names known until the next.
        drop(before);
        table.known.retain(|_, place| place.sheet.strong_count() > 0);
        rows
    }

    /// The names of the current configuration with their rows, in its order.
    pub(crate) fn installed(&self) -> Arc<[(N, Row)]> {
        Arc::clone(&self.lock().installed)
    }

    /// The row of `name`, whether installed or not, while anything holds it.
    pub(crate) fn row_of(&self, name: &N) -> Option<Row> {
        self.lock().living(name)
    }

    /// Names that are gone and still counting, such as those of requests under way.
    pub(crate) fn departing(&self) -> Vec<(N, Row)> {
        let mut table = self.lock();
        table.departing.retain(|(_, row)| row.stays(self.staying));
        table.departing.clone()
    }

    /// What is guarded is replaced whole, so a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, Names<N>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<N: Clone + Eq + Hash> Names<N> {
    /// Keeps those `before` that are not installed any more and stay, and of those that departed
    /// earlier the same.
    ///
    /// Tables whose names stay are installed as a whole: what is not of this generation is gone.
    fn depart(&mut self, before: &[(N, Row)], staying: Option<usize>) {
        if staying.is_none() {
            return;
        }
        let (known, generation) = (&self.known, self.generation);
        let is_gone = |name: &N| known.get(name).is_none_or(|it| it.generation != generation);
        self.departing.retain(|(name, row)| row.stays(staying) && is_gone(name));
        let left = before.iter().filter(|(name, row)| row.stays(staying) && is_gone(name));
        self.departing.extend(left.cloned());
    }

    fn living(&self, name: &N) -> Option<Row> {
        let place = self.known.get(name)?;
        Some(Row { sheet: place.sheet.upgrade()?, row: place.row })
    }

    /// The row of `name`: the one found for it, or else the next free one. It gets its line in
    /// `installed` unless this generation already wrote it.
    fn place(
        &mut self,
        name: &N,
        found: Option<Row>,
        free: &mut impl Iterator<Item = Row>,
        installed: &mut Vec<(N, Row)>,
    ) -> Row {
        let row = found
            .or_else(|| self.living(name))
            .or_else(|| free.next())
            .expect("a free row was made for every name without one");
        let place = row.place(self.generation);
        let before = self.known.insert(name.clone(), place);
        if before.is_none_or(|before| before.generation != self.generation) {
            installed.push((name.clone(), row.clone()));
        }
        row
    }
}

impl Row {
    /// The only row of a sheet of its own.
    pub(crate) fn alone(sheet: Sheet) -> Self {
        Self { sheet: Arc::new(sheet), row: 0 }
    }

    /// The calling worker's counters.
    #[inline]
    pub(crate) fn cell(&self) -> &[AtomicU64] {
        self.sheet.cell(self.row)
    }

    /// Every worker's counters; none if nothing was ever counted.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.sheet.cells(self.row)
    }

    /// Whether anything was ever counted.
    pub(crate) fn is_visited(&self) -> bool {
        self.sheet.is_visited(self.row)
    }

    /// One counter, summed over the workers.
    pub(crate) fn sum(&self, word: usize) -> u64 {
        self.cells().fold(0, |sum, cell| sum.wrapping_add(cell[word].load(Ordering::Relaxed)))
    }

    /// A gauge kept by adding and subtracting, perhaps on different workers. Read between the two
    /// it may seem to be below zero, which is zero.
    pub(crate) fn level(&self, word: usize) -> u64 {
        self.sum(word).cast_signed().max(0).cast_unsigned()
    }

    fn stays(&self, staying: Option<usize>) -> bool {
        staying.is_some_and(|word| self.is_visited() && self.level(word) > 0)
    }

    fn place(&self, generation: u64) -> Place {
        Place { sheet: Arc::downgrade(&self.sheet), row: self.row, generation }
    }
}

#[cfg(test)]
mod tests;
