use super::*;

#[test]
fn durations_are_read_as_the_gateway_api_writes_them() {
    for (text, ms) in [
        ("10s", Some(10_000)),
        ("500ms", Some(500)),
        ("1h30m", Some(5_400_000)),
        ("1m0s5ms", Some(60_005)),
        ("0s", Some(0)),
        ("", None),
        ("10", None),
        ("s", None),
        ("1d", None),
        ("9999999s", None),
    ] {
        let expected = ms.map(std::time::Duration::from_millis);
        assert_eq!(duration(text), expected, "{text:?}");
    }
}

#[test]
fn weights_keep_their_proportion() {
    let target = |weight| Target { upstream: "a".into(), weight: Int(weight) };
    let mut targets = [target(1_000_000), target(500_000), target(1)];
    scale(&mut targets);
    assert_eq!(targets.map(|it| it.weight.0), [65_535, 32_767, 1]);
}
