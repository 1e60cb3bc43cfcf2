use std::fs;
use std::path::PathBuf;

use super::*;

/// Writes files below a new folder.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let main = folder.path().join(files[0].0);
    (folder, main)
}

fn names(sources: &Sources) -> Vec<String> {
    let name = |file: &File| file.path.file_name().unwrap().to_string_lossy().into_owned();
    sources.files().iter().skip(1).map(name).collect()
}

#[test]
fn include_is_found_however_yaml_writes_it() {
    for text in [
        "include: [a.yaml]",
        "\u{feff}include: [a.yaml]",
        "  include: [a.yaml]\n  x: 1",
        "'include': [a.yaml]",
        "\"include\":\n  - a.yaml",
        "{ \"x\": 1,\n  \"include\": [\n    \"a.yaml\" ] }",
        "\t{\t\"include\":\t[\"a.yaml\"] }",
        "? include\n: - a.yaml",
        "\"\\x69nclude\": [a.yaml]",
        "{\"\\u0069nclude\": [\"a.yaml\"]}",
        "? \"inc\\\n  lude\"\n: [a.yaml]",
        "# a comment\n--- !!map\ninclude: [a.yaml]",
        "x: &k include\n*k : [a.yaml]",
    ] {
        let (_folder, main) = folder(&[("main.yaml", text), ("a.yaml", "y: 1")]);
        assert_eq!(names(&Sources::read(&main).unwrap()), ["a.yaml"], "{text}");
    }
    for text in
        ["x: { include: [a.yaml] }", "x: |\n  include: [a.yaml]", "# include: [a.yaml]\nx: 1"]
    {
        let (_folder, main) = folder(&[("main.yaml", text), ("a.yaml", "y: 1")]);
        assert_eq!(names(&Sources::read(&main).unwrap()), [""; 0], "{text}");
    }
}

#[test]
fn wildcards_do_not_match_dotfiles_and_folders_are_taken_literally() {
    let include = "include: [\"conf.d/*.yaml\", conf.d/b.yaml]";
    let files = [
        ("we[i]rd*?/main.yaml", include),
        ("we[i]rd*?/conf.d/b.yaml", ""),
        ("we[i]rd*?/conf.d/a.yaml", ""),
        ("we[i]rd*?/conf.d/._a.yaml", ""),
        ("we[i]rd*?/conf.d/.#a.yaml", ""),
        ("we[i]rd*?/conf.d/a.yaml~", ""),
        ("wei/conf.d/c.yaml", ""),
    ];
    let (_folder, main) = folder(&files);
    let sources = Sources::read(&main).unwrap();
    assert_eq!(names(&sources), ["a.yaml", "b.yaml"], "and no file twice");
    assert!(sources.problems().is_empty(), "{:?}", sources.problems());
}

#[test]
fn what_is_no_regular_file_is_told_by_name_and_not_waited_for() {
    let (folder, main) =
        folder(&[("main.yaml", "a: 1\ninclude:\n  - \"conf.d/*\"\n  - gone.yaml")]);
    let parts = folder.path().join("conf.d");
    fs::create_dir_all(parts.join("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, parts.join("pipe"), 0o600.into()).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(parts.join("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", parts.join("zero")).unwrap();
    std::os::unix::fs::symlink("pipe", parts.join("to-pipe")).unwrap();
    fs::write(folder.path().join("good"), "b: 1").unwrap();
    std::os::unix::fs::symlink("../good", parts.join("to-good")).unwrap();
    let mut watched = Watched::default();
    let sources = Sources::read_noting(&main, &mut watched).unwrap();
    assert_eq!(names(&sources), ["to-good"]);
    let said = Problems::of(sources.problems().to_vec()).to_string();
    let main = main.display();
    for (name, what, line) in [
        ("conf.d/folder", "is a directory", 3),
        ("conf.d/pipe", "is a named pipe", 3),
        ("conf.d/socket", "is a socket", 3),
        ("conf.d/zero", "is a device", 3),
        ("conf.d/to-pipe", "is a named pipe", 3),
        ("gone.yaml", "does not exist", 4),
    ] {
        let expected = format!(
            "{}:1: {what} (included by {main}:{line}), ",
            folder.path().join(name).display()
        );
        assert!(said.contains(&expected), "{said}\nlacks {expected}");
        assert!(watched.files.contains(&folder.path().join(name)), "{watched:?}");
    }
}

#[test]
fn the_line_that_is_not_utf8_is_the_problems_line() {
    let (folder, _) = folder(&[("main.yaml", "")]);
    let path = folder.path().join("latin1.yaml");
    fs::write(&path, b"a: 1\nb: 2\nc: caf\xe9\n").unwrap();
    let said = Sources::read(&path).unwrap_err().to_string();
    assert!(said.contains("latin1.yaml:3: is not UTF-8 (byte 7 of this line)"), "{said}");
}

#[test]
fn the_digest_knows_of_includes_that_are_missing() {
    let (folder, main) = folder(&[("main.yaml", "include: [a.yaml, b.yaml]"), ("a.yaml", "")]);
    let without = Sources::read(&main).unwrap().sha256().to_owned();
    fs::write(folder.path().join("b.yaml"), "").unwrap();
    assert_ne!(Sources::read(&main).unwrap().sha256(), without);
}
