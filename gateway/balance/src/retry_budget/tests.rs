use proptest::prelude::*;

use super::*;

#[test]
fn retries_are_a_share_of_requests() {
    let budget = RetryBudget::default();
    let allowance = Allowance { percent: 20, at_least: 0 };
    assert!(!budget.try_retry(0, allowance), "nothing was sent");
    let mut retries = 0;
    for _ in 0..1_000 {
        budget.count_request(0);
        retries += u32::from(budget.try_retry(0, allowance));
    }
    assert_eq!(retries, 200);
}

#[test]
fn a_few_retries_are_allowed_however_few_the_requests_are() {
    let budget = RetryBudget::default();
    let allowance = Allowance { percent: 20, at_least: 3 };
    let allowed = (0..10).filter(|_| budget.try_retry(0, allowance)).count();
    assert_eq!(allowed, 3);
    assert!(!budget.try_retry(1_000 * BUDGET_WINDOW_S - 1, allowance));
    assert!(budget.try_retry(1_000 * BUDGET_WINDOW_S, allowance), "the window has passed");
}

#[test]
fn what_was_sent_long_ago_pays_for_nothing() {
    let budget = RetryBudget::default();
    let allowance = Allowance { percent: 100, at_least: 0 };
    (0..100).for_each(|_| budget.count_request(500));
    assert!(budget.try_retry(9_999, allowance));
    assert!(!budget.try_retry(10_000, allowance));
}

proptest! {
    /// Over any time, what is sent is at most the offered load by the share, and what the floor allows.
    #[test]
    fn an_outage_is_not_multiplied(
        percent in 0_u32..=100,
        at_least in 0_u32..10,
        gaps_ms in prop::collection::vec(0_u64..400, 1..500),
    ) {
        let budget = RetryBudget::default();
        let allowance = Allowance { percent, at_least };
        let (mut now_ms, mut requests, mut retries) = (0, 0_u64, 0_u64);
        for gap_ms in gaps_ms {
            now_ms += gap_ms;
            requests += 1;
            budget.count_request(now_ms);
            retries += (0..3).filter(|_| budget.try_retry(now_ms, allowance)).count() as u64;
        }
        // One window at the beginning and one that is under way.
        let windows = now_ms / 1_000 / BUDGET_WINDOW_S + 2;
        let floor = u64::from(at_least) * windows;
        prop_assert!(retries <= requests * u64::from(percent) / 100 + floor);
    }
}
