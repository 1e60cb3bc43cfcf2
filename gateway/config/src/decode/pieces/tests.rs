//! What is decoded piece by piece is what is decoded as a whole, whatever the text.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pieces() -> Pieces {
    let mut pieces = Pieces { host_bytes_min: 0, ..Pieces::default() };
    pieces.begin(TEXT_BYTES_MIN);
    pieces
}

fn whole(text: &str) -> Option<Value> {
    decoded::<Spec>(text).map(|spec| json!(spec))
}

/// The text in pieces, which is checked to be the same as the text as a whole.
fn in_pieces(pieces: &mut Pieces, text: &str) -> Option<Value> {
    let spec = pieces.main(text).map(|spec| json!(spec))?;
    assert_eq!(Some(&spec), whole(text).as_ref(), "{text}");
    pieces.end();
    Some(spec)
}

const FILE: &str = r#"
listeners: [ { name: web, address: 127.0.0.1:80 } ]
upstreams:
  # One.
  - { name: a, endpoints: [ { address: 10.0.0.1:80 } ] }

  - name: b
    endpoints:
      - address: 10.0.0.2:80
      - address: 10.0.0.3:80
virtual_hosts:
- name: one
  domains: ["*"]
  routes:
    - name: here
      match: { path: { prefix: /here } }
      respond:
        status: 200
        body: |
          - not an item

          # no comment
    # A comment.
    - { name: there, match: { path: { regex: "/a?b&c" } },
        forward: { upstream: a } }
    - name: rest
      forward: { upstream: b }
- name: two
  domains: [two.example]
  routes: [ { name: all, forward: { upstream: a } } ]
limits: { routes: 10 }
"#;

#[test]
fn a_file_is_decoded_in_pieces_and_an_edit_decodes_its_piece() {
    let mut pieces = pieces();
    assert!(in_pieces(&mut pieces, FILE).is_some());
    // Two upstreams, two virtual hosts, and the three routes of one.
    assert_eq!(pieces.take_decoded(), 7);
    for (from, to, decoded) in [
        ("routes: 10", "routes: 11", 0),
        ("status: 200", "status: 201", 1),
        ("- not an item", "- an item, perhaps", 1),
        ("10.0.0.3", "10.0.0.4", 1),
        ("domains: [two.example]", "domains: [2.example]", 1),
        (
            "    - name: rest\n",
            "    - { name: new, forward: { upstream: a } }\n    - name: rest\n",
            1,
        ),
    ] {
        assert!(in_pieces(&mut pieces, &FILE.replace(from, to)).is_some(), "{to}");
        assert_eq!(pieces.take_decoded(), decoded, "{to}");
        // The way back needs no more: what was added goes with its piece.
        assert!(in_pieces(&mut pieces, FILE).is_some());
        assert!(pieces.take_decoded() <= decoded, "{to}");
    }
}

#[test]
fn what_is_not_as_it_should_be_is_left_to_be_decoded_as_a_whole() {
    let mut pieces = pieces();
    for (from, to) in [
        // Quotes, brackets and texts that go on over what looks like an item or a key.
        ("body: |\n", "body: \"\n"),
        ("/here } }", "\"/he\n    - name: re\" } }"),
        ("[ { address: 10.0.0.1:80 } ] }", "[ { address:\n  - { name: 10.0.0.1:80 } ] }"),
        ("listeners: [", "access_log: { format: \"\nupstreams:\n  - \" }\nlisteners: ["),
        // Anchors.
        ("address: 10.0.0.2:80", "address: &at 10.0.0.2:80"),
        ("10.0.0.3:80", "*at"),
        // Other documents, and other ends of lines.
        ("limits:", "---\nlimits:"),
        ("upstreams:\n", "upstreams:\r\n"),
        // Mistakes.
        ("status: 200", "status: two hundred"),
        ("- name: two", " - name: two"),
        ("limits:", "upstreams: []\nlimits:"),
        ("limits:", "limit:"),
        ("upstreams:", "- upstreams:"),
    ] {
        let text = FILE.replacen(from, to, 1);
        assert_ne!(text, FILE, "{from}");
        assert!(in_pieces(&mut pieces, &text).is_none(), "{text}");
    }
    let mark = FILE.replace("name: one", &format!("name: {MARK}"));
    assert!(in_pieces(&mut pieces, &mark).is_none());
}

#[test]
fn small_files_are_decoded_as_a_whole_and_included_ones_in_pieces_too() {
    let mut unused = Pieces::default();
    unused.begin(FILE.len());
    assert!(unused.main(FILE).is_none());
    let lists = FILE.replace("listeners: [ { name: web, address: 127.0.0.1:80 } ]", "");
    let lists = lists.replace("limits: { routes: 10 }", "");
    let included = pieces().included(&lists).unwrap();
    assert_eq!((included.upstreams.len(), included.virtual_hosts[0].routes.len()), (2, 3));
}

/// Lines that are good, or odd, together.
fn line() -> impl Strategy<Value = String> {
    let content = prop::sample::select(vec![
        "upstreams:",
        "virtual_hosts:",
        "routes:",
        "- name: a",
        "- name: b",
        "name: c",
        "-",
        "- ",
        "domains: [\"*\"]",
        "- { name: r, respond: { status: 200 } }",
        "respond: { status: 200 }",
        "respond: { status: 200, body: \"x",
        "y\" }",
        "- { name: \"q",
        "w\" }",
        "# comment",
        "",
        "respond:",
        "status: 200",
        "body: |",
        "body: >-",
        "text",
        "- text",
        "endpoints:",
        "'",
        "\"",
        "- address: 10.0.0.1:80",
        "endpoints: [ { address: 10.0.0.1:80 } ]",
        "{",
        "}",
        "]",
        "routes: [",
        "- name: &x d",
        "name: *x",
        "listeners: [ { name: w, address: 127.0.0.1:1 } ]",
        "\t- name: e",
    ]);
    (0..5_usize, content).prop_map(|(depth, content)| format!("{}{content}\n", "  ".repeat(depth)))
}

/// A good file, some lines of which are replaced, removed or added.
fn edited() -> impl Strategy<Value = String> {
    let edit = (0..40_usize, 0..3_u8, line());
    prop::collection::vec(edit, 0..4).prop_map(|edits| {
        let mut lines: Vec<String> = FILE.lines().map(|line| format!("{line}\n")).collect();
        for (at, what, line) in edits {
            let at = at % lines.len();
            match what {
                0 => lines[at] = line,
                1 => lines.insert(at, line),
                _ => drop(lines.remove(at)),
            }
        }
        lines.concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// With pieces that come from other texts.
    #[test]
    fn pieces_say_what_the_whole_says(texts in prop::collection::vec(edited(), 1..4)) {
        let mut pieces = pieces();
        for text in &texts {
            in_pieces(&mut pieces, text);
        }
    }

    #[test]
    fn lines_in_any_order_say_what_they_say(lines in prop::collection::vec(line(), 0..24)) {
        in_pieces(&mut pieces(), &lines.concat());
    }
}
