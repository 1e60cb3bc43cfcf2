//! Resources that name each other, in the orders in which they come.

use super::*;
use crate::descriptors;

pub(in crate::client) const LISTENER: &str = r#"
name: web
address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
filter_chains:
- filters:
  - name: http
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: in
      rds: { config_source: { ads: {} }, route_config_name: main }
      http_filters:
      - name: envoy.filters.http.router
        typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

const ROUTES: &str = "
name: main
virtual_hosts:
- { name: all, domains: ['*'], routes: [ { match: { prefix: / }, route: { cluster: api } } ] }
";

const CLUSTER: &str = "
name: api
type: EDS
eds_cluster_config: { eds_config: { ads: {} }, service_name: shop }
";

const ENDPOINTS: &str = "cluster_name: shop";

fn message(kind: ResourceKind, yaml: &str) -> Arc<DynamicMessage> {
    let descriptor = descriptors::message(kind.type_name()).expect("its type is known");
    let mut problems = Vec::new();
    let tree = sallyport_config::parse(0, yaml, &mut problems).expect("it is YAML");
    Arc::new(DynamicMessage::deserialize(descriptor, &tree).expect("it is such a message"))
}

/// Adds a resource of a version; returns what takes it back.
pub(in crate::client) fn add(
    state: &mut State,
    kind: ResourceKind,
    name: &str,
    yaml: &str,
    version: &str,
) -> Undo {
    let mut undo = Undo::default();
    let message = Some(message(kind, yaml));
    let incoming = Incoming { name: name.into(), version: version.into(), message, ttl: None };
    state.insert(kind, incoming, Instant::now(), &mut undo);
    undo
}

fn names(state: &State, kind: ResourceKind) -> Vec<String> {
    state.effective().resources().of(kind).map(|(name, _)| name.to_owned()).collect()
}

const ALL: [(ResourceKind, &str, &str); 4] = [
    (ResourceKind::Cluster, "api", CLUSTER),
    (ResourceKind::ClusterLoadAssignment, "shop", ENDPOINTS),
    (ResourceKind::Listener, "web", LISTENER),
    (ResourceKind::RouteConfiguration, "main", ROUTES),
];

#[test]
fn a_resource_waits_for_what_it_names_in_any_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let mut state = State::default();
        for (step, at) in order.into_iter().enumerate() {
            let (kind, name, yaml) = ALL[at];
            add(&mut state, kind, name, yaml, "1");
            let effective = state.effective();
            if step < 3 {
                assert!(effective.waiting.len() <= 2, "{:?}", effective.waiting);
                continue;
            }
            assert_eq!(effective.waiting, []);
            for (kind, name, _) in ALL {
                assert_eq!(names(&state, kind), [name]);
            }
        }
    }
}

#[test]
fn names_are_asked_for_as_long_as_somebody_needs_them() {
    let mut state = State::default();
    add(&mut state, ResourceKind::Cluster, "api", CLUSTER, "1");
    add(&mut state, ResourceKind::Listener, "web", LISTENER, "1");
    let needed = |state: &State, kind| state.needed(kind).into_iter().collect::<Vec<_>>();
    assert_eq!(needed(&state, ResourceKind::ClusterLoadAssignment), ["shop"]);
    assert_eq!(needed(&state, ResourceKind::RouteConfiguration), ["main"]);
    state.remove(ResourceKind::Cluster, "api", &mut Undo::default());
    assert!(needed(&state, ResourceKind::ClusterLoadAssignment).is_empty());
}

#[test]
fn what_is_in_force_stays_until_its_successor_is_whole() {
    let mut state = State::default();
    for (kind, name, yaml) in ALL {
        add(&mut state, kind, name, yaml, "1");
    }
    let effective = state.effective();
    assert!(!effective.is_in_force(&state));
    state.settle(effective);
    assert!(state.effective().is_in_force(&state));

    let next = LISTENER.replace("route_config_name: main", "route_config_name: next");
    add(&mut state, ResourceKind::Listener, "web", &next, "2");
    let effective = state.effective();
    assert_eq!(effective.waiting.len(), 1);
    assert!(effective.is_in_force(&state), "the listener before it stays");

    let routes = ROUTES.replace("name: main", "name: next");
    add(&mut state, ResourceKind::RouteConfiguration, "next", &routes, "1");
    let effective = state.effective();
    assert_eq!(effective.waiting, []);
    state.settle(effective);
    assert_eq!(names(&state, ResourceKind::RouteConfiguration), ["next"]);
    let needed = state.needed(ResourceKind::RouteConfiguration);
    assert_eq!(state.retain(ResourceKind::RouteConfiguration, &needed), ["main"]);
}

#[test]
fn a_cluster_that_is_removed_stays_while_a_route_leads_there() {
    let mut state = State::default();
    for (kind, name, yaml) in ALL {
        add(&mut state, kind, name, yaml, "1");
    }
    let effective = state.effective();
    state.settle(effective);
    state.remove(ResourceKind::Cluster, "api", &mut Undo::default());
    assert_eq!(names(&state, ResourceKind::Cluster), ["api"]);
    let routes = "name: main\nvirtual_hosts: []";
    add(&mut state, ResourceKind::RouteConfiguration, "main", routes, "2");
    assert!(names(&state, ResourceKind::Cluster).is_empty());
}

#[test]
fn an_update_is_taken_back_as_a_whole_or_by_name() {
    let mut state = State::default();
    add(&mut state, ResourceKind::Cluster, "api", CLUSTER, "1");
    let other = CLUSTER.replace("service_name: shop", "service_name: other");
    let mut undo = add(&mut state, ResourceKind::Cluster, "api", &other, "2");
    undo.0.extend(add(&mut state, ResourceKind::Cluster, "new", CLUSTER, "2").0);
    state.undo(undo.of("new"));
    assert_eq!(state.versions(ResourceKind::Cluster), [("api".to_owned(), "2".to_owned())]);
    state.undo(undo);
    assert_eq!(state.versions(ResourceKind::Cluster), [("api".to_owned(), "1".to_owned())]);
}

#[test]
fn a_resource_ends_with_its_time_unless_it_is_heard_of() {
    let (mut state, mut undo) = (State::default(), Undo::default());
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut heard = |state: &mut State, message, at| {
        let incoming =
            Incoming { name: "api".into(), version: "1".into(), message, ttl: Some(second) };
        state.insert(ResourceKind::Cluster, incoming, at, &mut undo);
    };
    heard(&mut state, Some(message(ResourceKind::Cluster, CLUSTER)), now);
    assert_eq!(state.next_expiry(), Some(now + second));
    heard(&mut state, None, now + second / 2);
    assert_eq!(state.expire(now + second), []);
    let gone = state.expire(now + 2 * second);
    assert_eq!(gone, [(ResourceKind::Cluster, "api".to_owned())]);
}
