use super::Named;
use crate::decode;
use crate::spec::Spec;

/// What stands for a name in these tests; `GONE` is not there.
fn read(named: Named<'_>) -> Option<String> {
    let (Named::Env(name) | Named::File(name)) = named;
    match name {
        "GONE" => None,
        "ADDRESS" => Some("127.0.0.1:80".to_owned()),
        "MANY" => Some("7".to_owned()),
        "YES" => Some("true".to_owned()),
        name => Some(format!("<{name}>")),
    }
}

/// What of `text` is decoded, and the problems.
fn decoded(text: &str) -> (Option<decode::Decoded<Spec>>, Vec<String>) {
    let mut sink = Vec::new();
    let decoded = decode::filled::<Spec>(
        0,
        text,
        &mut |named, place, sink| match read(named) {
            None => place.refuse(sink, "is not set", "set it"),
            read => read,
        },
        &mut sink,
    );
    let said = sink.iter().map(|found| format!("{}: {}", found.place, found.what));
    (decoded, said.collect())
}

#[test]
fn references_stand_in_any_value_and_keep_their_places() {
    let (decoded, said) = decoded(
        "listeners: [ { name: \"a${env:b}c${file:d/e}\", address: \"${env:ADDRESS}\", h2c: \"${env:YES}\",
            max_connections: \"${env:MANY}\", filters: [ { headers: { request: { set: { x: \"${env:T}\" } } } } ] } ]
virtual_hosts: [ { name: v, domains: [\"${env:MANY}\"], routes: [
    { name: r, respond: { status: 200, body: \"$${env:GONE} ${host} $\" } } ] } ]
",
    );
    assert_eq!(said, Vec::<String>::new());
    let decoded = decoded.unwrap();
    let listener = &decoded.value.listeners[0];
    assert_eq!((&*listener.name, listener.h2c), ("a<b>c<d/e>", true));
    assert_eq!(listener.max_connections.0, 7);
    // A number that is wanted as text stays text.
    assert_eq!(&*decoded.value.virtual_hosts[0].domains[0], "7");
    let body = decoded.value.virtual_hosts[0].routes[0].respond.as_ref().unwrap().body.clone();
    assert_eq!(&*body, "$${env:GONE} ${host} $");
    let places: Vec<_> = decoded.references.iter().map(|it| &*it.place).collect();
    assert!(places.contains(&"listeners[0].filters[0].headers.request.set.x"), "{places:?}");

    let mut shown = serde_json::to_value(&decoded.value).unwrap();
    decoded.references.iter().for_each(|reference| reference.restore(&mut shown));
    assert_eq!(shown["listeners"][0]["address"], "${env:ADDRESS}");
    assert_eq!(shown["listeners"][0]["max_connections"], "${env:MANY}");
    assert_eq!(shown["listeners"][0]["name"], "a${env:b}c${file:d/e}");
}

#[test]
fn what_is_not_there_is_told_once_and_nothing_is_told_of_what_stands_in() {
    let (decoded, said) = decoded(
        "listeners: [ { name: a, address: \"${env:GONE}\", adress: 1 }, { name: \"${env:b\", address: \"127.0.0.1:1\" } ]\n",
    );
    assert_eq!(
        said,
        [
            "listeners[0].address: is not set",
            "listeners[1].name: \"${env:b\" has no end",
            "listeners[0].adress: unknown key `adress`",
        ]
    );
    let decoded = decoded.unwrap();
    assert!(decoded.replaced.holds("listeners[0].address"));
    assert!(decoded.replaced.holds("listeners[1].name"));
}
