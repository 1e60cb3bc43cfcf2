use super::*;
use crate::bench::Cpus;
use crate::interrupt::Interrupt;
use clap::ValueEnum;

fn plan(target: Option<&str>, smoke: bool) -> Plan {
    Plan {
        setting: Setting {
            gateway: "/opt/sallyport".into(),
            cpus: Cpus { proxy: 0, load: 1 },
            interrupt: Interrupt::default(),
        },
        k6: "/opt/k6".into(),
        scripts: concat!(env!("CARGO_MANIFEST_DIR"), "/k6").into(),
        results: "/tmp/results".into(),
        target: target.map(str::to_owned),
        smoke,
        spoiled: Spoiled(false),
    }
}

fn settings(kind: Kind, plan: &Plan) -> Vec<String> {
    let run = run_of(kind, kind.load(plan.smoke), plan, "http://t", Path::new("/tmp/d")).unwrap();
    run.settings.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn every_scenario_has_its_script() {
    for kind in Kind::value_variants() {
        let run =
            run_of(*kind, kind.load(true), &plan(None, true), "t", Path::new("/tmp")).unwrap();
        assert!(run.script.exists(), "{}", run.script.display());
    }
}

/// A setting that no script reads would be one without an effect.
#[test]
fn every_setting_is_read_by_the_script_or_by_what_it_shares() {
    let folder = plan(None, true).scripts;
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let all: String =
        Kind::value_variants().iter().map(|kind| read(&format!("{}.js", kind.name()))).collect();
    for (name, _) in smoke_settings() {
        assert!(all.contains(&format!("'{name}'")), "{name}");
    }
    for kind in Kind::value_variants() {
        let script = read(&format!("{}.js", kind.name())) + &read("lib.js");
        for (name, _) in kind.stage_settings() {
            assert!(script.contains(&format!("'{name}'")), "{name} in {}", kind.name());
        }
    }
}

#[test]
fn a_stage_is_described_to_the_script_and_a_strangers_gateway_is_not() {
    let ours = settings(Kind::Canary, &plan(None, false));
    assert!(ours.contains(&"SPLITS=10,50".to_owned()), "{ours:?}");
    assert!(ours.contains(&"SPLIT_HEADER=x-split".to_owned()));
    let theirs = settings(Kind::Canary, &plan(Some("http://t"), false));
    assert_eq!(theirs, ["TARGET=http://t", "RATE=500", "DURATION=30", "VUS=50"]);
}

#[test]
fn a_soak_takes_ten_minutes() {
    assert_eq!(Kind::Soak.load(false).duration_s, 600);
    assert!(Kind::Soak.load(true).duration_s < 5);
}

#[test]
fn a_spoiled_stage_claims_what_it_does_not_do() {
    let claimed = |kind: Kind| kind.first_shape(Spoiled(true));
    assert_eq!(claimed(Kind::Canary), Shape::Split { canary: 40, claimed: 10 });
    assert_eq!(claimed(Kind::Consistent), Shape::ByUser { kept: false });
    assert_eq!(Kind::Canary.first_shape(Spoiled(false)), Shape::Split { canary: 10, claimed: 10 });
}
