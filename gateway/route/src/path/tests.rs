use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

fn assert_normal(cases: &[(&str, &str)]) {
    for (path, expected) in cases {
        assert_eq!(normalise_path(path.as_bytes()).as_deref(), Ok(*expected), "{path}");
    }
}

fn assert_refused(cases: &[(&str, PathError)]) {
    for (path, expected) in cases {
        assert_eq!(normalise_path(path.as_bytes()), Err(*expected), "{path}");
    }
}

#[test]
fn normal_paths_are_borrowed() {
    let paths = [
        "/",
        "//",
        "/a//b/",
        "/a.b/c..d/e.",
        "/.well-known/acme",
        "/...",
        "/a%2Fb",
        "/~user/a-b_c",
        "/a!$&'()*+,;=:@",
        "/a;b=c",
    ];
    for path in paths {
        let normal = normalise_path(path.as_bytes());
        assert_eq!(normal.as_deref(), Ok(path));
        assert!(matches!(normal, Ok(Cow::Borrowed(_))), "{path}");
    }
}

#[test]
fn rfc3986_6_2_2_1_escapes_are_upper_case() {
    assert_normal(&[("/a%2fb%c3%A9", "/a%2Fb%C3%A9"), ("/%3a", "/%3A")]);
}

#[test]
fn rfc3986_6_2_2_2_unreserved_escapes_are_decoded() {
    assert_normal(&[
        ("/%61%5A%30%2d%2E%5f%7e", "/aZ0-._~"),
        ("/%21%24%3B%40%25", "/%21%24%3B%40%25"),
        ("/%2561", "/%2561"),
    ]);
}

#[test]
fn rfc3986_3_3_what_may_not_stand_is_escaped() {
    assert_normal(&[("/é", "/%C3%A9"), ("/\"<>[]^`{|}", "/%22%3C%3E%5B%5D%5E%60%7B%7C%7D")]);
    assert_eq!(normalise_path(b"/\xff\x80").as_deref(), Ok("/%FF%80"));
}

#[test]
fn rfc3986_5_2_4_dot_segments_are_removed() {
    assert_normal(&[
        ("/a/b/c/./../../g", "/a/g"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/../", "/"),
        ("/a/b/..", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a//../b", "/a/b"),
        ("//..", "/"),
        ("/a/..b/c", "/a/..b/c"),
    ]);
}

#[test]
fn encoded_dots_count_as_dots() {
    assert_normal(&[("/a/%2e%2E/b", "/b"), ("/a/.%2e/b", "/b"), ("/%2e/b", "/b")]);
    assert_refused(&[("/%2e%2e", PathError::AboveRoot)]);
}

#[test]
fn climbing_above_the_root_is_refused() {
    assert_refused(&[
        ("/..", PathError::AboveRoot),
        ("/../a", PathError::AboveRoot),
        ("/a/../..", PathError::AboveRoot),
        ("/./..", PathError::AboveRoot),
    ]);
}

#[test]
fn malformed_paths_are_refused() {
    assert_refused(&[
        ("", PathError::Relative),
        ("a", PathError::Relative),
        ("*", PathError::Relative),
        ("http://a/", PathError::Relative),
        ("/%", PathError::Escape),
        ("/%4", PathError::Escape),
        ("/%4/", PathError::Escape),
        ("/%zz", PathError::Escape),
        ("/%+1", PathError::Escape),
        ("/%u002e", PathError::Escape),
        ("/a%00b", PathError::Nul),
        ("/a\0b", PathError::Control(0)),
        ("/a b", PathError::Control(b' ')),
        ("/a\r\nb", PathError::Control(b'\r')),
        ("/a\x7f", PathError::Control(0x7f)),
        ("/a\\b", PathError::Backslash),
        ("/a#b", PathError::Fragment),
        ("/a?b", PathError::Query),
    ]);
}

#[test]
fn dot_segments_behind_encoded_separators_are_refused() {
    for path in [
        "/a/..%2fb",
        "/a%2f..",
        "/a%2F..%2Fb",
        "/a%2f%2e%2e/b",
        "/..%5cb",
        "/a%5C.%5cb",
        "/%2f.",
        "/.%2f",
    ] {
        assert_refused(&[(path, PathError::HiddenBySeparator)]);
    }
    assert_normal(&[("/a%2F..b", "/a%2F..b"), ("/a.%2Fb..", "/a.%2Fb.."), ("/%2F", "/%2F")]);
}

#[test]
fn dot_segments_behind_parameters_are_refused() {
    for path in ["/..;/a", "/a/..;x=1/b", "/.;", "/%2e%2e;", "/a%2F..;x", "/..%3bx"] {
        assert_refused(&[(path, PathError::HiddenByParameter)]);
    }
    assert_normal(&[("/a;..", "/a;.."), ("/...;", "/...;")]);
}

/// Bytes that mean something here, often enough to meet.
fn path_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["/", ".", "..", "a", ";", "%2e", "%2F", "%5c", "%41", "%3b"])
            .prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn normalise_path_never_panics(path in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(normal) = normalise_path(&path) {
            prop_assert!(normal.is_ascii());
        }
    }

    #[test]
    fn what_is_normal_stays_so_and_holds_no_dot_segment(path in path_bytes()) {
        if let Ok(once) = normalise_path(&path) {
            prop_assert_eq!(normalise_path(once.as_bytes()), Ok(Cow::Borrowed(&*once)));
            prop_assert!(once.starts_with('/') && once.is_ascii());
            let separators = once.replace("%2F", "/").replace("%5C", "/");
            prop_assert!(separators.split('/').all(|segment| segment != "." && segment != ".."));
        }
    }
}
