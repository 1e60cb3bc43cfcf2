//! The API server away, watches that end, rights that are taken: traffic goes on.

use serde_json::json;

use super::ingress::{ingress, rule};
use super::{ApiServer, answers, gateway, service, slice, source, written};
use crate::support::{Gateway, Origin, eventually, get};

#[test]
fn traffic_goes_on_while_the_api_server_is_away_and_changes_come_when_it_is_back() {
    let mut api = ApiServer::start();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "api", &[one.address]);
    api.apply(ingress("shop", json!({ "rules": [rule("a.test", &[("/", "Prefix", "api")])] })));
    let gateway = gateway(&api, "", "");
    answers(gateway.web(), "a.test", "/", "one");
    api.stop();
    eventually("the outage to be told", || {
        let source = source(&gateway);
        (source["in_touch"] == false && source["away_because"].is_string()).then_some(())
    });
    assert_eq!(get(gateway.web(), "a.test", "/").body, "one");
    slice(&api, "api", &[two.address]);
    api.restart();
    answers(gateway.web(), "a.test", "/", "two");
    eventually("touch again", || (source(&gateway)["in_touch"] == true).then_some(()));
}

#[test]
fn a_gateway_restarts_without_its_api_server() {
    let mut api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "api", &[one.address]);
    api.apply(ingress("shop", json!({ "rules": [rule("a.test", &[("/", "Prefix", "api")])] })));
    let (folder, config) = written(&api, "", "");
    let endpoints = folder.path().join("sources/kubernetes.endpoints.json");
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        std::fs::create_dir_all(to.join("sources")).unwrap();
        for name in [
            "sallyport.yaml",
            "kubeconfig",
            "sources/kubernetes.json",
            "sources/kubernetes.endpoints.json",
        ] {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    };
    {
        let path = folder.path().to_path_buf();
        let gateway = Gateway::start_in(folder, config);
        answers(gateway.web(), "a.test", "/", "one");
        let address = one.address.to_string();
        eventually("endpoints to be kept", || {
            std::fs::read_to_string(&endpoints).ok().filter(|text| text.contains(&address))
        });
        copy(&path, kept.path());
    }
    api.stop();
    let config = kept.path().join("sallyport.yaml");
    let storage = kept.path().join("sources");
    let yaml = std::fs::read_to_string(&config).unwrap();
    let lines = yaml.lines().map(|line| match line.trim_start().starts_with("storage:") {
        true => format!("  storage: {}", storage.display()),
        false if line.contains("kubeconfig:") => {
            format!("  kubernetes: {{ kubeconfig: {} }}", kept.path().join("kubeconfig").display())
        }
        false => line.to_owned(),
    });
    std::fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let gateway = Gateway::start_in(kept, config);
    assert_eq!(get(gateway.web(), "a.test", "/").body, "one");
    let source = source(&gateway);
    assert_eq!(source["restored"], true);
    assert_eq!(source["in_touch"], false);
    assert!(source["age_s"].as_f64().unwrap() >= 0.0);
}

#[test]
fn watches_that_end_are_resumed_and_lists_are_made_anew_only_where_they_must_be() {
    let api = ApiServer::start();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "api", &[one.address]);
    api.apply(ingress("shop", json!({ "rules": [rule("a.test", &[("/", "Prefix", "api")])] })));
    let gateway = gateway(&api, "", "");
    answers(gateway.web(), "a.test", "/", "one");
    let lists = api.lists("Ingress");
    api.end_watches();
    slice(&api, "api", &[two.address]);
    answers(gateway.web(), "a.test", "/", "two");
    assert_eq!(api.lists("Ingress"), lists);
    // What happens while the changes are forgotten is seen by listing.
    api.compact();
    api.delete("Ingress", "shop", "shop");
    super::answers_status(gateway.web(), "a.test", "/", 404);
    assert!(api.lists("Ingress") > lists);
}

#[test]
fn rights_that_are_taken_away_are_told_and_what_was_known_stays() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "api", &[one.address]);
    api.apply(ingress("shop", json!({ "rules": [rule("a.test", &[("/", "Prefix", "api")])] })));
    let gateway = gateway(&api, "", "");
    answers(gateway.web(), "a.test", "/", "one");
    api.forbid("EndpointSlice", true);
    eventually("the loss to be told", || {
        let source = source(&gateway);
        let why = source["away_because"].as_str()?.to_owned();
        (why.contains("EndpointSlice") && why.contains("Forbidden")).then_some(())
    });
    assert_eq!(get(gateway.web(), "a.test", "/").body, "one");
    api.forbid("EndpointSlice", false);
    eventually("touch again", || (source(&gateway)["in_touch"] == true).then_some(()));
    assert_eq!(get(gateway.web(), "a.test", "/").body, "one");
}
