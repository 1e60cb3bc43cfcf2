use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::matcher::{HeaderMatch, QueryMatch, ValueMatch};

fn exact(path: &str) -> Match {
    Match { path: PathMatch::Exact(path.into()), ..Match::default() }
}

fn prefix(path: &str) -> Match {
    Match { path: PathMatch::Prefix(path.into()), ..Match::default() }
}

fn regex(pattern: &str) -> Match {
    Match { path: PathMatch::regex(pattern).unwrap(), ..Match::default() }
}

fn post(route: Match) -> Match {
    Match { methods: vec![Method::POST], ..route }
}

fn route(table: &RouteTable, method: &Method, path: &str) -> Option<usize> {
    table.route(&Request {
        method,
        path,
        query: "",
        headers: &HeaderMap::new(),
        scheme: crate::Scheme::Http,
        hints: None,
    })
}

fn assert_routes(matches: Vec<Match>, cases: &[(&str, Option<usize>)]) {
    let table = RouteTable::new(matches);
    for (path, expected) in cases {
        assert_eq!(route(&table, &Method::GET, path), *expected, "{path}");
    }
}

#[test]
fn an_empty_table_matches_nothing() {
    assert_routes(vec![], &[("/", None)]);
}

#[test]
fn the_first_match_wins_whatever_its_kind() {
    assert_routes(vec![prefix("/"), exact("/a"), regex("/a")], &[("/a", Some(0))]);
    assert_routes(vec![regex("/a.*"), exact("/a"), prefix("/a")], &[("/a", Some(0))]);
    assert_routes(
        vec![exact("/a"), prefix("/a"), regex("/.*"), prefix("/")],
        &[("/a", Some(0)), ("/a/", Some(1)), ("/ab", Some(2)), ("/", Some(2))],
    );
}

#[test]
fn a_longer_prefix_has_no_precedence() {
    assert_routes(
        vec![prefix("/a/b"), prefix("/a"), prefix("/a/b/c"), prefix("/")],
        &[("/a/b/c", Some(0)), ("/a/x", Some(1)), ("/x", Some(3))],
    );
}

#[test]
fn a_prefix_that_ends_in_a_slash_matches_what_follows() {
    assert_routes(
        vec![prefix("/a/"), prefix("/a//"), exact("/b/"), prefix("/b")],
        &[
            ("/a", None),
            ("/a/", Some(0)),
            ("/a//x", Some(0)),
            ("/b/", Some(2)),
            ("/b", Some(3)),
            ("/b//", Some(3)),
            ("/bb", None),
        ],
    );
}

#[test]
fn empty_segments_count() {
    assert_routes(
        vec![prefix("/a//b"), prefix("//"), prefix("/a/b")],
        &[("/a//b/c", Some(0)), ("//x", Some(1)), ("/a/b", Some(2)), ("/a//c", None)],
    );
}

#[test]
fn paths_no_request_can_have_match_nothing() {
    assert_routes(vec![prefix("api"), exact("api")], &[("/api", None), ("/", None)]);
}

#[test]
fn a_route_that_asks_more_falls_through_to_the_next() {
    let table = RouteTable::new(vec![
        post(exact("/a")),
        post(prefix("/a")),
        post(regex("/a.*")),
        exact("/a"),
        post(exact("/a")),
    ]);
    assert_eq!(route(&table, &Method::POST, "/a"), Some(0));
    assert_eq!(route(&table, &Method::POST, "/a/b"), Some(1));
    assert_eq!(route(&table, &Method::POST, "/ab"), Some(2));
    assert_eq!(route(&table, &Method::GET, "/a"), Some(3));
    assert_eq!(route(&table, &Method::GET, "/a/b"), None);
}

#[test]
fn regexes_are_found_by_every_literal_that_fits() {
    assert_routes(
        vec![
            regex("/api/v1/[0-9]+"),
            regex("/api/v1/[a-z]+/edit"),
            regex("/api/.*/edit"),
            regex(".*/edit"),
            regex("/api/v1/x"),
            regex(".*"),
        ],
        &[
            ("/api/v1/7", Some(0)),
            ("/api/v1/a/edit", Some(1)),
            ("/api/v2/7/edit", Some(2)),
            ("/edit", Some(3)),
            ("/api/v1/x", Some(4)),
            ("/api/v1/y", Some(5)),
            ("/", Some(5)),
        ],
    );
}

#[test]
fn more_regexes_than_one_set_takes() {
    let patterns = (0..200).map(|n| regex(&format!("/[a-z]+/item-{n}/[0-9]+")));
    let table = RouteTable::new(patterns.collect());
    for n in [0, 1, 63, 64, 127, 128, 199] {
        assert_eq!(route(&table, &Method::GET, &format!("/x/item-{n}/5")), Some(n));
    }
    assert_eq!(route(&table, &Method::GET, "/x/item-200/5"), None);
}

#[test]
fn a_regex_in_a_set_falls_through_to_the_next() {
    let table = RouteTable::new(vec![post(regex("/a.*z")), regex("/a.+z"), prefix("/")]);
    assert_eq!(route(&table, &Method::POST, "/abz"), Some(0));
    assert_eq!(route(&table, &Method::GET, "/abz"), Some(1));
    assert_eq!(route(&table, &Method::GET, "/az"), Some(2));
}

/// What the table must agree with: the list, walked.
fn reference(matches: &[Match], request: &Request<'_>) -> Option<usize> {
    matches.iter().position(|route| walked(route, request))
}

/// Matching in the plainest words, sharing no code with the table nor with the predicates.
fn walked(route: &Match, request: &Request<'_>) -> bool {
    let path = request.path;
    let on_path = match &route.path {
        PathMatch::Exact(exact) => path == &**exact,
        PathMatch::Prefix(prefix) if prefix.ends_with('/') => path.starts_with(&**prefix),
        PathMatch::Prefix(prefix) => path == &**prefix || path.starts_with(&format!("{prefix}/")),
        PathMatch::Regex(regex) => {
            let whole = regex::Regex::new(&format!("^(?:{})$", regex.as_str())).unwrap();
            whole.is_match(path)
        }
    };
    let allowed = route.methods.is_empty() || route.methods.contains(request.method);
    let value = |asked: &ValueMatch, found: Vec<&str>| match asked {
        ValueMatch::Exact(text) => found.contains(&&**text),
        ValueMatch::Prefix(text) => found.iter().any(|value| value.starts_with(&**text)),
        ValueMatch::Regex(regex) => found.iter().any(|value| regex.is_match(value)),
        ValueMatch::Present(present) => found.is_empty() != *present,
    };
    let headers = route.headers.iter().all(|header| {
        let found = request.headers.get_all(&header.name).iter();
        value(&header.value, found.map(|found| found.to_str().unwrap()).collect())
    });
    let query = route.query.iter().all(|field| {
        let fields = request.query.split('&').filter_map(|found| found.split_once('='));
        let found = fields.filter(|(name, _)| *name == &*field.name);
        value(&field.value, found.map(|(_, found)| found).collect())
    });
    on_path && allowed && headers && query
}

/// Paths over an alphabet so small that routes and requests meet.
const PATH: &str = "(/(a|b|ab)?){1,4}";

fn paths() -> impl Strategy<Value = PathMatch> {
    let segment = prop::sample::select(vec![
        "/a",
        "/b",
        "/",
        "/[ab]",
        "/a?",
        "/.*",
        "/a+",
        "(?:/a|/b)",
        "/ab",
        "(/b)*",
        "b",
    ]);
    prop_oneof![
        PATH.prop_map(|path| PathMatch::Exact(path.into())),
        "(/(a|b|ab)?){1,3}".prop_map(|path| PathMatch::Prefix(path.into())),
        prop::collection::vec(segment, 1..4)
            .prop_map(|segments| PathMatch::regex(&segments.concat()).unwrap()),
    ]
}

fn methods() -> impl Strategy<Value = Vec<Method>> {
    prop::sample::subsequence(vec![Method::GET, Method::POST], 0..=2)
}

fn values() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        "[01]".prop_map(|text| ValueMatch::Exact(text.into())),
        "[01]?".prop_map(|text| ValueMatch::Prefix(text.into())),
        Just(()).prop_map(|()| ValueMatch::regex("1|00").unwrap()),
        any::<bool>().prop_map(ValueMatch::Present),
    ]
}

fn header_matches() -> impl Strategy<Value = Vec<HeaderMatch>> {
    let name = prop::sample::select(vec!["x-a", "x-b"]).prop_map(HeaderName::from_static);
    let header = (name, values()).prop_map(|(name, value)| HeaderMatch { name, value });
    prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(header, 1..3)]
}

fn query_matches() -> impl Strategy<Value = Vec<QueryMatch>> {
    let field =
        ("[vw]", values()).prop_map(|(name, value)| QueryMatch { name: name.into(), value });
    prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(field, 1..3)]
}

fn matches() -> impl Strategy<Value = Match> {
    (paths(), methods(), header_matches(), query_matches()).prop_map(
        |(path, methods, headers, query)| Match {
            path,
            methods,
            headers,
            query,
            cookies: Vec::new(),
            scheme: None,
            hint: None,
            client: None,
        },
    )
}

fn header_maps() -> impl Strategy<Value = HeaderMap> {
    let field = (prop::sample::select(vec!["x-a", "x-b"]), "[01]{0,2}");
    prop::collection::vec(field, 0..4).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(&value).unwrap());
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_table_agrees_with_walking_the_list(
        matches in prop::collection::vec(matches(), 0..24),
        before in prop::collection::vec(matches(), 0..24),
        gone in 0..24_usize,
        requests in prop::collection::vec(
            (PATH, "([vw]=[01]{0,2}(&[vw]=[01]{0,2})?)?", header_maps(), any::<bool>()),
            1..8,
        ),
    ) {
        // The table before shares routes with this one, at other positions.
        let shared = matches.iter().skip(gone).cloned();
        let before = Arc::new(RouteTable::new(before.into_iter().chain(shared).collect()));
        let table = RouteTable::new(matches.clone());
        let following = RouteTable::following(matches, Some(&before));
        for (path, query, headers, get) in &requests {
            let method = if *get { &Method::GET } else { &Method::POST };
            let request = Request { method, path, query, headers, scheme: crate::Scheme::Http, hints: None };
            let walked = reference(table.matches(), &request);
            prop_assert_eq!(table.route(&request), walked);
            let told = table.matches().iter().position(|route| route.mismatch(&request).is_none());
            prop_assert_eq!(told, walked);
            prop_assert_eq!(following.route(&request), walked);
        }
    }
}

#[test]
fn an_equal_list_is_the_same_table() {
    let list = |last: &str| {
        let value = ValueMatch::regex("a|b").unwrap();
        let asks = HeaderMatch { name: http::header::ACCEPT, value };
        let asked = Match { headers: vec![asks], ..prefix("/c") };
        vec![exact("/a"), regex("/b/[0-9]+"), post(prefix("/b")), asked, prefix(last)]
    };
    let before = Arc::new(RouteTable::new(list("/d")));
    assert!(Arc::ptr_eq(&before, &RouteTable::following(list("/d"), Some(&before))));
    let after = RouteTable::following(list("/e"), Some(&before));
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(route(&after, &Method::GET, "/e/x"), Some(4));
    assert_eq!(route(&after, &Method::GET, "/d/x"), None);
}

#[test]
fn a_route_that_asks_for_hints_is_passed_over_without_them() {
    use crate::hint::{HintMatch, Hints};
    let asked = HintMatch { network: Some("office".into()), ..HintMatch::default() };
    let office = Match { hint: Some(Box::new(asked)), ..prefix("/") };
    let table = RouteTable::new(vec![office, prefix("/")]);
    let headers = HeaderMap::new();
    let to = |hints| {
        table.route(&Request {
            method: &Method::GET,
            path: "/x",
            query: "",
            headers: &headers,
            scheme: crate::Scheme::Http,
            hints,
        })
    };
    let office = Hints { network: Some("office".into()), ..Hints::default() };
    assert_eq!(
        [to(Some(&office)), to(Some(&Hints::default())), to(None)],
        [Some(0), Some(1), Some(1)]
    );
}
