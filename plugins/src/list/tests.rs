use std::path::Path;
use std::sync::Arc;

use sallyport_config::spec::FilterEntry;
use sallyport_config::{File, Files, Place, Problems, Sink, decode};

use super::{Entry, Instances, Reader, merge};
use crate::host::Host;
use crate::kind::Kinds;

const SERVER: &str = "{ response: { remove: [server] } }";

fn read(
    yaml: &str,
    folder: &Path,
    previous: &Instances,
) -> (Result<Vec<Entry>, String>, Instances, Files) {
    let (kinds, host) = (Kinds::builtin(), Arc::new(Host::idle()));
    let mut reader = Reader::new(&kinds, &host, folder, previous);
    let file = File { path: "f.yaml".into(), text: yaml.to_owned() };
    let mut sink = Sink::new();
    let list = decode::text::<Vec<FilterEntry>>(0, yaml, &mut sink).unwrap();
    let entries = reader.list("here", &list.value, &Place::File(0), &mut sink);
    let entries = match sink.is_empty() {
        true => Ok(entries.unwrap()),
        false => Err(Problems::locate(sink, &[file]).to_string()),
    };
    (entries, reader.instances().clone(), reader.files().clone())
}

fn good(yaml: &str) -> Vec<Entry> {
    read(yaml, Path::new(""), &Instances::default()).0.unwrap()
}

fn problem(yaml: &str) -> String {
    read(yaml, Path::new(""), &Instances::default()).0.unwrap_err()
}

#[test]
fn the_most_specific_place_has_the_last_word() {
    let listener = good(&format!("[{{ headers: {SERVER} }}, {{ headers: {SERVER}, name: b }}]"));
    let host = good(&format!("[{{ headers: {SERVER}, name: c }}, {{ headers: {SERVER} }}]"));
    let route = good("[{ headers: off, name: b }]");
    let merged = merge(&[&listener, &host, &route]);
    let names: Vec<_> = merged.iter().map(|filter| &*filter.name).collect();
    assert_eq!(names, ["headers", "c"]);
    let Entry::Use(replaced) = &host[1] else { unreachable!("it is not off") };
    assert!(Arc::ptr_eq(&merged[0], replaced));
}

#[test]
fn entries_are_of_one_known_kind_and_names_are_their_own() {
    assert!(problem("[{ header: {} }]").contains("unknown key `header`, did you mean `headers`?"));
    assert!(problem("[{ name: a }]").contains("has none of `headers`"));
    let many = problem(&format!("[{}]", ["{ headers: off }"; 65].join(", ")));
    assert!(many.contains("has 65 filters, write at most 64"), "{many}");
    let twice = problem(&format!("[{{ headers: {SERVER} }}, {{ headers: {SERVER} }}]"));
    assert!(twice.contains("[1]: a second filter called \"headers\" in one list"), "{twice}");
}

#[test]
fn a_filter_is_kept_while_what_it_was_made_from_stays() {
    let yaml = format!("[{{ headers: {SERVER} }}]");
    let (first, instances, _) = read(&yaml, Path::new(""), &Instances::default());
    let (second, ..) = read(&yaml, Path::new(""), &instances);
    let (third, ..) =
        read("[{ headers: { response: { remove: [x] } } }]", Path::new(""), &instances);
    let filter = |entries: Result<Vec<Entry>, String>| match &entries.unwrap()[0] {
        Entry::Use(instance) => instance.clone(),
        Entry::Off(_) => unreachable!("it is not off"),
    };
    let first = filter(first);
    assert!(Arc::ptr_eq(&first, &filter(second)));
    assert!(!Arc::ptr_eq(&first, &filter(third)));
}
