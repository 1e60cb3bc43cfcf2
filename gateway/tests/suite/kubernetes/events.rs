//! What is rejected is told by events too.

use serde_json::{Value, json};

use super::gateways::{class, gateway_object, place, route, to};
use super::{ApiServer, answers, gateway, service};
use crate::support::{Origin, eventually};

/// The events about an object.
fn events(api: &ApiServer, kind: &str, name: &str) -> Vec<Value> {
    let is_about = |event: &Value| {
        let regarding = &event["regarding"];
        regarding["kind"] == kind && regarding["name"] == name
    };
    api.all("Event").into_iter().filter(is_about).collect()
}

#[test]
fn a_rejection_is_told_once_in_the_words_of_check() {
    let api = ApiServer::start();
    let origin = Origin::named("one");
    service(&api, "one", &[origin.address]);
    class(&api);
    let place = place();
    api.apply(gateway_object(place, &[None]));
    let mut bad = route(
        "bad",
        json!({ "rules": [
        to("/gone", "nobody"),
        { "matches": [{ "path": { "type": "RegularExpression", "value": "/(" } }],
          "backendRefs": [{ "name": "one", "port": 80 }] },
    ] }),
    );
    bad["metadata"]["uid"] = "0123".into();
    api.apply(bad);
    api.apply(route("good", json!({ "rules": [to("/", "one")] })));
    let _gateway = gateway(&api, "", "");
    answers(place, "a.test", "/", "one");
    let told = eventually("two events", || {
        let told = events(&api, "HTTPRoute", "bad");
        (told.len() == 2).then_some(told)
    });
    for event in &told {
        assert_eq!(event["type"], "Warning", "{event}");
        assert_eq!(event["reportingController"], "sallyport.dev/gateway");
        assert_eq!(event["regarding"]["uid"], "0123");
        assert_eq!(event["regarding"]["namespace"], "shop");
        assert!(event["eventTime"].as_str().unwrap().ends_with('Z'), "{event}");
        assert!(event["series"].is_null(), "{event}");
    }
    let notes = format!("{} {}", told[0]["note"], told[1]["note"]);
    assert!(notes.contains("there is no Service shop/nobody"), "{notes}");
    assert!(notes.contains("regular expression") || notes.contains("regex"), "{notes}");
    // Whatever else is translated meanwhile, it is not said again.
    for index in 0..3 {
        api.apply(route("good", json!({ "rules": [to(&format!("/{index}"), "one")] })));
        answers(place, "a.test", &format!("/{index}"), "one");
    }
    let later = events(&api, "HTTPRoute", "bad");
    assert!(later.len() == 2 && later.iter().all(|event| event["series"].is_null()), "{later:?}");
    assert!(events(&api, "HTTPRoute", "good").is_empty());
}
