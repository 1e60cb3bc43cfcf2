//! The file is followed wherever its path leads, and read when it is whole.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{AT_ONCE, answer, moves_to, respond, routes};
use crate::support::{Gateway, config, eventually, get, write_by_rename};

fn shell(folder: &Path, command: &str) {
    let status = Command::new("sh").arg("-ec").arg(command).current_dir(folder).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn a_folder_that_is_replaced_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    shell(&root, "mkdir -p etc/conf.d new/conf.d");
    let main = root.join("etc/sallyport.yaml");
    fs::write(&main, config("include: [\"conf.d/*.yaml\"]\n")).unwrap();
    fs::write(root.join("etc/conf.d/a.yaml"), routes("one")).unwrap();
    let gateway = Gateway::start_in(folder, main.clone());
    assert_eq!(answer(&gateway), "one");
    let edit = |text: &str| {
        let edited = Instant::now();
        write_by_rename(&root.join("etc/conf.d/a.yaml"), &routes(text));
        moves_to(&gateway, text, edited, AT_ONCE);
    };
    shell(&root, "mv etc/conf.d away; mv new/conf.d etc/conf.d");
    edit("moved-away-and-in");
    shell(&root, "cp -r etc/conf.d copy; rm -rf etc/conf.d; cp -r copy etc/conf.d");
    edit("removed-and-copied");
    shell(&root, "rm -rf etc/conf.d; sleep 0.2; mkdir etc/conf.d");
    edit("made-anew");
    shell(&root, "mv etc gone; cp -r gone etc");
    edit("its-parent-too");
    shell(&root, "mv etc gone2; sleep 0.2; mv gone2 etc");
    edit("and-back");
    gateway.signal("-HUP");
    edit("after-a-signal");
}

/// git-sync: `current` is a link to one of several trees, swapped by a rename.
#[test]
fn the_link_swap_of_git_sync_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let publish = |version: &str, text: &str| {
        fs::create_dir_all(root.join(version)).unwrap();
        fs::write(root.join(version).join("sallyport.yaml"), respond(text)).unwrap();
        shell(&root, &format!("ln -s {version} next; mv -T next current"));
    };
    publish("v1", "one");
    let gateway = Gateway::start_in(folder, root.join("current/sallyport.yaml"));
    for (version, text) in [("v2", "two"), ("v3", "three"), ("v4", "four")] {
        let edited = Instant::now();
        publish(version, text);
        moves_to(&gateway, text, edited, AT_ONCE);
        // And in the new tree.
        let edited = Instant::now();
        let file = root.join(version).join("sallyport.yaml");
        write_by_rename(&file, &respond(&format!("{text}-edited")));
        moves_to(&gateway, &format!("{text}-edited"), edited, AT_ONCE);
    }
}

fn hosts(from: usize, to: usize, answer: &str) -> String {
    let host = |index| {
        format!(
            "  - name: h{index}\n    domains: [h{index}.test]\n    routes: [ {{ name: r, respond: {{ status: 200, body: {answer} }} }} ]\n"
        )
    };
    (from..to).map(host).collect()
}

/// Writes 40 hosts with a second after host 20, by `open`, and asks for the last one all the while.
fn written_with_a_pause(open: impl Fn(&Path) -> fs::File, closes: bool) {
    let head = config("virtual_hosts:\n");
    let gateway = followed(&(head.clone() + &hosts(0, 40, "old")));
    let mut file = fs::File::create(&gateway.config).unwrap();
    file.write_all((head + &hosts(0, 20, "new")).as_bytes()).unwrap();
    if closes {
        drop(file);
        file = open(&gateway.config);
    }
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_secs(1) {
        let response = get(gateway.web(), "h39.test", "/");
        assert_eq!((response.status, &*response.body), (200, "old"), "half a file is in force");
        thread::sleep(Duration::from_millis(20));
    }
    file.write_all(hosts(20, 40, "new").as_bytes()).unwrap();
    drop(file);
    eventually("the whole file", || {
        let response = get(gateway.web(), "h39.test", "/");
        assert_eq!(response.status, 200, "half a file is in force");
        (response.body == "new").then_some(())
    });
    assert_eq!(gateway.version(), 3);
}

/// A gateway that has seen an edit, so that it is known to follow the file.
fn followed(yaml: &str) -> Gateway {
    let gateway = Gateway::start(&respond("first"));
    gateway.replace(yaml);
    gateway
}

#[test]
fn a_file_is_not_read_before_its_writer_closed_it() {
    written_with_a_pause(|path| fs::File::options().append(true).open(path).unwrap(), false);
}

#[test]
fn a_file_that_lost_its_end_is_waited_for() {
    written_with_a_pause(|path| fs::File::options().append(true).open(path).unwrap(), true);
}

#[test]
fn a_file_that_stays_shorter_is_taken_as_it_is_and_that_is_told() {
    let head = config("virtual_hosts:\n");
    let gateway = followed(&(head.clone() + &hosts(0, 40, "old")));
    fs::write(&gateway.config, head + &hosts(0, 20, "old")).unwrap();
    gateway.logged("waiting for the rest of a file");
    eventually("the file as it is", || (gateway.version() == 3).then_some(()));
    gateway.logged("no more came");
    assert_eq!(get(gateway.web(), "h39.test", "/").status, 404);
}

#[test]
fn a_signal_reads_the_file_at_once_and_is_answered_in_the_log() {
    let gateway = Gateway::start(&respond("one"));
    gateway.signal("-HUP");
    gateway.logged("nothing changed");
    // Even while it is being written.
    let mut file = fs::File::create(&gateway.config).unwrap();
    file.write_all(respond("two").as_bytes()).unwrap();
    gateway.signal("-HUP");
    moves_to(&gateway, "two", Instant::now(), AT_ONCE);
    drop(file);
    // A refusal is told again.
    write_by_rename(&gateway.config, "listeners: [");
    gateway.logged("configuration refused");
    let refusals = || gateway.log().iter().filter(|line| line.contains("refused; the")).count();
    let before = refusals();
    gateway.signal("-HUP");
    eventually("another refusal", || (refusals() > before).then_some(()));
}

#[test]
fn a_named_pipe_among_the_files_holds_up_neither_edits_nor_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("conf.d");
    fs::create_dir(&parts).unwrap();
    let main = folder.path().join("sallyport.yaml");
    fs::write(&main, config("include: [\"conf.d/*.yaml\"]\n")).unwrap();
    fs::write(parts.join("a.yaml"), routes("one")).unwrap();
    let mut gateway = Gateway::start_in(folder, main);
    shell(&parts, "mkfifo pipe.yaml");
    let line = gateway.logged("pipe.yaml:1: is a named pipe");
    assert!(line.contains("included by"), "{line}");
    assert_eq!(answer(&gateway), "one");
    shell(&parts, "rm pipe.yaml");
    let edited = Instant::now();
    write_by_rename(&parts.join("a.yaml"), &routes("two"));
    moves_to(&gateway, "two", edited, AT_ONCE);
    shell(&parts, "mkfifo pipe.yaml");
    let told = |gateway: &Gateway| {
        gateway.log().iter().filter(|line| line.contains("pipe.yaml:1: is a named pipe")).count()
    };
    eventually("the pipe to be told again", || (told(&gateway) > 1).then_some(()));
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
}

#[test]
fn warnings_of_an_edit_are_logged() {
    let gateway = Gateway::start(&respond("one"));
    let spare = "upstreams: [ { name: spare, endpoints: [ { address: 127.0.0.1:1 } ] } ]\n";
    gateway.replace(&(respond("two") + spare));
    let line = gateway.logged("no route leads to upstream \"spare\"");
    assert!(line.contains("WARN"), "{line}");
}
