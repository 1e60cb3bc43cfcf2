//! Which files a configuration has, and what `check` takes and prints.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use super::text;
use crate::support::{config, sallyport};

fn check_all(arguments: &[&Path]) -> Output {
    sallyport().arg("check").args(arguments).output().unwrap()
}

const PART: &str = "virtual_hosts:\n  - { name: part, domains: [part], routes: [] }\n";

#[test]
fn include_is_read_however_it_is_written_and_wherever_it_stands() {
    let main = config("include: [\"conf.d/*.yaml\"]\n");
    let json = "{\n  \"listeners\": [ { \"name\": \"web\", \"address\": \"127.0.0.1:0\" } ],\n  \"include\": [ \"conf.d/*.yaml\" ]\n}\n";
    for (folder, main) in [
        ("plain", main.clone()),
        ("quoted", main.replace("include:", "'include':")),
        ("byte-order-mark", format!("\u{feff}{main}")),
        (
            "include-first-behind-a-mark",
            format!("\u{feff}include: [conf.d/a.yaml]\n{}", config("")),
        ),
        ("indented", main.lines().map(|line| format!("   {line}\n")).collect()),
        ("json", json.to_owned()),
        ("we[i]rd {a,b} *?", main.clone()),
    ] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(folder);
        fs::create_dir_all(folder.join("conf.d")).unwrap();
        fs::write(folder.join("conf.d/a.yaml"), PART).unwrap();
        fs::write(folder.join("sallyport.yaml"), main).unwrap();
        let output = check_all(&[&folder.join("sallyport.yaml")]);
        let said = text(&output);
        assert!(output.status.success(), "{}: {said}", folder.display());
        assert!(said.contains("1 virtual hosts") && said.contains("in 2 files"), "{said}");
    }
}

#[test]
fn editors_leftovers_are_not_included_and_an_empty_file_is_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("conf.d");
    fs::create_dir(&parts).unwrap();
    let main = folder.path().join("sallyport.yaml");
    fs::write(&main, config("include: [\"conf.d/*\"]\n")).unwrap();
    fs::write(parts.join("a.yaml"), PART).unwrap();
    fs::write(parts.join("._a.yaml"), b"\0\x05\x16\x07").unwrap();
    std::os::unix::fs::symlink("ann@host.1234:5", parts.join(".#a.yaml")).unwrap();
    fs::write(parts.join("b.yaml"), "").unwrap();
    fs::write(parts.join("c.yaml"), "# nothing yet\n").unwrap();
    for strict in [false, true] {
        let mut command = sallyport();
        command.arg("check").args(strict.then_some("--strict")).arg(&main);
        let output = command.output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        for name in ["b.yaml", "c.yaml"] {
            assert!(said.contains(&format!("{name}:1: note: is empty")), "{said}");
        }
        assert!(said.contains("1 virtual hosts"), "{said}");
    }
}

#[test]
fn a_missing_include_is_told_with_its_includer_and_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("sallyport.yaml");
    let yaml = config("include: [gone.yaml, pipe.yaml]\nupstreamz: []\n");
    fs::write(&main, yaml).unwrap();
    let pipe = folder.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let output = check_all(&[&main]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(78));
    let by = format!("(included by {}:4)", main.display());
    for expected in [
        format!("gone.yaml:1: does not exist {by}"),
        format!("pipe.yaml:1: is a named pipe {by}"),
        "sallyport.yaml:5: upstreamz: unknown key".to_owned(),
    ] {
        assert!(said.contains(&expected), "{said}\nlacks {expected}");
    }
}

#[test]
fn what_is_no_regular_file_is_a_problem_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for (path, what) in
        [(pipe.as_path(), "is a named pipe"), (Path::new("/dev/zero"), "is a device")]
    {
        let output = check_all(&[path]);
        assert_eq!(output.status.code(), Some(78), "{}", text(&output));
        assert!(text(&output).contains(what), "{}", text(&output));
    }
    // The files of filters alike.
    let main = folder.path().join("sallyport.yaml");
    let users = "filters: [ { basic_auth: { file: pipe.yaml, realm: r } } ]";
    let yaml = format!("virtual_hosts: [ {{ name: a, domains: [a], routes: [], {users} }} ]\n");
    fs::write(&main, config(&yaml)).unwrap();
    let output = check_all(&[&main]);
    assert!(
        text(&output).contains("pipe.yaml cannot be read (it is a named pipe)"),
        "{}",
        text(&output)
    );
}

#[test]
fn check_takes_several_files_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.yaml"), folder.path().join("bad.yaml"));
    fs::write(&good, config("")).unwrap();
    fs::write(&bad, config("upstreamz: []\n")).unwrap();
    let output = check_all(&[&good, &bad, &good]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert_eq!(said.matches("good.yaml: ok: ").count(), 2, "{said}");
    assert!(said.contains("bad.yaml:4: upstreamz: unknown key"), "{said}");

    for (yaml, code, expected) in [
        (config(""), 0, "<stdin>: ok: 1 listeners"),
        (config("upstreamz: []\n"), 78, "<stdin>:4: upstreamz: unknown key"),
    ] {
        let mut command = sallyport();
        command.args(["check", "-"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(expected), "{}", text(&output));
    }
}

#[test]
fn check_prints_json_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, config("verdicts: { exempt: [10.0.0.1/8], rules: [] }\nupstreamz: []\n"))
        .unwrap();
    let mut command = sallyport();
    let output = command.args(["check", "--format", "json"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["files"][0]["ok"]), (&false.into(), &false.into()));
    let problems = report["files"][0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{report}");
    for (index, severity, line, path) in
        [(0, "warning", 4, "verdicts.exempt[0]"), (1, "error", 5, "upstreamz")]
    {
        let problem = &problems[index];
        assert_eq!(problem["file"], file.display().to_string());
        let found = (&problem["severity"], &problem["line"], &problem["path"]);
        assert_eq!(found, (&severity.into(), &line.into(), &path.into()), "{report}");
        assert!(problem["what"].is_string() && problem["fix"].is_string(), "{report}");
    }
    fs::write(&file, config("")).unwrap();
    let mut command = sallyport();
    let output = command.args(["check", "--format", "json"]).arg(&file).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && report["ok"] == true, "{report}");
    assert_eq!(report["files"][0]["counts"]["listeners"], 1, "{report}");
}
