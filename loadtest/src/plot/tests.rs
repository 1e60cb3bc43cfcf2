use super::*;

fn spread(median: f64, min: f64, max: f64) -> Option<Spread> {
    Some(Spread { median, min, max })
}

fn named(bars: &[(&str, Option<Spread>)]) -> Vec<(String, Option<Spread>)> {
    bars.iter().map(|&(name, spread)| (name.to_owned(), spread)).collect()
}

fn bars() -> Bars {
    let plain = named(&[
        ("sallyport", spread(33.1, 31.0, 36.2)),
        ("bare", spread(31.9, 30.0, 35.0)),
        ("nginx", spread(19.0, 18.7, 19.9)),
        ("haproxy", spread(21.0, 20.7, 22.9)),
        ("envoy", spread(80.0, 60.7, 100.9)),
        ("caddy", spread(120.0, 110.7, 160.9)),
        ("traefik", spread(125.0, 110.7, 130.9)),
        ("pingap", None),
    ]);
    let routes =
        named(&[("sallyport", spread(34.0, 33.0, 35.0)), ("envoy", spread(473.0, 470.0, 480.0))]);
    Bars {
        title: "CPU per request < 1 KiB & keep-alive".to_owned(),
        unit: "microseconds".to_owned(),
        groups: vec![
            ("plain HTTP/1".to_owned(), plain),
            ("10,000 routes, last".to_owned(), routes),
        ],
        log: false,
    }
}

fn lines() -> Lines {
    let curve =
        |by: f64| (0..20).map(|x| (f64::from(x) * 1000.0, by * f64::from(x * x + 10))).collect();
    let series = ["sallyport", "nginx", "envoy", "flow 1", "flow 2"];
    let series = series.iter().zip([1.0, 0.7, 2.0, 0.3, 0.2]);
    Lines {
        title: "p99 at offered rates".to_owned(),
        x: "requests a second".to_owned(),
        y: "microseconds".to_owned(),
        log_x: false,
        log_y: true,
        series: series.map(|(name, by)| ((*name).to_owned(), curve(by))).collect(),
        rules: vec![("gate".to_owned(), 500.0)],
    }
}

fn drawn(write: impl Fn(&Path) -> Result<()>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("picture.svg");
    write(&file).unwrap();
    fs::read_to_string(file).unwrap()
}

#[test]
fn bars_have_names_figures_and_dashes() {
    let picture = drawn(|file| bars().write(file));
    for text in ["sallyport", "33.1", "10,000 routes, last", "473", "microseconds", "\n-\n"] {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    assert!(picture.contains("&lt; 1 KiB &amp; keep-alive"));
}

#[test]
fn a_logarithmic_bar_of_nothing_is_a_dash() {
    let groups = vec![("group".to_owned(), named(&[("nginx", spread(0.0, 0.0, 0.0))]))];
    let picture = drawn(|file| Bars { groups: groups.clone(), log: true, ..bars() }.write(file));
    assert!(picture.contains("\n-\n"), "{picture}");
}

#[test]
fn lines_have_a_legend_and_rules() {
    let picture = drawn(|file| lines().write(file));
    for text in ["sallyport", "flow 2", "gate: 500", "requests a second"] {
        assert!(picture.contains(text), "{text}");
    }
}

#[test]
fn a_picture_of_nothing_can_be_drawn() {
    drawn(|file| Bars { groups: Vec::new(), ..bars() }.write(file));
    drawn(|file| Lines { series: Vec::new(), rules: Vec::new(), ..lines() }.write(file));
    let holes = vec![("nginx".to_owned(), vec![(0.0, f64::NAN), (1.0, -1.0)])];
    drawn(|file| Lines { series: holes.clone(), ..lines() }.write(file));
}

#[test]
fn the_same_figures_draw_the_same_bytes() {
    assert_eq!(drawn(|file| bars().write(file)), drawn(|file| bars().write(file)));
    assert_eq!(drawn(|file| lines().write(file)), drawn(|file| lines().write(file)));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = bars().write(Path::new("/nowhere/at/all.svg")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all.svg"));
}

#[test]
fn figures_have_the_digits_worth_reading() {
    let cases = [
        (0.0, "0"),
        (0.000_012, "1.2e-5"),
        (0.0312, "0.031"),
        (3.256, "3.26"),
        (33.12, "33.1"),
        (473.4, "473"),
        (1_234_567.0, "1,234,567"),
    ];
    for (value, text) in cases {
        assert_eq!(figure(value), text);
    }
    assert_eq!(
        (tick(5.0), tick(0.25), tick(20_000.0)),
        ("5".into(), "0.25".into(), "20,000".into())
    );
}
