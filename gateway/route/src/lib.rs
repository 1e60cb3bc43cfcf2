//! Virtual host and path matching: first match wins, without walking the list.
