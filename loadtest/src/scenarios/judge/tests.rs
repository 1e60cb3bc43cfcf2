use super::*;
use serde_json::json;

fn seen(acts: Acts) -> Seen {
    let sample = |at: u64| Sample {
        at_s: at as f64,
        memory_bytes: 20 << 20,
        descriptors: 40,
        cpu_share: 0.1,
    };
    Seen { samples: (1..=100).map(sample).collect(), acts }
}

fn summary(more: Value) -> Value {
    let mut metrics = json!({ "http_reqs": {
        "type": "counter", "values": { "count": 100 },
        "thresholds": { "count>=95": { "ok": true } },
    } });
    metrics.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "metrics": metrics })
}

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| !check.passed).map(|check| &*check.name).collect()
}

#[test]
fn a_crossed_threshold_fails_the_run() {
    let crossed = json!({ "http_req_failed": {
        "type": "rate", "values": { "rate": 0.2, "passes": 2, "fails": 8 },
        "thresholds": { "rate==0": { "ok": false } },
    } });
    let checks = checks(Kind::Steady, &summary(crossed), None).unwrap();
    assert_eq!(failed(&checks), ["http_req_failed: rate==0"]);
    let Verdict::Fail(reason) = verdict(&checks) else { panic!("passed") };
    assert_eq!(reason, "http_req_failed: rate==0 (rate 0.2000)");
    assert_eq!(verdict(&checks[1..]), Verdict::Pass);
}

#[test]
fn a_threshold_on_nothing_fails_the_run() {
    let nothing = json!({ "user_stayed": {
        "type": "rate", "values": { "rate": 0.0, "passes": 0, "fails": 0 },
        "thresholds": { "rate==1": { "ok": true } },
    } });
    let checks = checks(Kind::Steady, &summary(nothing), None).unwrap();
    assert_eq!(failed(&checks), ["user_stayed counted something"]);
}

#[test]
fn a_binomial_bound_narrows_with_the_draws() {
    assert!(within(13.0, 100.0, 0.1));
    assert!(!within(25.0, 100.0, 0.1));
    assert!(within(1030.0, 10_000.0, 0.1));
    assert!(!within(1300.0, 10_000.0, 0.1));
    assert!(!within(0.0, 0.0, 0.1));
}

#[test]
fn a_split_is_judged_by_what_was_counted_under_it() {
    let share = |passes: u64, fails: u64| json!({ "type": "rate", "values": { "passes": passes, "fails": fails } });
    let right = json!({
        "canary_share{split:10}": share(500, 4500), "canary_share{split:50}": share(2480, 2520),
    });
    let wrong = json!({ "canary_share{split:10}": share(500, 4500) });
    let acts = seen(Acts::default());
    let judged = |shares| checks(Kind::Canary, &summary(shares), Some(&acts)).unwrap();
    assert!(failed(&judged(right)).is_empty());
    assert_eq!(failed(&judged(wrong)), ["50 % to the canary"]);
}

#[test]
fn rewritten_files_must_come_in_force() {
    let all = Acts { rewrites: 10, versions: 9, last_in_force: true, ..Acts::default() };
    let judge = |acts| failed(&ours(Kind::Reload, &summary(json!({})), &seen(acts))).len();
    assert_eq!(judge(all), 0);
    assert_eq!(judge(Acts { versions: 4, ..all }), 1);
    assert_eq!(judge(Acts { last_in_force: false, ..all }), 1);
    assert_eq!(judge(Acts { refused: true, ..all }), 1);
    assert_eq!(judge(Acts { rewrites: 0, ..all }), 1);
}

#[test]
fn an_endpoint_that_was_not_lost_proves_nothing() {
    let judge = |origins_ended| {
        let acts = Acts { origins_ended, ..Acts::default() };
        failed(&ours(Kind::Consistent, &summary(json!({})), &seen(acts))).len()
    };
    assert_eq!(judge(1), 0);
    assert_eq!(judge(0), 1);
}

fn latencies(early: f64, late: f64) -> Value {
    let part = |ms: f64| json!({ "type": "trend", "values": { "med": ms, "p(99)": ms * 10.0 } });
    json!({ "http_req_duration{part:early}": part(early), "http_req_duration{part:late}": part(late) })
}

#[test]
fn a_soak_that_creeps_fails() {
    let judged = |summary: &Value, seen: &Seen| {
        let checks = checks(Kind::Soak, summary, Some(seen)).unwrap();
        failed(&checks).join(", ")
    };
    let calm = summary(latencies(1.0, 1.2));
    let mut seen = seen(Acts::default());
    assert_eq!(judged(&calm, &seen), "");
    let slow = judged(&summary(latencies(1.0, 9.0)), &seen);
    assert!(slow.contains("median latency") && slow.contains("p99 latency"), "{slow}");
    for sample in &mut seen.samples[60..] {
        sample.memory_bytes *= 2;
        sample.descriptors *= 2;
    }
    let crept = judged(&calm, &seen);
    assert!(crept.contains("memory") && crept.contains("descriptors"), "{crept}");
}

#[test]
fn a_soak_without_samples_fails() {
    let seen = Seen { samples: Vec::new(), acts: Acts::default() };
    let checks = checks(Kind::Soak, &summary(latencies(1.0, 1.0)), Some(&seen)).unwrap();
    assert_eq!(failed(&checks).len(), 2);
}
