//! Hostnames of listeners and routes: `*.example.com` stands for all names below, by as many labels
//! as they have.

/// What both a listener and a route are for; `None` where that is nothing. No hostname is all of
/// them.
pub(super) fn intersection(listener: Option<&str>, route: &str) -> Option<String> {
    let Some(listener) = listener.filter(|name| !name.is_empty() && *name != "*") else {
        return Some(route.to_ascii_lowercase());
    };
    let (listener, route) = (listener.to_ascii_lowercase(), route.to_ascii_lowercase());
    if route == "*" || covers(&route, &listener) {
        return Some(listener);
    }
    covers(&listener, &route).then_some(route)
}

/// Whether all names that `pattern` stands for are among those of `wide`.
pub(super) fn covers(wide: &str, pattern: &str) -> bool {
    if wide == "*" || wide == pattern {
        return true;
    }
    let Some(suffix) = wide.strip_prefix('*') else { return false };
    let name = pattern.strip_prefix('*').unwrap_or(pattern);
    name.len() > suffix.len() && name.ends_with(suffix)
}

/// How much a hostname says: of two that stand for a name, the larger decides.
pub(super) fn specificity(hostname: &str) -> (bool, usize) {
    (!hostname.starts_with('*'), hostname.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections_are_the_narrower_of_the_two() {
        for (listener, route, expected) in [
            (None, "*", Some("*")),
            (None, "a.example.com", Some("a.example.com")),
            (Some("a.example.com"), "*", Some("a.example.com")),
            (Some("a.example.com"), "A.example.com", Some("a.example.com")),
            (Some("*.example.com"), "a.example.com", Some("a.example.com")),
            (Some("*.example.com"), "a.b.example.com", Some("a.b.example.com")),
            (Some("*.example.com"), "example.com", None),
            (Some("*.example.com"), "aexample.com", None),
            (Some("a.example.com"), "*.example.com", Some("a.example.com")),
            (Some("*.a.example.com"), "*.example.com", Some("*.a.example.com")),
            (Some("*.example.com"), "*.a.example.com", Some("*.a.example.com")),
            (Some("a.example.com"), "b.example.com", None),
        ] {
            assert_eq!(intersection(listener, route).as_deref(), expected, "{listener:?} {route}");
        }
    }

    #[test]
    fn a_name_says_more_than_a_wildcard_and_a_longer_one_more_than_a_shorter() {
        let mut names = vec!["*", "*.example.com", "a.com", "*.b.example.com", "a.b.example.com"];
        names.sort_by_key(|name| std::cmp::Reverse(specificity(name)));
        let sorted = ["a.b.example.com", "a.com", "*.b.example.com", "*.example.com", "*"];
        assert_eq!(names, sorted);
    }
}
