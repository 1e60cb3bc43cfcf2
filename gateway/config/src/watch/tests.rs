use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_file_is_looked_at_when_its_writer_has_closed_it() {
    let start = Instant::now();
    let path = || PathBuf::from("/a");
    let mut settling = Settling::default();
    settling.begin(start);
    settling.take(Wake::Written(path()), start);
    settling.take(Wake::Written(path()), start + ms(2_000));
    assert!(settling.due() >= start + ms(4_000), "a writer may pause for two seconds");
    settling.take(Wake::Changed("/b".into()), start + ms(2_100));
    assert!(settling.due() >= start + ms(4_000), "another file is no reason");
    settling.take(Wake::Closed(path()), start + ms(2_500));
    let due = settling.due();
    assert!(due > start + ms(2_500) && due < start + ms(2_600), "at once when it is closed");
    assert!(settling.give_up().is_empty());
}

#[test]
fn a_rename_is_looked_at_at_once_and_so_is_what_somebody_asks_for() {
    let start = Instant::now();
    let mut settling = Settling::default();
    settling.begin(start);
    settling.take(Wake::Changed("/a".into()), start);
    assert!(settling.due() <= start + ms(20));
    // Steps that never cease are not waited out.
    for step in 1..1_000 {
        settling.take(Wake::Changed("/a".into()), start + ms(step));
    }
    assert!(settling.due() <= start + ms(200));
    settling.begin(start);
    settling.take(Wake::Written("/a".into()), start);
    settling.take(Wake::Asked, start);
    assert_eq!(settling.due(), start);
    assert!(settling.is_asked() && settling.give_up().is_empty());
}

#[test]
fn a_file_that_is_written_without_end_is_told_once_and_read_as_it_is() {
    let start = Instant::now();
    let mut settling = Settling::default();
    settling.begin(start);
    for second in 0..100 {
        settling.take(Wake::Written("/a".into()), start + ms(second * 1_000));
    }
    assert_eq!(settling.due(), start + ms(30_000));
    assert_eq!(settling.give_up(), [Path::new("/a")]);
    let later = start + ms(101_000);
    settling.begin(later);
    settling.take(Wake::Written("/a".into()), later);
    assert!(settling.due() < later + ms(200) && settling.give_up().is_empty());
    settling.take(Wake::Closed("/a".into()), later);
    settling.take(Wake::Written("/a".into()), later);
    assert!(settling.due() > later + ms(1_000), "closed, it is a file like any other");
}

#[test]
fn a_file_that_lost_its_end_in_place_is_waited_for() {
    let hosts = |names: std::ops::Range<u32>| {
        names.map(|index| format!("- name: h{index}\n  domains: [h{index}]\n")).collect::<String>()
    };
    let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
    let path = folder.path().join("a.yaml");
    for (before, after, is_lost) in [
        (hosts(0..40), hosts(0..20), true),
        (hosts(0..40), hosts(0..20) + "- name: h", true),
        (hosts(0..40), String::new(), true),
        (hosts(0..40), hosts(0..40).trim_end().to_owned(), true),
        (hosts(0..40), hosts(0..60), false),
        // Taken out of the middle.
        (hosts(0..40), hosts(0..5) + &hosts(10..40), false),
        (hosts(0..40), hosts(1..41), false),
        ("a: [one]\n".into(), "a: [1]\n".into(), false),
        ("a: 1".into(), "a: 2".into(), false),
        (String::new(), "a: 2".into(), false),
    ] {
        let mut endings = Endings::default();
        fs::write(&path, &before).unwrap();
        endings.remember(&Sources::read(&path).unwrap());
        fs::write(&path, &after).unwrap();
        let sources = Sources::read(&path).unwrap();
        let wait = endings.wait_for(&sources, now);
        assert_eq!(wait.is_some(), is_lost, "{before:?} and then {after:?}");
        // Not for ever.
        assert_eq!(endings.wait_for(&sources, now + ms(10_000)), None);
        // A file renamed into place is whole.
        endings = Endings::default();
        fs::write(&path, &before).unwrap();
        endings.remember(&Sources::read(&path).unwrap());
        fs::write(path.with_extension("new"), &after).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert_eq!(endings.wait_for(&Sources::read(&path).unwrap(), now), None);
    }
}

/// What a watching thread hands over: the text of all files, or what is wrong.
struct Follower {
    seen: Receiver<String>,
    waker: Waker,
}

impl Follower {
    fn new(main: &Path) -> Self {
        let (send, seen) = channel();
        let waker = spawn(main.to_path_buf(), move |attempt| {
            let text = match attempt.sources {
                Ok(sources) => sources.files().iter().map(|file| &*file.text).collect(),
                Err(problems) => problems.to_string(),
            };
            send.send(text).ok();
            Followed::default()
        });
        Self { seen, waker: waker.unwrap() }
    }

    /// Waits until a text with `part` is handed over.
    fn sees(&self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.seen.recv_timeout(left) {
                Ok(text) if text.contains(part) => return,
                Ok(_) => {}
                Err(_) => panic!("{part:?} was not seen"),
            }
        }
    }
}

fn shell(folder: &Path, command: &str) {
    let status = Command::new("sh").arg("-ec").arg(command).current_dir(folder).status().unwrap();
    assert!(status.success(), "{command}");
}

#[test]
fn a_path_is_followed_through_every_link_and_every_folder_that_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    shell(root, "mkdir -p a/b/v1/conf.d a/b/v2; echo one > a/b/v1/main; ln -s v1 a/b/current");
    shell(root, "ln -s a/b way; ln -s ../../way/current/main a/b/entry");
    let followed = Follower::new(&root.join("way/entry"));
    followed.sees("one");
    for (command, expected) in [
        // In place, and by a rename.
        ("echo two > a/b/v1/main", "two"),
        ("echo three > a/b/v1/new; mv a/b/v1/new a/b/v1/main", "three"),
        // As git-sync does.
        ("echo four > a/b/v2/main; ln -s v2 a/b/next; mv -T a/b/next a/b/current", "four"),
        ("echo five > a/b/v2/main", "five"),
        // A folder is moved away and another one takes its place.
        ("mv a/b/v2 a/b/old; mkdir a/b/v2; echo six > a/b/v2/main", "six"),
        ("echo seven > a/b/v2/main", "seven"),
        // All of it is removed and made anew.
        ("cp -a a c; rm -rf a; sleep 0.1; mv c a; echo eight > a/b/v2/main", "eight"),
        ("echo nine > a/b/v2/main", "nine"),
        // Moved away and back, and away and in.
        ("mv a d; sleep 0.1; mv d a; sleep 0.1; echo ten > a/b/v2/main", "ten"),
        ("cp -a a e; echo eleven > e/b/v2/main; mv a f; mv e a", "eleven"),
        ("echo twelve > a/b/v2/main", "twelve"),
        // A link on the way leads elsewhere.
        (
            "mkdir -p g/current; echo thirteen > g/current/main; ln -s current/main g/entry; \
             ln -s g way2; mv -T way2 way",
            "thirteen",
        ),
        ("echo fourteen > g/current/main", "fourteen"),
    ] {
        shell(root, command);
        followed.sees(expected);
    }
    drop(fs::remove_dir_all(root.join("g")));
    followed.sees("does not exist");
    assert!(followed.waker.ask());
    shell(root, "mkdir -p g/current; ln -s current/main g/entry; echo back > g/current/main");
    followed.sees("back");
}

#[test]
fn patterns_are_followed_into_folders_that_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let include = "include: [\"conf.d/*.yaml\", \"sites/*/site.yaml\", \"deep/**/x.yaml\"]\n";
    fs::write(root.join("main.yaml"), include).unwrap();
    let followed = Follower::new(&root.join("main.yaml"));
    followed.sees("include");
    for (command, expected) in [
        ("mkdir conf.d; echo '# one' > conf.d/a.yaml", "# one"),
        ("mv conf.d away; mkdir conf.d; echo '# two' > conf.d/a.yaml", "# two"),
        ("rm -rf conf.d; mkdir conf.d; echo '# three' > conf.d/b.yaml", "# three"),
        ("mkdir -p sites/x; echo '# four' > sites/x/site.yaml", "# four"),
        ("mkdir -p other/y; echo '# five' > other/y/site.yaml; ln -s ../other/y sites/y", "# five"),
        ("echo '# six' > other/y/site.yaml", "# six"),
        ("mkdir -p deep/a/b; echo '# seven' > deep/a/b/x.yaml", "# seven"),
        ("echo '# eight' > deep/a/b/x.yaml", "# eight"),
    ] {
        shell(root, command);
        followed.sees(expected);
    }
}

#[test]
fn what_others_do_in_the_same_folder_is_no_reason_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir(root.join("conf.d")).unwrap();
    symlink("real", root.join("main")).unwrap();
    fs::write(root.join("real"), "").unwrap();
    let watched = Watched {
        files: vec![root.join("main")],
        patterns: vec![(root.clone(), "conf.d/*.yaml".into())],
    };
    let interest = Interest::of(&watched, &[root.join("users")]);
    let reasons = |name: &str, kind| {
        interest.reasons(Ok(Event::new(kind).add_path(root.join(name)))).into_iter().next()
    };
    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, ModifyKind};
    use notify::{EventKind, event::RemoveKind};
    let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    for name in ["main", "real", "users", "conf.d/a.yaml"] {
        assert_eq!(reasons(name, written), Some(Wake::Written(root.join(name))), "{name}");
        assert_eq!(reasons(name, closed), Some(Wake::Closed(root.join(name))), "{name}");
    }
    for name in ["access.log", "conf.d/.a.yaml.swp", "conf.d/.#a.yaml", "conf.d/a.yaml~", "x/main"]
    {
        assert_eq!(reasons(name, written), None, "{name}");
    }
    assert_eq!(reasons("main", EventKind::Access(AccessKind::Read)), None);
    assert_eq!(reasons("conf.d", EventKind::Remove(RemoveKind::Folder)), Some(Wake::Folder));
    // A link that is made is whole; a file is when it is closed.
    let created = EventKind::Create(CreateKind::File);
    assert_eq!(reasons("main", created), Some(Wake::Changed(root.join("main"))));
    assert_eq!(reasons("real", created), Some(Wake::Written(root.join("real"))));
}
