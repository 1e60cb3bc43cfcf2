//! The process's log: lines for people, or JSON for programs, and no text of Rust's own in either.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::{
    Gateway, config, eventually, forward_all, get, request, sallyport, tool, write_by_rename,
};

#[test]
fn json_lines_have_stable_fields() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.yaml");
    fs::write(&file, config("")).unwrap();
    for variable in ["json", "json,info"] {
        let mut command = sallyport();
        command.env("SALLYPORT_LOG", variable).args(["run", "--threads", "1", "--config"]);
        let mut child = command.arg(&file).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        drop((child.kill(), child.wait()));
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(
            line.starts_with("{\"time\":\"") && line.contains("\",\"level\":\"info\",\"message\":")
        );
        assert_eq!(entry["message"], "listening", "{line}");
        for field in ["time", "level", "name", "address"] {
            assert!(entry[field].is_string(), "{line}");
        }
    }
}

#[test]
fn the_first_line_on_a_terminal_is_the_gateways_own() {
    if !tool("script") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.yaml");
    fs::write(&file, config("")).unwrap();
    let binary = sallyport().get_program().to_owned();
    let run = format!(
        "timeout 20 {} run --threads 1 --config {} & p=$!; sleep 0.1; \
         while ! grep -qs listening {log}; do sleep 0.05; done; kill $p; wait $p",
        binary.display(),
        file.display(),
        log = folder.path().join("log").display(),
    );
    let status = Command::new("script")
        .args(["-qfec", &run])
        .arg(folder.path().join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("listening"), "{status}: {log}");
    assert!(!log.contains("crate feature"), "{log}");
}

#[test]
fn errors_are_told_in_words() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&forward_all(&[nobody]));
    assert_eq!(get(gateway.web(), "a", "/").status, 502);
    let line = gateway.logged("request failed");
    assert!(line.contains("Connection refused"), "{line}");
    for debug in ["ConnectRefused", "cause:", "context:", "None", "Some(", "Upstream "] {
        assert!(!line.contains(debug), "{line} has {debug:?}");
    }
}

#[test]
fn a_filter_of_the_log_that_cannot_be_read_is_told() {
    let gateway = Gateway::start_logging(&config(""), "info,=,!");
    gateway.logged("SALLYPORT_LOG is not a filter");
}

#[test]
fn answers_in_json_end_with_a_newline_and_show_limits_as_the_file_has_them() {
    let gateway = Gateway::start(&config(""));
    for path in ["/config", "/routes", "/upstreams", "/verdicts", "/explain?host=a&path=/"] {
        let body = get(gateway.admin(), "localhost", path).body;
        assert!(body.ends_with("}\n") || body.ends_with("]\n"), "{path}: {body:?}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }
    let body = get(gateway.admin(), "localhost", "/config").body;
    assert!(!body.contains("18446744073709551615"), "{body}");
    assert_eq!(gateway.config_view()["limits"]["request_body_bytes"], "unlimited");
}

#[test]
fn a_refused_edit_is_told_problem_by_problem_in_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.yaml");
    fs::write(&file, config("")).unwrap();
    let mut command = sallyport();
    command.env("SALLYPORT_LOG", "json").args(["run", "--threads", "1", "--config"]);
    let mut child = command.arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = |message: &str| loop {
        let line = lines.next().unwrap().unwrap();
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        if entry["message"].as_str().unwrap().contains(message) {
            return entry;
        }
    };
    next("listening");
    write_by_rename(&file, &config("upstreamz: []\n"));
    assert_eq!(next("unknown key `upstreamz`")["level"], "error");
    assert_eq!(next("configuration refused")["problems"], 1);
    drop((child.kill(), child.wait()));
}

/// An access log to a named pipe that nobody reads.
#[test]
fn a_log_that_nobody_reads_holds_up_neither_start_nor_reload_nor_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let main = folder.path().join("sallyport.yaml");
    let yaml = |answer: &str, pipe: &str| {
        config(&format!(
            "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    filters: [ {{ access_log: {{ to: {{ file: {pipe} }}, format: {{ template: \"${{path}}\" }} }} }} ]\n    routes: [ {{ name: r, respond: {{ status: 200, body: {answer} }} }} ]\n"
        ))
    };
    fs::write(&main, yaml("one", "access.pipe")).unwrap();
    let mut gateway = Gateway::start_in(folder, main);
    assert_eq!(get(gateway.web(), "a", "/lost").body, "one");
    gateway.logged("no process reads the named pipe");
    gateway.replace(&yaml("two", "access.pipe"));
    assert_eq!(get(gateway.web(), "a", "/lost").body, "two");
    // Who comes to read it finds what is logged from then on.
    let reader = BufReader::new(fs::File::options().read(true).write(true).open(&pipe).unwrap());
    eventually("a line in the pipe", || {
        request(gateway.web(), "GET /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let written = "sallyport_access_log_written_total{filter=\"access_log\"}";
        gateway.metric(written).filter(|written| *written > 0.0)
    });
    // Those that were queued before may come first; what is not to be had is a line in pieces.
    let mut lines = reader.lines().map_while(Result::ok);
    let line = lines.find(|line| line != "/lost");
    assert_eq!(line.as_deref(), Some("/read"));
    drop(lines);
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
}

#[test]
fn the_file_says_how_the_process_logs_and_the_environment_overrules_it() {
    let gateway = Gateway::start(&config(""));
    let view = |gateway: &Gateway| get(gateway.admin(), "localhost", "/log").body;
    gateway.replace(&config("log: { format: json, level: \"warn,sallyport=info\" }\n"));
    assert_eq!(view(&gateway), "{\"level\":\"warn,sallyport=info\",\"format\":\"json\"}\n");
    let line = gateway.logged("configuration in force");
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&entry["level"], &entry["version"]), (&"info".into(), &2.into()));
    gateway.replace(&config("log: { format: text }\n"));
    assert_eq!(view(&gateway), "{\"level\":\"info\",\"format\":\"text\"}\n");
    gateway.logged(" INFO configuration in force version=3");
    let gateway =
        Gateway::start_logging(&config("log: { format: json, level: off }\n"), "text,debug");
    gateway.logged(" INFO listening name=admin");
    assert_eq!(view(&gateway), "{\"level\":\"debug\",\"format\":\"text\"}\n");
    for (log, said) in [
        ("{ format: xml }", "log.format: \"xml\": is no format, write text or json"),
        ("{ level: loud }", "log.level: \"loud\": is no level"),
        ("{ levle: info }", "did you mean `level`?"),
    ] {
        let output = crate::support::check(&config(&format!("log: {log}\n")));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && told.contains(said), "{told}\nlacks {said}");
    }
}

#[test]
fn one_key_logs_the_requests_of_all_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let file = folder.path().join("sallyport.yaml");
    let yaml = |more: &str| {
        let listeners = "listeners:\n  - { name: web, address: 127.0.0.1:0 }\n  \
             - { name: quiet, address: 127.0.0.1:0, filters: [ { access_log: off } ] }\n  \
             - { name: own, address: 127.0.0.1:0, filters: [ { access_log: { to: { file: access.log }, format: { template: \"own ${path}\" } } } ] }\n";
        let rest = format!(
            "admin: {{ address: 127.0.0.1:0 }}\n{more}virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    \
             routes:\n      - {{ name: silent, match: {{ path: {{ prefix: /silent }} }}, filters: [ {{ access_log: off }} ], respond: {{ status: 204 }} }}\n      \
             - {{ name: r, respond: {{ status: 200 }} }}\n"
        );
        format!("{listeners}{rest}")
    };
    fs::write(&file, yaml("access_log: { format: json, to: { file: access.log } }\n")).unwrap();
    let gateway = Gateway::start_in(folder, file);
    for (listener, path) in [
        ("web", "/one"),
        ("quiet", "/two"),
        ("own", "/three"),
        ("web", "/silent"),
        ("web", "/four"),
    ] {
        assert!(get(gateway.address(listener), "a", path).status < 300);
    }
    let lines = eventually("three lines", || {
        let text = fs::read_to_string(&log).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= 3).then_some(lines)
    });
    let entry = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let own = lines.iter().filter(|line| *line == "own /three").count();
    let json: Vec<_> =
        lines.iter().filter(|line| line.starts_with('{')).map(|it| entry(it)).collect();
    let paths: Vec<_> = json.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!((own, paths), (1, vec!["/one", "/four"]));
    assert_eq!(json[0]["status"], 200);
}
