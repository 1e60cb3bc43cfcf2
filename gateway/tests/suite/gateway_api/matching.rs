//! `HTTPRouteMatching`, `…MatchingAcrossRoutes`, `…HeaderMatching`, `…ExactPathMatching`,
//! `…PathMatchOrder`, `…MethodMatching`, `…QueryParamMatching`, `…SimpleSameNamespace`.

use super::table::{Rules, Table, any, exact, get, prefix, send};

#[test]
fn http_route_simple_same_namespace() {
    let table = Table::new(&Rules::default().to(&[any()], "v1").everywhere());
    table.check(&[get("/").by("v1")]);
}

#[test]
fn http_route_matching() {
    let rules = Rules::default()
        .to(&[prefix("/"), any().header("version", "one")], "v1")
        .to(&[prefix("/v2"), any().header("version", "two")], "v2");
    Table::new(&rules.everywhere()).check(&[
        get("/").by("v1"),
        get("/example").by("v1"),
        get("/").with("version", "one").by("v1"),
        get("/v2").by("v2"),
        get("/v2/example").by("v2"),
        get("/").with("version", "two").by("v2"),
        get("/v2/").by("v2"),
        // A prefix is one of whole segments.
        get("/v2example").by("v1"),
        get("/foo/v2/example").by("v1"),
    ]);
}

#[test]
fn http_route_matching_across_routes() {
    let first = || Rules::default().to(&[prefix("/"), any().header("version", "one")], "v1");
    let both = first().to(&[prefix("/v2"), any().header("version", "two")], "v2");
    let hosts = both.host("com", &["example.com"]) + &first().host("net", &["example.net"]);
    Table::new(&hosts).check(&[
        get("/").host("example.com").by("v1"),
        get("/example").host("example.com").by("v1"),
        get("/example").host("example.net").by("v1"),
        get("/example").host("example.com").with("version", "one").by("v1"),
        get("/v2").host("example.com").by("v2"),
        get("/v2").host("example.net").by("v1"),
        get("/v2/example").host("example.com").by("v2"),
        get("/").host("example.com").with("version", "two").by("v2"),
    ]);
}

#[test]
fn http_route_header_matching() {
    let rules = Rules::default()
        .to(&[any().header("version", "one")], "v1")
        .to(&[any().header("version", "two")], "v2")
        .to(&[any().header("version", "two").header("color", "orange")], "v1")
        .to(&[any().header("color", "blue"), any().header("color", "green")], "v1")
        .to(&[any().header("color", "red"), any().header("color", "yellow")], "v2");
    Table::new(&rules.everywhere()).check(&[
        get("/").with("version", "one").by("v1"),
        get("/").with("version", "two").by("v2"),
        get("/").with("version", "two").with("color", "orange").by("v1"),
        get("/").with("version", "two").with("color", "blue").by("v2"),
        get("/").with("color", "orange").status(404),
        get("/").with("some-other-header", "one").status(404),
        get("/").with("color", "blue").by("v1"),
        get("/").with("color", "green").by("v1"),
        get("/").with("color", "red").by("v2"),
        get("/").with("color", "yellow").by("v2"),
        get("/").with("color", "purple").status(404),
    ]);
}

#[test]
fn http_route_exact_path_matching() {
    let rules = Rules::default().to(&[exact("/one")], "v1").to(&[exact("/two")], "v2");
    Table::new(&rules.everywhere()).check(&[
        get("/one").by("v1"),
        get("/two").by("v2"),
        get("/").status(404),
        get("/one/example").status(404),
        get("/two/").status(404),
        get("/Two").status(404),
    ]);
}

#[test]
fn http_route_path_match_order() {
    let rules = Rules::default()
        .to(&[exact("/match")], "v1")
        .to(&[exact("/match/exact")], "v2")
        .to(&[exact("/match/exact/one")], "v3")
        .to(&[prefix("/match/")], "v3")
        .to(&[prefix("/match/prefix/")], "v1")
        .to(&[prefix("/match/prefix/one")], "v2");
    Table::new(&rules.everywhere()).check(&[
        get("/match/exact/one").by("v3"),
        get("/match/exact").by("v2"),
        get("/match").by("v1"),
        get("/match/prefix/one/any").by("v2"),
        get("/match/prefix/any").by("v1"),
        get("/match/any").by("v3"),
    ]);
}

#[test]
fn http_route_method_matching() {
    let rules = Rules::default()
        .to(&[any().method("POST")], "v1")
        .to(&[any().method("GET")], "v2")
        .to(&[prefix("/path1").method("GET")], "v1")
        .to(&[any().header("version", "one").method("PUT")], "v2")
        .to(&[prefix("/path2").header("version", "two").method("POST")], "v3")
        .to(
            &[
                prefix("/path3").method("PATCH"),
                prefix("/path4").header("version", "three").method("DELETE"),
            ],
            "v1",
        )
        .to(&[prefix("/path5")], "v1")
        .to(&[any().method("PATCH")], "v2")
        .to(&[any().header("version", "four")], "v3");
    Table::new(&rules.everywhere()).check(&[
        send("POST", "/").by("v1"),
        get("/").by("v2"),
        send("HEAD", "/").status(404),
        get("/path1").by("v1"),
        send("PUT", "/").with("version", "one").by("v2"),
        send("POST", "/path2").with("version", "two").by("v3"),
        send("PATCH", "/path3").by("v1"),
        send("DELETE", "/path4").with("version", "three").by("v1"),
        send("PUT", "/").status(404),
        send("DELETE", "/path4").status(404),
        // A longer path before a method, a method before a field.
        send("PATCH", "/path5").by("v1"),
        send("PATCH", "/").with("version", "four").by("v2"),
    ]);
}

#[test]
fn http_route_query_param_matching() {
    let whale = || any().query("animal", "whale");
    let rules = Rules::default()
        .to(&[whale()], "v1")
        .to(&[any().query("animal", "dolphin")], "v2")
        .to(
            &[
                any().query("animal", "dolphin").query("color", "blue"),
                any().query("ANIMAL", "Whale"),
            ],
            "v3",
        )
        .to(&[prefix("/path1").query("animal", "whale")], "v1")
        .to(&[whale().header("version", "one")], "v2")
        .to(&[prefix("/path2").query("animal", "whale").header("version", "two")], "v3")
        .to(
            &[
                prefix("/path3").query("animal", "shark"),
                prefix("/path4").query("animal", "kraken").header("version", "three"),
            ],
            "v1",
        )
        .to(&[prefix("/path5")], "v1")
        .to(&[any().query("animal", "hydra")], "v2")
        .to(&[any().header("version", "four")], "v3");
    Table::new(&rules.everywhere()).check(&[
        get("/?animal=whale").by("v1"),
        get("/?animal=dolphin").by("v2"),
        get("/?animal=dolphin&color=blue").by("v3"),
        get("/?ANIMAL=Whale").by("v3"),
        get("/?animal=whale&otherparam=irrelevant").by("v1"),
        get("/?animal=dolphin&color=yellow").by("v2"),
        get("/?color=blue").status(404),
        get("/?animal=dog").status(404),
        get("/?animal=whaledolphin").status(404),
        get("/").status(404),
        get("/path1?animal=whale").by("v1"),
        get("/?animal=whale").with("version", "one").by("v2"),
        get("/path2?animal=whale").with("version", "two").by("v3"),
        get("/path3?animal=shark").by("v1"),
        get("/path4?animal=kraken").with("version", "three").by("v1"),
        get("/?animal=shark").status(404),
        get("/path4?animal=kraken").status(404),
        // A longer path before a parameter, a field before a parameter.
        get("/path5?animal=hydra").by("v1"),
        get("/?animal=hydra").with("version", "four").by("v3"),
    ]);
}
