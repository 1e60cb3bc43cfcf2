//! Updates one after the other: what is as it was is not translated again, and comes out the same.

use super::*;
use crate::client::state::tests::{self, LISTENER};

fn add(state: &mut State, kind: ResourceKind, name: &str, yaml: &str) {
    tests::add(state, kind, name, yaml, "1");
}

fn add_cluster(state: &mut State, number: usize, more: &str) {
    let address = format!("socket_address: {{ address: 10.0.0.{number}, port_value: 80 }}");
    let endpoint = format!("{{ endpoint: {{ address: {{ {address} }} }} }}");
    let yaml = format!(
        "{{ name: c{number}, load_assignment: {{ cluster_name: c{number}, endpoints: [ {{ \
         lb_endpoints: [ {endpoint} ] }} ] }}{more} }}"
    );
    add(state, ResourceKind::Cluster, &format!("c{number}"), &yaml);
}

fn add_routes<'r>(state: &mut State, routes: impl IntoIterator<Item = &'r String>) {
    let mut yaml =
        "name: main\nvirtual_hosts:\n- name: all\n  domains: ['*']\n  routes:\n".to_owned();
    routes.into_iter().for_each(|route| yaml += &format!("  - {route}\n"));
    add(state, ResourceKind::RouteConfiguration, "main", &yaml);
}

/// What an update comes to, and how much of it was translated.
fn update(translator: &mut Translator, state: &State, kind: ResourceKind) -> (Delivery, usize) {
    let (before, folder) = (translator.translated(), Path::new("/nowhere"));
    translator.refused(state, (kind, &[]), folder);
    let delivery = translator.of(&state.effective().resources(), folder, "1".to_owned());
    let alone = Translator::default().of(&state.effective().resources(), folder, "1".to_owned());
    let written = |delivery: &Delivery| {
        (serde_json::to_string(&*delivery.fragment).unwrap(), delivery.problems.clone())
    };
    assert_eq!(written(&delivery), written(&alone));
    (delivery, translator.translated() - before)
}

#[test]
fn a_change_of_one_resource_translates_one() {
    const CLUSTERS: usize = 10;
    let (mut translator, mut state) = (Translator::default(), State::default());
    (0..CLUSTERS).for_each(|number| add_cluster(&mut state, number, ""));
    let route = |number: usize| {
        format!(
            "{{ name: r{number}, match: {{ prefix: /{number} }}, route: {{ cluster: c{} }} }}",
            number % CLUSTERS
        )
    };
    let mut routes: Vec<String> = (0..40).map(route).collect();
    add_routes(&mut state, &routes);
    add(&mut state, ResourceKind::Listener, "web", LISTENER);
    let (delivery, translated) = update(&mut translator, &state, ResourceKind::Listener);
    assert_eq!(translated, 40 + CLUSTERS, "{:?}", delivery.problems);
    assert_eq!(delivery.fragment.virtual_hosts[0].routes.len(), 40);

    routes[7] = routes[7].replace("cluster: c7", "cluster: c7, timeout: 3s");
    add_routes(&mut state, &routes);
    let (_, translated) = update(&mut translator, &state, ResourceKind::RouteConfiguration);
    assert_eq!(translated, 1);

    // With it the four routes that lead there: what they write may depend on it.
    add_cluster(&mut state, 3, ", connect_timeout: 2s");
    let (_, translated) = update(&mut translator, &state, ResourceKind::Cluster);
    assert_eq!(translated, 1 + 4);

    // A route that hashes is one, and so is its cluster.
    let policy = "hash_policy: [ { header: { header_name: user } } ]";
    routes[9] = routes[9].replace("cluster: c9", &format!("cluster: c9, {policy}"));
    add_routes(&mut state, &routes);
    let (delivery, translated) = update(&mut translator, &state, ResourceKind::RouteConfiguration);
    assert_eq!(translated, 2);
    let same = update(&mut translator, &state, ResourceKind::RouteConfiguration);
    assert_eq!(same.1, 0);
    assert_eq!(same.0.origins, delivery.origins);
}

#[test]
fn what_is_wrong_is_told_with_every_update() {
    let (mut translator, mut state) = (Translator::default(), State::default());
    add_cluster(&mut state, 0, ", filters: [ { name: odd } ]");
    add_cluster(&mut state, 1, "");
    let folder = Path::new("/nowhere");
    for _ in 0..2 {
        let names = ["c0".to_owned(), "c1".to_owned()];
        let told = translator.refused(&state, (ResourceKind::Cluster, &names), folder);
        assert_eq!(told.keys().collect::<Vec<_>>(), ["c0"]);
    }
    // Each is read once; what was told then is told again.
    assert_eq!(translator.translated(), 2);
}
