use super::KIND;
use crate::chain::Step;
use crate::testing::Tried;

fn is_refused(step: &Step) -> bool {
    matches!(step, Step::Answer(answer)
        if answer.status.as_u16() == 413 && answer.reason == "body_too_large")
}

#[test]
fn a_length_that_is_too_long_is_refused_at_the_head() {
    let mut tried = Tried::new(&KIND, "{ bytes: 8B }");
    for (length, refused) in
        [("0", false), ("8", false), ("9", true), ("99999999999999999999", true)]
    {
        tried.again();
        tried.header("content-length", length);
        assert_eq!(is_refused(&tried.request()), refused, "{length}");
    }
}

#[test]
fn a_body_without_a_length_is_counted() {
    let mut tried = Tried::new(&KIND, "{ bytes: 8B }");
    assert!(!is_refused(&tried.request()));
    for (piece, refused) in [("12345", false), ("678", false), ("9", true)] {
        let (_, step) = tried.request_body(Some(piece), false);
        assert_eq!(is_refused(&step), refused, "{piece}");
    }
    tried.again();
    let (passed, step) = tried.request_body(Some("12345678"), true);
    assert!(!is_refused(&step));
    assert_eq!(passed.unwrap(), "12345678");
}
