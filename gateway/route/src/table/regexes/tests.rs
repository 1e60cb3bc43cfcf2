use super::*;

fn regexes(patterns: &[PathRegex], before: Option<&Regexes>) -> Regexes {
    let mut builder = Builder::default();
    (0..).zip(patterns).for_each(|(position, regex)| builder.insert(regex, position));
    builder.finish(before)
}

fn patterns(numbers: impl Iterator<Item = usize>) -> Vec<PathRegex> {
    numbers.map(|n| PathRegex::new(&format!("/[a-z]+/{n}/[0-9]+")).unwrap()).collect()
}

/// The sets of `after` that are not those of `before`, by their number of patterns.
fn compiled(after: &Regexes, before: &Regexes) -> Vec<usize> {
    let is_kept = |batch: &&Batch| {
        let shared = |it: &Batch| match (&it.set, &batch.set) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        before.batches().any(shared)
    };
    after.batches().filter(|batch| !is_kept(batch)).map(|it| it.positions.len()).collect()
}

fn positions(regexes: &Regexes) -> Vec<u32> {
    regexes.batches().flat_map(|batch| batch.positions.iter().copied()).collect()
}

#[test]
fn only_the_set_of_a_pattern_that_changed_is_compiled() {
    let before = patterns(0..640);
    let table = regexes(&before, None);
    assert_eq!(table.batches().count(), 10);
    assert!(compiled(&regexes(&before, Some(&table)), &table).is_empty());

    let mut added = before.clone();
    added.insert(100, patterns(900..901).remove(0));
    let after = regexes(&added, Some(&table));
    assert_eq!(compiled(&after, &table), [65]);
    assert_eq!(positions(&after), (0..641).collect::<Vec<_>>());

    let mut removed = before.clone();
    removed.remove(0);
    assert_eq!(compiled(&regexes(&removed, Some(&table)), &table), [63]);
}

#[test]
fn sets_neither_grow_nor_wither_under_edits() {
    let mut now = patterns(0..320);
    let mut table = regexes(&now, None);
    for (edit, pattern) in patterns(1_000..1_300).into_iter().enumerate() {
        match edit % 3 {
            0 => now[edit % 300] = pattern,
            1 => now.insert((edit * 7) % 300, pattern),
            _ => drop(now.remove((edit * 13) % 300)),
        }
        table = regexes(&now, Some(&table));
        assert_eq!(positions(&table), (0..now.len() as u32).collect::<Vec<_>>());
        assert!(table.batches().all(|it| it.positions.len() <= 2 * BATCH), "{edit}");
    }
    assert!(table.batches().count() <= 16, "{}", table.batches().count());
}
