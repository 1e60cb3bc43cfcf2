//! `HTTPRouteRequestHeaderModifier` and `HTTPRouteResponseHeaderModifier`.

use super::table::{Rules, Table, get, prefix};

/// What a route has beside its name and match.
fn changes(request: &str, response: &str) -> String {
    let part = |name: &str, changes: &str| match changes {
        "" => String::new(),
        _ => format!("{name}: {{ {changes} }},"),
    };
    let (request, response) = (part("request", request), part("response", response));
    format!("filters: [ {{ headers: {{ {request} {response} }} }} ], forward: {{ upstream: v1 }}")
}

const SET: &str = "set: { X-Header-Set: set-overwrites-values }";
const ADD: &str = "add: { X-Header-Add: add-appends-values }";
const REMOVE: &str = "remove: [X-Header-Remove]";
const MULTIPLE: &str = "set: { X-Header-Set-1: header-set-1, X-Header-Set-2: header-set-2 },
    add: { X-Header-Add-1: header-add-1, X-Header-Add-2: header-add-2, X-Header-Add-3: header-add-3 },
    remove: [X-Header-Remove-1, X-Header-Remove-2]";

#[test]
fn http_route_request_header_modifier() {
    let case_insensitivity = "set: { X-Header-Set: header-set }, add: { X-Header-Add: header-add },
        remove: [X-Header-Remove]";
    let rules = Rules::default()
        .rule(&[prefix("/set")], &changes(SET, ""))
        .rule(&[prefix("/add")], &changes(ADD, ""))
        .rule(&[prefix("/remove")], &changes(REMOVE, ""))
        .rule(&[prefix("/multiple")], &changes(MULTIPLE, ""))
        .rule(&[prefix("/case-insensitivity")], &changes(case_insensitivity, ""));
    Table::new(&rules.everywhere()).check(&[
        get("/set")
            .with("some-other-header", "val")
            .by("v1")
            .sees("some-other-header", "val")
            .sees("x-header-set", "set-overwrites-values"),
        get("/set")
            .with("some-other-header", "val")
            .with("x-header-set", "some-other-value")
            .by("v1")
            .sees("some-other-header", "val")
            .sees("x-header-set", "set-overwrites-values"),
        get("/add")
            .with("some-other-header", "val")
            .by("v1")
            .sees("some-other-header", "val")
            .sees("x-header-add", "add-appends-values"),
        get("/add")
            .with("some-other-header", "val")
            .with("x-header-add", "some-other-value")
            .by("v1")
            .sees("some-other-header", "val")
            .sees("x-header-add", "some-other-value,add-appends-values"),
        get("/remove").with("x-header-remove", "val").by("v1").sees_no("x-header-remove"),
        get("/multiple")
            .with("x-header-set-2", "set-val-2")
            .with("x-header-add-2", "add-val-2")
            .with("x-header-remove-2", "remove-val-2")
            .with("another-header", "another-header-val")
            .by("v1")
            .sees("x-header-set-1", "header-set-1")
            .sees("x-header-set-2", "header-set-2")
            .sees("x-header-add-1", "header-add-1")
            .sees("x-header-add-2", "add-val-2,header-add-2")
            .sees("x-header-add-3", "header-add-3")
            .sees("another-header", "another-header-val")
            .sees_no("x-header-remove-1")
            .sees_no("x-header-remove-2"),
        get("/case-insensitivity")
            .with("x-header-set", "original-val-set")
            .with("x-header-add", "original-val-add")
            .with("x-header-remove", "original-val-remove")
            .with("another-header", "another-header-val")
            .by("v1")
            .sees("x-header-set", "header-set")
            .sees("x-header-add", "original-val-add,header-add")
            .sees("another-header", "another-header-val")
            .sees_no("x-header-remove"),
    ]);
}

#[test]
fn http_route_response_header_modifier() {
    let case_insensitivity = "set: { X-Header-Set: header-set },
        add: { X-Header-Add: header-add, x-lowercase-add: lowercase-add,
               x-Mixedcase-ADD-1: mixedcase-add-1, X-mixeDcase-add-2: mixedcase-add-2,
               X-UPPERCASE-ADD: uppercase-add },
        remove: [X-Header-Remove]";
    let request = "set: { X-Header-Set: set-overwrites-values },
        add: { X-Header-Add: header-val-1, X-Header-Add-Append: header-val-2 },
        remove: [X-Header-Remove]";
    let response = "set: { X-Header-Set-1: header-set-1, X-Header-Set-2: header-set-2 },
        add: { X-Header-Add-1: header-add-1, X-Header-Add-2: header-add-2 },
        remove: [X-Header-Remove-1, X-Header-Remove-2]";
    let rules = Rules::default()
        .rule(&[prefix("/set")], &changes("", SET))
        .rule(&[prefix("/add")], &changes("", ADD))
        .rule(&[prefix("/remove")], &changes("", REMOVE))
        .rule(&[prefix("/multiple")], &changes("", MULTIPLE))
        .rule(&[prefix("/case-insensitivity")], &changes("", case_insensitivity))
        .rule(&[prefix("/response-and-request-header-modifiers")], &changes(request, response));
    Table::new(&rules.everywhere()).check(&[
        get("/set")
            .backend_sends("Some-Other-Header", "val")
            .by("v1")
            .answers("some-other-header", &["val"])
            .answers("x-header-set", &["set-overwrites-values"]),
        get("/set")
            .backend_sends("Some-Other-Header", "val")
            .backend_sends("X-Header-Set", "some-other-value")
            .by("v1")
            .answers("some-other-header", &["val"])
            .answers("x-header-set", &["set-overwrites-values"]),
        get("/add")
            .backend_sends("Some-Other-Header", "val")
            .by("v1")
            .answers("some-other-header", &["val"])
            .answers("x-header-add", &["add-appends-values"]),
        get("/add")
            .backend_sends("Some-Other-Header", "val")
            .backend_sends("X-Header-Add", "some-other-value")
            .by("v1")
            .answers("some-other-header", &["val"])
            .answers("x-header-add", &["some-other-value,add-appends-values"]),
        get("/remove")
            .backend_sends("X-Header-Remove", "val")
            .by("v1")
            .answers_no("x-header-remove"),
        get("/multiple")
            .backend_sends("X-Header-Set-2", "set-val-2")
            .backend_sends("X-Header-Add-2", "add-val-2")
            .backend_sends("X-Header-Remove-2", "remove-val-2")
            .backend_sends("Another-Header", "another-header-val")
            .backend_sends("X-Header-Remove-1", "val")
            .by("v1")
            .answers("x-header-set-1", &["header-set-1"])
            .answers("x-header-set-2", &["header-set-2"])
            .answers("x-header-add-1", &["header-add-1"])
            .answers("x-header-add-2", &["add-val-2,header-add-2"])
            .answers("x-header-add-3", &["header-add-3"])
            .answers("another-header", &["another-header-val"])
            .answers_no("x-header-remove-1")
            .answers_no("x-header-remove-2"),
        get("/case-insensitivity")
            .backend_sends("x-header-set", "original-val-set")
            .backend_sends("x-header-add", "original-val-add")
            .backend_sends("x-header-remove", "original-val-remove")
            .backend_sends("Another-Header", "another-header-val")
            .by("v1")
            .answers("x-header-set", &["header-set"])
            .answers("x-header-add", &["original-val-add,header-add"])
            .answers("x-lowercase-add", &["lowercase-add"])
            .answers("x-mixedcase-add-1", &["mixedcase-add-1"])
            .answers("x-mixedcase-add-2", &["mixedcase-add-2"])
            .answers("x-uppercase-add", &["uppercase-add"])
            .answers("another-header", &["another-header-val"])
            .answers_no("x-header-remove"),
        get("/response-and-request-header-modifiers")
            .with("x-header-remove", "remove-val")
            .with("x-header-add-append", "append-val-1")
            .with("x-header-echo", "echo")
            .backend_sends("X-Header-Set-2", "set-val-2")
            .backend_sends("X-Header-Add-2", "add-val-2")
            .backend_sends("X-Header-Remove-2", "remove-val-2")
            .backend_sends("Another-Header", "another-header-val")
            .backend_sends("X-Header-Remove-1", "remove-val-1")
            .backend_sends("X-Header-Echo", "echo")
            .by("v1")
            .sees("x-header-add", "header-val-1")
            .sees("x-header-set", "set-overwrites-values")
            .sees("x-header-add-append", "append-val-1,header-val-2")
            .sees("x-header-echo", "echo")
            .sees_no("x-header-remove")
            .answers("x-header-set-1", &["header-set-1"])
            .answers("x-header-set-2", &["header-set-2"])
            .answers("x-header-add-1", &["header-add-1"])
            .answers("x-header-add-2", &["add-val-2,header-add-2"])
            .answers("another-header", &["another-header-val"])
            .answers("x-header-echo", &["echo"])
            .answers_no("x-header-remove-1")
            .answers_no("x-header-remove-2"),
    ]);
}
