//! One field of a query: its value, and the query without it.

use std::borrow::Cow;

use sallyport_route::query_value;

/// The decoded value of the field with this name, if there is exactly one.
pub(super) fn only_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    let mut found = query.split('&').filter_map(|field| query_value(field, name));
    found.next().filter(|_| found.next().is_none())
}

/// A path and query without the fields of this name; the others as they are.
pub(super) fn without(path_and_query: &str, name: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else {
        return path_and_query.to_owned();
    };
    let others = query.split('&').filter(|field| query_value(field, name).is_none());
    let others: Vec<_> = others.collect();
    if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::{only_value, without};

    #[test]
    fn a_field_is_found_alone() {
        let value = |query| only_value(query, "key").map(|value| value.into_owned());
        assert_eq!(value("a=b&key=x%2By&c"), Some(b"x+y".to_vec()));
        assert_eq!(value("%6bey=x"), Some(b"x".to_vec()));
        assert_eq!(value("key"), Some(Vec::new()));
        assert_eq!(value("key=x&key=x"), None);
        assert_eq!(value("keys=x"), None);
    }

    #[test]
    fn the_rest_of_a_query_stays_as_it_is() {
        for (came, left) in [
            ("/a?key=x", "/a"),
            ("/a?b=%20&key=x&&c", "/a?b=%20&&c"),
            ("/a?%6bey=x&b", "/a?b"),
            ("/a", "/a"),
            ("/a?b", "/a?b"),
        ] {
            assert_eq!(without(came, "key"), left, "{came}");
        }
    }
}
