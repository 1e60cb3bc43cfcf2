use http::{HeaderValue, Response};

use super::{Form, KIND, is_valid};
use crate::testing::Tried;

/// The id that goes upstream for one that came.
fn upstream(yaml: &str, trusted: bool, came: &str) -> String {
    let mut tried = Tried::new(&KIND, yaml);
    tried.about.peer_trusted = trusted;
    tried.header("x-request-id", came);
    tried.request();
    tried.request.headers["x-request-id"].to_str().unwrap().to_owned()
}

#[test]
fn ids_are_kept_from_those_who_may_give_them() {
    for (yaml, trusted, kept) in [
        ("{}", true, true),
        ("{}", false, false),
        ("{ keep: always }", false, true),
        ("{ keep: never }", true, false),
    ] {
        assert_eq!(upstream(yaml, trusted, "abc") == "abc", kept, "{yaml} {trusted}");
    }
    assert_ne!(upstream("{ keep: always }", true, "a b"), "a b");
}

#[test]
fn two_ids_are_none() {
    let mut tried = Tried::new(&KIND, "{ keep: always }");
    tried.header("x-request-id", "a");
    tried.request.headers.append("x-request-id", HeaderValue::from_static("b"));
    tried.request();
    let ids: Vec<_> = tried.request.headers.get_all("x-request-id").iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].len(), 32);
}

#[test]
fn the_response_has_the_id_of_the_request() {
    let mut tried = Tried::new(&KIND, "{}");
    tried.request();
    let mut response = Response::new(()).into_parts().0;
    response.headers.insert("x-request-id", HeaderValue::from_static("origin"));
    tried.response(&mut response);
    assert_eq!(response.headers["x-request-id"], tried.request.headers["x-request-id"]);
}

#[test]
fn forms_are_as_their_standards_say() {
    let text = |form: Form| form.id().to_str().unwrap().to_owned();
    for form in [Form::Hex, Form::Uuid, Form::Uuid7] {
        assert_ne!(text(form), text(form));
        assert!(is_valid(&form.id()));
    }
    assert_eq!(text(Form::Hex).len(), 32);
    for (form, version) in [(Form::Uuid, b'4'), (Form::Uuid7, b'7')] {
        let id = text(form);
        let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((id.len(), dashes.as_slice()), (36, &[8, 13, 18, 23][..]), "{id}");
        assert_eq!(id.as_bytes()[14], version, "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
    // 2024-01-01 and later, until the year 10889.
    assert!(text(Form::Uuid7).as_str() > "018cc251-f400");
}
