//! What an edit costs is what the edit changes, and what it takes away is given back.

use crate::support::{Gateway, config, eventually, get};

/// Routes with a regex each, and one without.
fn patterned(patterns: &[&str], body: &str) -> String {
    let mut yaml = config("virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n");
    for (index, pattern) in patterns.iter().enumerate() {
        yaml += &format!(
            "      - name: r{index}\n        match:\n          path: {{ regex: \"/{pattern}/[0-9]+\" }}\n          headers: [ {{ name: accept, regex: \"{pattern}.*\" }} ]\n        respond: {{ status: 200, body: {pattern} }}\n"
        );
    }
    yaml + &format!("      - {{ name: rest, respond: {{ status: 200, body: {body} }} }}\n")
}

#[test]
fn a_regex_that_stays_is_not_compiled_again() {
    let first = patterned(&["a", "b", "c"], "one");
    let gateway = Gateway::start(&first);
    gateway.replace(&patterned(&["a", "b", "c"], "two"));
    gateway.logged("regexes_compiled=0");
    // Moved ones too; the path and the header of one are new.
    gateway.replace(&patterned(&["d", "c", "a", "b"], "two"));
    gateway.logged("regexes_compiled=2");
    let asked = |pattern: &str| {
        let request = format!("GET /{pattern}/7 HTTP/1.1\r\nHost: a\r\nAccept: {pattern}1\r\n\r\n");
        let mut client = crate::support::Client::connect(gateway.web());
        client.send(&request);
        client.receive().body
    };
    assert_eq!(["a", "b", "c", "d", "e"].map(asked), ["a", "b", "c", "d", "two"]);
}

/// Two thousand routes of one virtual host, and some more of another; each with what it answers.
fn large(answers: &[&str]) -> String {
    let mut yaml = config("virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n");
    for index in 0..2_000 {
        let answer = answers.get(index).unwrap_or(&"same");
        yaml += &format!(
            "      - name: r{index}\n        match: {{ path: {{ prefix: /r{index} }} }}\n        respond: {{ status: 200, body: {answer} }}\n"
        );
    }
    yaml + "  - name: other\n    domains: [other]\n    routes: [ { name: r, respond: { status: 200, body: other } } ]\n"
}

#[test]
fn an_edit_of_a_large_file_decodes_what_it_changes() {
    let gateway = Gateway::start(&large(&[]));
    let answers = || ["/r0", "/r1", "/r1999"].map(|path| get(gateway.web(), "a", path).body);
    assert_eq!(answers(), ["same", "same", "same"]);
    gateway.replace(&large(&["one"]));
    assert_eq!(gateway.logged("version=2").split("pieces_decoded=").nth(1).map(first), Some("1"));
    gateway.replace(&large(&["two"]));
    assert_eq!(gateway.logged("version=3").split("pieces_decoded=").nth(1).map(first), Some("1"));
    assert_eq!(answers(), ["two", "same", "same"]);
    gateway.replace(&large(&["two", "three"]).replace("[other]", "[others]"));
    assert_eq!(gateway.logged("version=4").split("pieces_decoded=").nth(1).map(first), Some("2"));
    assert_eq!(answers(), ["two", "three", "same"]);
    assert_eq!(get(gateway.web(), "others", "/").body, "other");

    // What is wrong in a piece is told with its line, and mended by an edit of it.
    gateway.replace(&large(&["four"]));
    crate::support::write_by_rename(&gateway.config, &large(&["five", "{}"]));
    gateway.logged("virtual_hosts[0].routes[1].respond.body");
    assert_eq!(answers(), ["four", "same", "same"]);
    gateway.replace(&large(&["six", "seven"]));
    assert_eq!(answers(), ["six", "seven", "same"]);
}

fn first(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Ten routes, one of which has this name.
fn renamed(name: &str) -> String {
    let mut yaml = config("virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n");
    for index in 0..9 {
        yaml += &format!(
            "      - {{ name: r{index}, match: {{ path: {{ exact: /r{index} }} }}, respond: {{ status: 200 }} }}\n"
        );
    }
    yaml + &format!("      - {{ name: {name}, respond: {{ status: 200, body: {name} }} }}\n")
}

/// Edits that rename a route; `SALLYPORT_TEST_RENAMES` asks for more.
fn renames() -> usize {
    let asked = std::env::var("SALLYPORT_TEST_RENAMES");
    asked.ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[test]
fn edits_that_rename_a_route_leave_neither_series_nor_memory() {
    const WARM: usize = 60;
    /// What an allocator keeps for later is no leak; 10,000 names with their counters are 40 MiB.
    const SLACK_KIB: u64 = 12 << 10;
    let gateway = Gateway::start(&renamed("n0"));
    let mut warm_kib = 0;
    for edit in 1..=renames() {
        let name = format!("n{edit}");
        gateway.replace(&renamed(&name));
        assert_eq!(get(gateway.web(), "a", "/elsewhere").body, name);
        if edit == WARM {
            warm_kib = gateway.resident_kib();
        }
    }
    let now_kib = gateway.resident_kib();
    assert!(now_kib < warm_kib + SLACK_KIB, "from {warm_kib} KiB to {now_kib} KiB");
    let last = format!("route=\"n{}\"", renames());
    eventually("the series of the last name alone", || {
        let page = get(gateway.admin(), "localhost", "/metrics").body;
        let requests =
            page.lines().filter(|line| line.starts_with("sallyport_route_requests_total"));
        let mut renamed = requests.filter(|line| line.contains("route=\"n")).peekable();
        renamed.peek().is_some().then_some(())?;
        renamed
            .filter(|line| !line.contains("route=\"none\""))
            .all(|line| line.contains(&last))
            .then_some(())
    });
}
