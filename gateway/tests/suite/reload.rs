//! An edited file moves traffic, however it was edited; a bad one changes nothing.

#[path = "reload/following.rs"]
mod following;
#[path = "reload/listeners.rs"]
mod listeners;
#[path = "reload/proportion.rs"]
mod proportion;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{
    Client, Gateway, Origin, config, eventually, forward_all, get, write_by_rename,
};

fn respond(text: &str) -> String {
    config(&routes(text))
}

fn routes(text: &str) -> String {
    format!(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes: [ {{ name: r, respond: {{ status: 200, body: {text} }} }} ]\n"
    )
}

fn answer(gateway: &Gateway) -> String {
    get(gateway.web(), "a", "/").body
}

/// Waits until the answer is `text`, and checks that it was there within `limit` of the edit.
fn moves_to(gateway: &Gateway, text: &str, edited: Instant, limit: Duration) {
    eventually(&format!("the answer {text}"), || (answer(gateway) == text).then_some(()));
    let took = edited.elapsed();
    assert!(took < limit, "{text} took {took:?}");
}

/// What a person sees as at once, with room for a loaded machine.
const AT_ONCE: Duration = Duration::from_millis(1500);

#[test]
fn every_way_of_saving_a_file_is_noticed() {
    let gateway = Gateway::start(&respond("one"));
    assert_eq!(answer(&gateway), "one");

    let edited = Instant::now();
    fs::write(&gateway.config, respond("in-place")).unwrap();
    moves_to(&gateway, "in-place", edited, AT_ONCE);

    let edited = Instant::now();
    write_by_rename(&gateway.config, &respond("renamed"));
    moves_to(&gateway, "renamed", edited, AT_ONCE);

    // As editors do that keep a backup.
    let edited = Instant::now();
    fs::rename(&gateway.config, gateway.config.with_extension("bak")).unwrap();
    fs::write(&gateway.config, respond("backed-up")).unwrap();
    moves_to(&gateway, "backed-up", edited, AT_ONCE);

    assert_eq!(gateway.version(), 4);
    let before = gateway.config_view();
    fs::write(&gateway.config, respond("backed-up")).unwrap();
    gateway.signal("-HUP");
    fs::write(&gateway.config, respond("last")).unwrap();
    moves_to(&gateway, "last", Instant::now(), AT_ONCE);
    assert_eq!(gateway.version(), 5, "a file saved without a change is no new version");
    assert_ne!(gateway.config_view()["sha256"], before["sha256"]);
}

#[test]
fn the_symlink_swap_of_a_config_map_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    publish(&root, "..v1", "one");
    std::os::unix::fs::symlink("..data/sallyport.yaml", root.join("sallyport.yaml")).unwrap();
    let gateway = Gateway::start_in(folder, root.join("sallyport.yaml"));
    for (version, text) in [("..v2", "two"), ("..v3", "three")] {
        let edited = Instant::now();
        publish(&root, version, text);
        moves_to(&gateway, text, edited, AT_ONCE);
    }
}

/// Writes a new folder and renames a link to it over the old one, as the kubelet does.
fn publish(root: &Path, version: &str, text: &str) {
    fs::create_dir(root.join(version)).unwrap();
    fs::write(root.join(version).join("sallyport.yaml"), respond(text)).unwrap();
    std::os::unix::fs::symlink(version, root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
}

#[test]
fn included_files_are_read_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("conf.d");
    fs::create_dir(&parts).unwrap();
    let main = folder.path().join("sallyport.yaml");
    fs::write(&main, config("include: [\"conf.d/*.yaml\"]\n")).unwrap();
    let gateway = Gateway::start_in(folder, main);
    assert_eq!(get(gateway.web(), "a", "/").status, 404);
    let edited = Instant::now();
    fs::write(parts.join("10.yaml"), routes("included")).unwrap();
    moves_to(&gateway, "included", edited, AT_ONCE);
    let edited = Instant::now();
    fs::write(parts.join("10.yaml"), routes("changed")).unwrap();
    moves_to(&gateway, "changed", edited, AT_ONCE);
    fs::remove_file(parts.join("10.yaml")).unwrap();
    eventually("no routes", || (get(gateway.web(), "a", "/").status == 404).then_some(()));
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported() {
    let gateway = Gateway::start(&respond("good"));
    let (good, text_of_good) =
        (gateway.config_view(), fs::read_to_string(&gateway.config).unwrap());
    let bad = respond("worse").replace("status: 200", "status: 20");
    for (count, text) in [(1.0, bad.as_str()), (2.0, "listeners: ["), (3.0, "")] {
        // By a rename: a file half written is one more refusal on a slow machine.
        write_by_rename(&gateway.config, text);
        let refused = "sallyport_config_reloads_total{result=\"failure\"}";
        gateway.counts(refused, count);
        assert_eq!(answer(&gateway), "good");
        let view = gateway.config_view();
        assert_eq!((&view["version"], &view["sha256"]), (&good["version"], &good["sha256"]));
        let problem = view["refused"]["problems"][0].as_str().unwrap().to_owned();
        assert!(problem.contains("sallyport.yaml:"), "{problem}");
        gateway.logged("configuration refused");
    }
    fs::write(&gateway.config, text_of_good).unwrap();
    eventually("the refusal to be forgotten", || {
        gateway.config_view()["refused"].is_null().then_some(())
    });
    assert_eq!(gateway.version(), 1);
    fs::write(&gateway.config, respond("better")).unwrap();
    moves_to(&gateway, "better", Instant::now(), AT_ONCE);
    gateway.counts("sallyport_config_reloads_total{result=\"success\"}", 1.0);
    gateway.counts("sallyport_config_version", 2.0);
    let info = format!("sallyport_config_info{{sha256={}}}", gateway.config_view()["sha256"]);
    gateway.counts(&info, 1.0);
}

#[test]
fn a_reload_that_does_not_touch_an_upstream_keeps_its_state() {
    let origins = ["a", "b", "c"].map(Origin::named);
    let addresses = origins.each_ref().map(|origin| origin.address);
    let yaml = forward_all(&addresses);
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    let mut next = || {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.receive().body
    };
    let before = [next(), next()];
    gateway.replace(&yaml.replace("name: everything", "name: renamed"));
    let seen = [before, [next(), next()]].concat();
    // Round robin begins anywhere.
    let turns = ["a", "b", "c"].into_iter().cycle().skip_while(|name| *name != seen[0]);
    assert_eq!(seen, turns.take(4).collect::<Vec<_>>(), "round robin goes on where it was");
    gateway.replace(&(yaml.replace("name: everything", "name: renamed") + "# a comment\n"));
    // A route that keeps its name keeps its counters.
    let renamed = "route=\"renamed\",virtual_host=\"all\"";
    gateway.counts(&format!("sallyport_route_requests_total{{code_class=\"2xx\",{renamed}}}"), 2.0);
}

#[test]
fn listener_settings_other_than_the_address_are_reloaded() {
    let yaml =
        "listeners: [ { name: web, address: 127.0.0.1:0 } ]\nadmin: { address: 127.0.0.1:0 }\n"
            .to_owned()
            + &routes("all")
            + "  - { name: other, domains: [b], routes: [ { name: r, respond: { status: 201 } } ] }\n";
    let gateway = Gateway::start(&yaml);
    assert_eq!(
        [get(gateway.web(), "a", "/").status, get(gateway.web(), "b", "/").status],
        [200, 201]
    );
    gateway.replace(
        &yaml.replace(
            "address: 127.0.0.1:0 } ]",
            "address: 127.0.0.1:0, virtual_hosts: [other] } ]",
        ),
    );
    assert_eq!(
        [get(gateway.web(), "a", "/").status, get(gateway.web(), "b", "/").status],
        [404, 201]
    );
}

#[test]
fn ten_thousand_routes_are_in_force_soon_after_they_are_written() {
    let table = |answer: &str| {
        let mut yaml = config("virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n");
        for index in 0..10_000 {
            yaml += &format!(
                "      - {{ name: r{index}, match: {{ path: {{ prefix: /r{index} }} }}, respond: {{ status: 200, body: {answer} }} }}\n"
            );
        }
        yaml
    };
    let gateway = Gateway::start(&table("one"));
    assert_eq!(get(gateway.web(), "a", "/r9999/x").body, "one");
    let before = gateway.cpu_time();
    gateway.replace(&table("two"));
    assert_eq!(get(gateway.web(), "a", "/r9999/x").body, "two");
    // The figure itself is measured on a release build; this one only guards against surprises. CPU
    // time, because the machine may have other work.
    let spent = gateway.cpu_time() - before;
    println!("10,000 routes: {spent:?} of CPU time from reading to force");
    assert!(spent < Duration::from_secs(5), "{spent:?}");
}
