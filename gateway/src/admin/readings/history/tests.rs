use proptest::prelude::*;

use super::super::reader::READER_BYTES_MAX;
use super::*;

fn names(count: usize) -> Arc<Names> {
    let route = |index| Series::Route("shop".into(), format!("route-{index}").into());
    Arc::new(Names::of((0..count).map(route).collect()))
}

/// How many routes the tried configurations have; the history of the largest does not fit whole.
const SIZES: [usize; 5] = [0, 1, 700, 9_000, 40_000];

fn busy(requests: u64) -> Figures {
    let quantiles = Some([100, 200, 300]);
    Figures { requests, errors: requests / 10, seconds: 10.0, quantiles, ..Figures::default() }
}

/// What is really held, as the allocator would have it.
fn held(history: &History) -> usize {
    let mut seen: Vec<*const Names> = Vec::new();
    let mut bytes = 0;
    for step in &history.steps {
        bytes += size_of::<Step>() + 8 * (step.present.len() + step.cells.len());
        if !seen.contains(&Arc::as_ptr(&step.names)) {
            seen.push(Arc::as_ptr(&step.names));
            bytes += step.names.bytes();
        }
    }
    bytes
}

#[test]
fn an_hour_of_ten_thousand_busy_routes_fits_into_64_mib() {
    const { assert!(BYTES_MAX + READER_BYTES_MAX <= 64 << 20) };
    let (mut history, names) = (History::default(), names(10_000));
    let figures = vec![busy(7); 10_000];
    for step in 0..400 {
        history.add(step * STEP_S, &names, &figures);
        history.add_recent(step, busy(7));
    }
    assert_eq!(history.steps.len(), 360, "the whole hour is kept");
    assert!(held(&history) <= 32 << 20, "{} bytes", held(&history));
    let points = history.of(&Series::Route("shop".into(), "route-9999".into()));
    assert_eq!((points.len(), points[0].at_unix_s), (360, 400));
    assert!((points[359].requests_per_s - 0.7).abs() < 1e-9);
    assert_eq!(history.of(&Series::Route("shop".into(), "none".into())), []);
}

#[test]
fn a_route_is_found_through_reloads_that_move_it() {
    let mut history = History::default();
    history.add(10, &names(3), &[busy(1), Figures::default(), busy(300)]);
    let turned: Vec<_> =
        [2, 0].map(|it| Series::Route("shop".into(), format!("route-{it}").into())).into();
    history.add(20, &Arc::new(Names::of(turned.clone())), &[busy(500), Figures::default()]);
    let rates = |series| -> Vec<f64> {
        history.of(series).iter().map(|point| point.requests_per_s).collect()
    };
    assert_eq!(rates(&turned[0]), [30.0, 50.0]);
    assert_eq!(rates(&turned[1]), [0.1, 0.0]);
    assert_eq!(rates(&Series::Route("shop".into(), "route-1".into())), [0.0]);
    let point = history.of(&turned[0])[1];
    assert_eq!(point.quantiles_s[2], Some(histogram::middle(300).as_secs_f64()));
}

proptest! {
    #[test]
    fn a_word_holds_its_figures(
        requests in 1_u64..1 << 44, share in 0.0..1.0_f64,
        quantiles in prop::option::of([0..449_u16, 0..449_u16, 0..449_u16]),
    ) {
        let errors = (requests as f64 * share) as u64;
        let packed = Figures { requests, errors, quantiles, ..Figures::default() };
        let found = unpack(pack(&packed));
        prop_assert_eq!(found.quantiles, quantiles);
        let near = |found: u64, true_one: u64| (true_one - found) * 4_096 <= true_one;
        prop_assert!(near(found.requests, requests) && near(found.errors, errors));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_comes_the_bound_holds(
        steps in prop::collection::vec((0..SIZES.len(), 0..4_usize, prop::bool::weighted(0.3)), 1..60),
    ) {
        let mut history = History::default();
        let known = SIZES.map(names);
        let mut current = known[1].clone();
        for (at, (size, every, reloads)) in steps.into_iter().enumerate() {
            if reloads {
                current = Arc::new(Names::clone(&known[size]));
            }
            let figures = (0..current.len()).map(|place| match every {
                0 => Figures::default(),
                every if place % every == 0 => busy(place as u64 + 1),
                _ => Figures::default(),
            });
            let figures: Vec<_> = figures.collect();
            history.add(at as u64, &current, &figures);
            prop_assert_eq!(history.bytes, held(&history));
            prop_assert!(history.bytes <= BYTES_MAX && history.steps.len() <= STEPS_MAX);
        }
    }
}
