use super::KIND;
use crate::testing::Tried;

#[test]
fn templates_see_the_request_as_it_came() {
    let changes = "{ request: { set: { x-a: '${header.x-b}', x-b: '${header.x-a}' } } }";
    let mut tried = Tried::new(&KIND, changes);
    tried.header("x-a", "1");
    tried.header("x-b", "2");
    tried.request();
    assert_eq!(tried.request.headers["x-a"], "2");
    assert_eq!(tried.request.headers["x-b"], "1");
}

#[test]
fn what_no_field_can_hold_is_left_out() {
    let changes = "{ request: { set: { x-a: 'v ${capture.1}' }, add: { x-b: '${client}' } } }";
    let mut tried = Tried::new(&KIND, changes);
    tried.header("x-a", "old");
    tried.request();
    assert_eq!(tried.request.headers["x-a"], "v ");
    assert!(!tried.request.headers.contains_key("x-b"));
}

#[test]
fn a_variable_that_the_request_does_not_have_leaves_the_field_out_as_in_nginx() {
    let changes = "{ request: { set: { x-a: '${header.x-none}', x-b: '' }, \
                   add: { x-c: '${capture.1}${query}' } }, \
                   response: { set: { x-d: '${header.x-none}' } } }";
    let mut tried = Tried::new(&KIND, changes);
    tried.header("x-a", "forged");
    tried.request();
    assert!(!tried.request.headers.contains_key("x-a"), "what the client sent does not stay");
    assert_eq!(tried.request.headers["x-b"], "", "a constant is written as it is");
    assert!(!tried.request.headers.contains_key("x-c"));
    let mut response = http::Response::new(()).into_parts().0;
    response.headers.insert("x-d", http::HeaderValue::from_static("old"));
    tried.response(&mut response);
    assert!(!response.headers.contains_key("x-d"));
}

#[test]
fn several_lines_of_a_field_are_one_list() {
    let changes = "{ request: { set: { x-a: '${header.x-b}', x-c: '${header.cookie}' } } }";
    let mut tried = Tried::new(&KIND, changes);
    for (name, value) in [("x-b", "1"), ("x-b", "2, 3"), ("cookie", "a=1"), ("cookie", "b=2")] {
        let value = http::HeaderValue::from_static(value);
        tried.request.headers.append(http::HeaderName::from_static(name), value);
    }
    tried.request();
    assert_eq!(tried.request.headers["x-a"], "1, 2, 3");
    assert_eq!(tried.request.headers["x-c"], "a=1; b=2", "RFC 9113, 8.2.3");
}
