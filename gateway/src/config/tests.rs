mod pairs;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sallyport_balance::Policy;

use sallyport_config::{Problems, Sources};

use sallyport_plugin::{Instances, Kinds};
use sallyport_route::Patterns;

use super::{Action, HashOn, Joined, Loaded, RestartOnly, Whole};
use crate::filters::Filters;

fn load(path: &Path) -> Result<Loaded, Problems> {
    super::load(path, &Filters::idle(Kinds::builtin()))
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

const MAIN: &str = r#"
include: [b.yaml, "parts/*.yaml"]
listeners:
  - { name: one, address: 127.0.0.1:1, timeouts: { idle: 5s } }
  - { name: two, address: 127.0.0.1:2, virtual_hosts: [late] }
upstreams:
  - name: hashed
    load_balancing: { policy: maglev, hash_on: { cookie: user }, table_size: 251 }
    endpoints: [ { address: 10.0.0.1:80, weight: 3 }, { address: "[::1]:80" } ]
    timeouts: { connect: 250ms }
"#;

const PART: &str = r"
upstreams:
  - { name: plain, endpoints: [ { address: 10.0.0.9:80 } ] }
virtual_hosts:
  - name: late
    domains: [late.example]
    routes:
      - name: forward
        match: { path: { prefix: /x } }
        forward: { split: [ { upstream: plain, weight: 1 }, { upstream: hashed, weight: 0 } ], timeout: 1.5s }
";

#[test]
fn files_are_resolved_together_and_defaults_are_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("parts")).unwrap();
    let main = write(folder.path(), "a.yaml", MAIN);
    write(folder.path(), "b.yaml", "");
    let problems = load(&main).unwrap_err();
    // An empty file is a note.
    assert_eq!(problems.iter().filter(|problem| problem.line > 1).count(), 1, "{problems}");
    assert!(problems.to_string().contains("unknown virtual host \"late\""), "{problems}");

    write(folder.path(), "b.yaml", "upstreams: []");
    write(folder.path(), "parts/1.yaml", PART);
    let loaded = load(&main).unwrap();
    assert_eq!(loaded.files.len(), 3);
    let config = loaded.config;
    let hashed = &config.upstreams[0];
    assert_eq!(hashed.policy, Policy::Maglev { table_size: 251 });
    assert_eq!(hashed.hash_on, HashOn::Cookie("user".into()));
    assert_eq!(hashed.endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(
        (hashed.timeouts.connect, hashed.timeouts.read),
        (Duration::from_millis(250), Duration::from_secs(60))
    );
    assert_eq!(config.listeners[0].timeouts.idle, Duration::from_secs(5));
    assert_eq!(
        (&config.listeners[0].virtual_hosts, &config.listeners[1].virtual_hosts),
        (&None, &Some(vec![0]))
    );
    let Action::Forward(forward) = &config.virtual_hosts[0].routes[0].action else {
        panic!("no forward")
    };
    assert_eq!(
        (forward.targets[0].upstream, forward.targets[1].weight, forward.retry.attempts),
        (1, 0, 2)
    );
    assert_eq!(forward.timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn the_fingerprint_follows_every_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("parts")).unwrap();
    let main = write(folder.path(), "a.yaml", MAIN);
    write(folder.path(), "b.yaml", "upstreams: []");
    let fingerprint = || Sources::read(&main).unwrap().sha256().to_owned();
    let before = fingerprint();
    assert_eq!(before, fingerprint());
    write(folder.path(), "parts/1.yaml", PART);
    let after = fingerprint();
    assert_ne!(before, after);
    fs::rename(folder.path().join("parts/1.yaml"), folder.path().join("parts/2.yaml")).unwrap();
    assert_ne!(after, fingerprint());
}

#[test]
fn what_needs_a_restart_is_refused_in_a_reload_and_listeners_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let listen = |name: &str, rest: &str| {
        let listeners = format!("listeners: [ {{ name: {name}, address: 127.0.0.1:1 }} ]\n{rest}");
        write(folder.path(), "a.yaml", &listeners)
    };
    let running = RestartOnly::of(&load(&listen("one", "")).unwrap().config);
    let reload = |path: &Path| {
        let (filters, previous) = (Filters::idle(Kinds::builtin()), Instances::default());
        let sources = Sources::read(path).unwrap();
        let mut reader = filters.reader(path, &previous);
        let declaration = super::declare(&sources, &mut reader, None);
        let whole = Whole::of_files(&sources, &declaration);
        super::resolve(&whole, Some(&running), &mut Patterns::default(), &mut reader)
    };
    reload(&listen("other", "admin: { address: 127.0.0.1:2 }\n")).unwrap();
    let problems = reload(&listen("one", "limits: { upstream_idle_connections: 5 }\n"));
    let said = problems.unwrap_err().to_string();
    assert!(said.contains("a.yaml:2: limits.upstream_idle_connections: "), "{said}");
}

#[test]
fn what_a_source_declares_is_resolved_with_the_files_and_named_by_the_source() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("parts")).unwrap();
    let main = write(folder.path(), "a.yaml", MAIN);
    write(folder.path(), "b.yaml", "upstreams: []");
    write(folder.path(), "parts/1.yaml", PART);
    let sources = Sources::read(&main).unwrap();
    let (filters, previous) = (Filters::idle(Kinds::builtin()), Instances::default());
    let mut reader = filters.reader(&main, &previous);
    let declaration = super::declare(&sources, &mut reader, None);
    assert!(declaration.is_whole());
    let mut resolved = |text: &str| {
        let fragment = serde_yaml::from_str(text).unwrap();
        let joined = [Joined::new("test", Arc::new(fragment), true)];
        let whole = Whole { fragments: &joined, ..Whole::of_files(&sources, &declaration) };
        super::resolve(&whole, None, &mut Patterns::default(), &mut reader)
    };
    let host = "virtual_hosts: [ { name: more, domains: [more], routes: [ { name: r, forward: { upstream: plain } } ] } ]";
    let loaded = resolved(host).unwrap();
    assert_eq!(loaded.config.virtual_hosts.len(), 2);
    assert!(loaded.config.asks_ja4);
    assert_eq!(loaded.listener_spots, [(0, 0), (0, 1)]);

    let said = resolved(&host.replace("plain", "nobody")).unwrap_err().to_string();
    let place = "source test:1: virtual_hosts[0].routes[0].forward.upstream: unknown upstream";
    assert!(said.starts_with(place), "{said}");
    let said = resolved(&host.replace("more", "late")).unwrap_err().to_string();
    assert!(said.contains("it is taken by virtual_hosts[0].name of "), "{said}");
}
