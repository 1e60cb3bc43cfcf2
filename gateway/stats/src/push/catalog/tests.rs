use super::*;
use crate::push::metric::{ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX, NAME_BYTES_MAX};

fn catalog(series: usize, metrics: usize) -> Catalog {
    Catalog::new(CatalogLimits { series, metrics, bytes: usize::MAX })
}

#[test]
fn the_same_definition_is_the_same_handle() {
    let catalog = Catalog::default();
    let one = catalog.metric("requests").attribute("a", "1").attribute("b", "2").counter();
    let other = catalog.metric("requests").attribute("b", "2").attribute("a", "1").counter();
    assert_eq!(one, other, "the order does not matter");
    let third = catalog.metric("requests").attribute("a", "1").counter();
    assert_ne!(one, third);
    assert_eq!(catalog.len(), 2);
}

#[test]
fn the_last_value_of_a_key_counts_and_empty_keys_do_not() {
    let catalog = Catalog::default();
    let metric = catalog.metric("m").attributes([("k", "old"), ("", "x"), ("k", "new")]);
    let handle = metric.gauge().unwrap();
    let series = catalog.series(handle.0.index()).unwrap();
    let attributes: Vec<_> = series.attributes().iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(attributes, [("k", "new")]);
}

#[test]
fn a_metric_has_one_kind_and_one_unit() {
    let catalog = Catalog::default();
    catalog.metric("m").unit(Unit::Bytes).counter().unwrap();
    assert_eq!(catalog.metric("m").unit(Unit::Bytes).gauge(), Err(RegisterError::Conflict));
    let other = catalog.metric("m").attribute("a", "b").counter();
    assert_eq!(other, Err(RegisterError::Conflict), "the unit differs");
}

#[test]
fn what_cannot_be_a_metric_is_refused() {
    let catalog = catalog(10, 1);
    assert_eq!(catalog.metric(" ").counter(), Err(RegisterError::NameEmpty));
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert_eq!(catalog.metric(&long).counter(), Err(RegisterError::NameTooLong));
    let keys: Vec<String> = (0..=ATTRIBUTES_MAX).map(|i| format!("k{i}")).collect();
    let many = catalog.metric("m").attributes(keys.iter().map(|key| (key.as_str(), "v")));
    assert_eq!(many.counter(), Err(RegisterError::TooManyAttributes));
    catalog.metric("m").counter().unwrap();
    assert_eq!(catalog.metric("n").counter(), Err(RegisterError::TooManyMetrics));
}

#[test]
fn long_values_are_cut_at_a_character() {
    let catalog = Catalog::default();
    let long = "ä".repeat(ATTRIBUTE_BYTES_MAX);
    let handle = catalog.metric("m").attribute("k", &long).counter().unwrap();
    let series = catalog.series(handle.0.index()).unwrap();
    assert_eq!(series.attributes()[0].1.len(), ATTRIBUTE_BYTES_MAX);
}

#[test]
fn beyond_the_bound_there_is_one_named_series_a_metric() {
    let catalog = catalog(2, 10);
    catalog.metric("a").attribute("k", "1").counter().unwrap();
    catalog.metric("b").attribute("k", "1").gauge().unwrap();
    let two = catalog.metric("a").attribute("k", "2").counter().unwrap();
    let three = catalog.metric("a").attribute("k", "3").counter().unwrap();
    assert_eq!(two, three);
    let other = catalog.metric("b").attribute("k", "2").gauge().unwrap();
    assert_ne!(two.0.index(), other.0.index());
    let series = catalog.series(two.0.index()).unwrap();
    assert_eq!((series.name(), &*series.attributes()[0].0), ("a", "overflow"));
    assert_eq!((catalog.len(), catalog.overflowed()), (4, 3));
    let known = catalog.metric("a").attribute("k", "1").counter().unwrap();
    assert_ne!(known, two, "what was there before is found");
}

#[test]
fn bytes_are_bounded_too() {
    let catalog = Catalog::new(CatalogLimits { bytes: 10_000, ..CatalogLimits::default() });
    let sets = if cfg!(miri) { 70 } else { 1_000 };
    for i in 0..sets {
        let value = format!("{i:0>200}");
        catalog.metric("m").attribute("k", &value).counter().unwrap();
    }
    assert!(catalog.bytes() < 10_500, "{}", catalog.bytes());
    assert!(catalog.overflowed() > sets - 50);
}

/// Ten million where the test is optimised, since they take seconds there, and a tenth otherwise.
#[test]
#[cfg_attr(miri, ignore = "a million of anything is too much for Miri")]
fn ten_million_attribute_sets_end_in_the_overflow() {
    let sets: usize = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
    let catalog = Catalog::default();
    for i in 0..sets {
        let user = i.to_string();
        catalog.metric("requests").attribute("user", &user).counter().unwrap();
    }
    let limit = CatalogLimits::default();
    assert!(catalog.len() <= limit.series + 1 && catalog.bytes() <= limit.bytes + 1_000);
    assert_eq!(catalog.overflowed() as usize, sets - (catalog.len() - 1));
}

#[test]
fn threads_agree_on_handles() {
    let catalog = catalog(100, 10);
    let register = || {
        let names: Vec<_> = (0..if cfg!(miri) { 20 } else { 200 }).map(|i| i.to_string()).collect();
        let handle = |name: &String| catalog.metric("m").attribute("k", name).counter().unwrap();
        names.iter().map(handle).collect::<Vec<_>>()
    };
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(register), scope.spawn(register));
        (one.join().unwrap(), other.join().unwrap())
    });
    let settled = register();
    for handles in [one, other] {
        assert!(handles.iter().zip(&settled).all(|(then, now)| then == now));
    }
}
