use super::*;

fn table() -> Table<&'static str> {
    Table::new(1, 2)
}

fn add(row: &Row, amount: u64) {
    row.cell()[0].fetch_add(amount, Ordering::Relaxed);
}

fn exposed(table: &Table<&'static str>) -> Vec<(&'static str, u64)> {
    table.installed().iter().map(|(name, row)| (*name, row.sum(0))).collect()
}

#[test]
fn a_name_that_stays_keeps_its_count() {
    let table = table();
    let old = table.install(&["a", "b"]);
    add(&old[1], 5);
    let new = table.install(&["c", "b"]);
    add(&new[1], 2);
    assert_eq!(exposed(&table), [("c", 0), ("b", 7)]);
}

#[test]
fn a_name_that_leaves_is_no_longer_exposed_and_still_counts() {
    let table = table();
    let old = table.install(&["a"]);
    table.install(&["b"]);
    add(&old[0], 1);
    assert_eq!(exposed(&table), [("b", 0)]);
    assert_eq!(old[0].sum(0), 1);
}

#[test]
fn a_name_that_returns_while_its_row_is_held_resumes() {
    let table = table();
    let held = table.install(&["a"]);
    add(&held[0], 3);
    table.install(&["b"]);
    add(&held[0], 1);
    table.install(&["a", "b"]);
    assert_eq!(exposed(&table), [("a", 4), ("b", 0)]);
}

#[test]
fn a_name_that_returns_after_its_sheet_went_begins_anew() {
    let table = table();
    add(&table.install(&["a"])[0], 3);
    table.install(&["b"]);
    table.install(&["a"]);
    assert_eq!(exposed(&table), [("a", 0)]);
}

#[test]
fn departed_names_are_forgotten_with_their_sheet() {
    let table = table();
    for _ in 0..3 {
        table.install(&["a", "b"]);
        table.install(&["c"]);
    }
    assert_eq!(table.lock().known.len(), 1);
}

#[test]
fn a_name_that_returns_to_a_living_sheet_gets_its_row_again() {
    let table = table();
    let first = table.install(&["stays", "left"]);
    for _ in 0..100 {
        table.install(&["stays", "right"]);
        table.install(&["stays", "left"]);
    }
    assert_eq!(table.lock().known.len(), 2);
    assert!(Arc::ptr_eq(&first[1].sheet, &table.installed()[1].1.sheet));
}

#[test]
fn a_name_given_twice_is_one_row_exposed_once() {
    let table = table();
    let rows = table.install(&["a", "a"]);
    add(&rows[0], 1);
    add(&rows[1], 1);
    assert_eq!(exposed(&table), [("a", 2)]);
}

#[test]
fn no_names_expose_nothing() {
    let table = table();
    table.install(&["a"]);
    assert!(table.install(&[]).is_empty());
    assert!(exposed(&table).is_empty());
}

#[test]
fn a_level_is_never_below_zero() {
    let table = table();
    let row = &table.install(&["a"])[0];
    row.cell()[0].fetch_sub(1, Ordering::Relaxed);
    assert_eq!(row.level(0), 0);
    add(row, 3);
    assert_eq!(row.level(0), 2);
}

#[test]
fn a_name_that_leaves_stays_exposed_until_its_level_is_zero() {
    let table = Table::new(1, 2).staying_while(0);
    let departing = |table: &Table<&'static str>| -> Vec<&'static str> {
        table.departing().into_iter().map(|(name, _)| name).collect()
    };
    let old = table.install(&["busy", "idle", "unvisited"]);
    add(&old[0], 1);
    add(&old[1], 0);
    let new = table.install(&["next"]);
    assert_eq!(departing(&table), ["busy"]);
    table.install(&["another"]);
    assert_eq!(departing(&table), ["busy"], "a second edit does not take it away");
    table.install(&["busy"]);
    assert_eq!(departing(&table), [""; 0], "it is back");
    table.install(&["another"]);
    old[0].cell()[0].fetch_sub(1, Ordering::Relaxed);
    assert_eq!(departing(&table), [""; 0]);
    drop(new);
}
