use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn options(words: &[&str]) -> Options {
    Cli::parse_from(["compare"].iter().chain(words)).options
}

#[test]
fn a_whole_run_of_nine_takes_fifty_minutes_at_most() {
    let options = options(&[]);
    let estimate = Extent::of(&options).estimate(&options.rows(), 9);
    assert!(estimate < Duration::from_secs(50 * 60), "{estimate:?}");
    let smoke = self::options(&["--smoke"]);
    assert!(Extent::of(&smoke).estimate(&smoke.rows(), 9) < estimate / 3);
}

#[test]
fn rows_are_measured_in_their_order() {
    assert_eq!(options(&["--rows", "flood,plain"]).rows(), [Row::Plain, Row::Flood]);
    assert_eq!(options(&[]).rows().len(), 17);
}

#[test]
fn the_flood_is_measured_by_the_same_program_with_the_same_proxies() {
    let options =
        options(&["--smoke", "--only", "nginx,envoy", "--envoy", "/opt/envoy", "--proxy-cpu", "3"]);
    let command = options.flood_command(Path::new("/tmp/f")).unwrap();
    assert_eq!(command[..3], ["unshare", "--net", "--"]);
    let words: Vec<&str> = command[4..].iter().map(String::as_str).collect();
    let inside = Cli::parse_from([&["compare"], &words[..]].concat()).options;
    assert_eq!(inside.flood_into, Some("/tmp/f".into()));
    assert_eq!((inside.only, inside.cpus.proxy), (options.only, 3));
    assert_eq!(inside.programs.envoy, Some("/opt/envoy".into()));
    assert!(inside.smoke);
}

#[test]
fn a_proxy_without_figures_keeps_its_reason_on_the_way_out_of_the_namespace() {
    let entrants = field::entrants(&[Peer::Caddy], &Programs::default()).unwrap();
    let entries: Vec<Entry<flood::Sample>> = absent(&entrants, "no limit", true);
    let value = serde_json::to_value(&entries[0]).unwrap();
    let read = read_entry((&entrants[0], value)).unwrap();
    let absence = Absence { reason: "no limit".to_owned(), failed: true };
    assert_eq!((read.proxy, read.absent), ("caddy", Some(absence)));
}

#[test]
fn a_smoke_run_fails_with_any_proxy_that_should_have_served() {
    let entrants = field::entrants(&[Peer::Caddy], &Programs::default()).unwrap();
    let with = |failed| Results { flood: absent(&entrants, "ended", failed), ..Results::default() };
    assert_eq!(with(false).smoked(), Verdict::Pass);
    let invalid = Verdict::Invalid(vec!["flood: caddy: ended".to_owned()]);
    assert_eq!(with(true).smoked(), invalid);
}
