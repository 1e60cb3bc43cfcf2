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
    assert_eq!(tried.request.headers["x-b"], "");
}
