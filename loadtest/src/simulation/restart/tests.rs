use super::super::Notice;
use super::super::tests::small;
use super::*;

fn case(policy: &'static str) -> Case {
    Case { policy, notice: Notice::Configuration }
}

#[test]
fn every_endpoint_is_out_once() {
    let plan = small();
    let schedule = Schedule::of(&plan, &mut seeded(&plan));
    for number in 0..plan.endpoints {
        assert_eq!(schedule.out.iter().filter(|out| out[number]).count(), 1);
    }
    assert_eq!(schedule.out.len(), 1 + plan.endpoints / plan.batch + 1);
}

#[test]
fn a_state_is_noticed_within_the_delay_and_never_forgotten() {
    let plan = small();
    let schedule = Schedule::of(&plan, &mut seeded(&plan));
    for gateway in 0..plan.gateways {
        let known: Vec<usize> =
            (0..schedule.ticks).map(|tick| schedule.known(gateway, tick)).collect();
        assert!(known.is_sorted(), "{known:?}");
        assert_eq!(known.last(), Some(&(schedule.out.len() - 1)));
        for (tick, known) in known.iter().enumerate() {
            assert!(*known <= schedule.state(&plan, tick));
            let late = tick.saturating_sub(plan.delay_ticks);
            assert!(*known >= schedule.state(&plan, late));
        }
    }
}

#[test]
fn keys_stay_where_they_are_while_nothing_changes() {
    let restart = observe(&small(), case("ring_hash")).unwrap();
    let calm = &restart.ticks[1..CALM_TICKS];
    assert!(calm.iter().all(|tick| tick.moved == Some(0.0) && tick.agreement == Some(1.0)));
    assert!(restart.ticks.iter().any(|tick| tick.agreement < Some(1.0)));
    assert!(restart.ticks.iter().any(|tick| tick.astray > 0.0));
}

#[test]
fn round_robin_sends_its_users_anywhere() {
    let restart = observe(&small(), case("round_robin")).unwrap();
    assert!(restart.ticks[1].moved > Some(0.5));
    assert_eq!((restart.ticks[1].agreement, restart.moved_most), (None, None));
}

#[test]
fn the_busiest_is_measured_by_those_that_serve() {
    let out = vec![false, false, true];
    assert_eq!(load(&[0, 0, 0, 1, 2], &out), (1.5, 0.2));
}
