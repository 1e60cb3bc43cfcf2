use std::{sync::atomic::Ordering::Relaxed, thread};

use super::*;

fn address(cell: &[AtomicU64]) -> usize {
    cell.as_ptr().addr()
}

#[test]
fn cells_start_on_lines_of_their_own() {
    let sheet = Sheet::new(5, 17, 3);
    let mut addresses = Vec::new();
    for row in 0..5 {
        sheet.cell(row)[0].fetch_add(1, Relaxed);
        addresses.extend(sheet.cells(row).map(address));
    }
    addresses.sort_unstable();
    assert_eq!(addresses.len(), 15);
    assert!(addresses.iter().all(|address| address % LINE_BYTES == 0));
    assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 2 * LINE_BYTES));
}

#[test]
fn a_row_is_unvisited_until_it_is_written() {
    let sheet = Sheet::new(2, 1, 2);
    assert!(!sheet.is_visited(1));
    assert_eq!(sheet.cells(1).count(), 0);
    sheet.cell(1);
    assert!(sheet.is_visited(1));
    assert!(!sheet.is_visited(0));
    assert_eq!(sheet.cells(1).count(), 2);
}

#[test]
fn rows_are_placed_in_the_order_of_their_first_visit() {
    let sheet = Sheet::new(1_000, 1, 1);
    let late = address(sheet.cell(999));
    let early = address(sheet.cell(0));
    assert_eq!(early - late, LINE_BYTES);
}

#[test]
fn rows_do_not_mix() {
    let sheet = Sheet::new(3, 2, 1);
    for row in 0..3 {
        sheet.cell(row)[1].store(row as u64 + 7, Relaxed);
    }
    for row in 0..3 {
        assert_eq!(sheet.cell(row)[0].load(Relaxed), 0);
        assert_eq!(sheet.cell(row)[1].load(Relaxed), row as u64 + 7);
    }
}

#[test]
fn no_shards_is_one_shard() {
    let sheet = Sheet::new(1, 1, 0);
    sheet.cell(0)[0].fetch_add(1, Relaxed);
    assert_eq!(sheet.cells(0).count(), 1);
}

#[test]
fn more_workers_than_shards_lose_nothing() {
    let sheet = Sheet::new(1, 1, 2);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    sheet.cell(0)[0].fetch_add(1, Relaxed);
                }
            });
        }
    });
    let total: u64 = sheet.cells(0).map(|cell| cell[0].load(Relaxed)).sum();
    assert_eq!(total, 80_000);
}
