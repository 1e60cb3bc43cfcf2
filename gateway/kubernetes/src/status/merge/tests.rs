use serde_json::json;

use super::*;
use crate::objects::Key;

fn status(of: StatusOf, wanted: Value) -> ObjectStatus {
    let (key, made_of) = (Key::new("shop", "x"), Default::default());
    ObjectStatus { of, key, origin: "HTTPRoute shop/x".into(), wanted, made_of }
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": kind, "message": "", "observedGeneration": 1 })
}

fn since(condition: Value, time: &str) -> Value {
    let mut condition = condition;
    condition["lastTransitionTime"] = time.into();
    condition
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let known = json!({ "conditions": [
        since(condition("Accepted", "True"), "then"), since(condition("Programmed", "True"), "then"),
        since(condition("Theirs", "True"), "then"),
    ] });
    let wanted =
        json!({ "conditions": [condition("Accepted", "True"), condition("Programmed", "False")] });
    let merged = merge(&known, &status(StatusOf::Gateway, wanted.clone()), "now").unwrap();
    assert_eq!(
        merged["conditions"],
        json!([
            since(condition("Theirs", "True"), "then"),
            since(condition("Accepted", "True"), "then"),
            since(condition("Programmed", "False"), "now"),
        ])
    );
    assert_eq!(merge(&merged, &status(StatusOf::Gateway, wanted), "later"), None);
}

#[test]
fn entries_of_other_controllers_stay_and_those_of_parents_that_are_gone_go() {
    let entry = |controller: &str, parent: &str, conditions: Value| json!({ "controllerName": controller, "parentRef": { "name": parent }, "conditions": conditions });
    let known = json!({ "parents": [
        entry("ours", "gone", json!([])), entry("theirs", "gone", json!([])),
        entry("ours", "kept", json!([since(condition("Accepted", "True"), "then")])),
    ] });
    let wanted = json!({
        "controllerName": "ours",
        "parents": [entry("ours", "kept", json!([condition("Accepted", "True")]))],
    });
    let merged = merge(&known, &status(StatusOf::HttpRoute, wanted), "now").unwrap();
    assert_eq!(
        merged,
        json!({ "parents": [
            entry("theirs", "gone", json!([])),
            entry("ours", "kept", json!([since(condition("Accepted", "True"), "then")])),
        ] })
    );
}

#[test]
fn what_the_gateway_rejects_is_not_accepted() {
    let mut wanted = json!({ "parents": [{ "conditions": [
        condition("Accepted", "True"), condition("ResolvedRefs", "True"),
    ] }] });
    reject(&mut wanted, "is no regex, correct it");
    let conditions = &wanted["parents"][0]["conditions"];
    assert_eq!(conditions[0]["status"], "False");
    assert_eq!(conditions[0]["message"], "is no regex, correct it");
    assert_eq!(conditions[1]["status"], "True");
}

#[test]
fn an_ingress_with_nothing_to_say_is_left_alone() {
    assert_eq!(merge(&Value::Null, &status(StatusOf::Ingress, json!({})), "now"), None);
    let known = json!({ "loadBalancer": {} });
    assert_eq!(merge(&known, &status(StatusOf::Ingress, json!({})), "now"), None);
}
