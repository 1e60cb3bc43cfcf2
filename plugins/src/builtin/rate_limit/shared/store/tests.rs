use std::sync::Arc;

use super::super::server::{Location, Login, Server, ServerPlace};
use super::Stores;
use crate::host::Host;

fn server(password: &str) -> Server {
    Server {
        place: ServerPlace::One(Location::parse("[::1]:6379").unwrap()),
        database: 0,
        login: Login { username: None, password: Some(password.to_owned()) },
        tls: None,
    }
}

/// Series of the gauge of connections.
fn series(host: &Host) -> usize {
    let families = host.metrics.gather();
    let found = families.iter().find(|one| one.name() == "sallyport_shared_limit_connected");
    found.map_or(0, |family| family.get_metric().len())
}

#[test]
fn filters_with_one_server_share_its_store_and_others_do_not() {
    let (stores, host) = (Stores::default(), Host::idle());
    let first = stores.at(&server("a"), &host).unwrap();
    assert!(Arc::ptr_eq(&first, &stores.at(&server("a"), &host).unwrap()));
    assert!(!Arc::ptr_eq(&first, &stores.at(&server("b"), &host).unwrap()));
}

#[test]
fn the_series_of_a_server_leaves_with_its_last_store() {
    let (stores, host) = (Stores::default(), Host::idle());
    let before = stores.at(&server("a"), &host).unwrap();
    // The password has been changed: the one before ends when its last request has.
    let after = stores.at(&server("b"), &host).unwrap();
    drop(before);
    assert_eq!(series(&host), 1);
    drop(after);
    assert_eq!(series(&host), 0);
}

#[test]
fn a_server_is_named_without_its_password() {
    let server = server("open sesame");
    assert_eq!(server.to_string(), "[::1]:6379");
    assert!(!format!("{server:?}").contains("sesame"));
}
