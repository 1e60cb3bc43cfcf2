use sallyport_stats::Registry;

use super::*;

fn listener() -> Arc<ListenerState> {
    let name: Arc<str> = "web".into();
    let stats = Registry::new(1).connections(&name);
    let address = "127.0.0.1:80".parse().unwrap();
    Arc::new(ListenerState::new(name, address, address, stats))
}

fn seat(listener: &Arc<ListenerState>) -> Seat {
    Seat::for_tests(listener.clone())
}

#[test]
fn a_source_has_as_many_as_it_may_and_gives_each_back() {
    let listener = listener();
    let client: IpAddr = "192.0.2.1".parse().unwrap();
    let mut seats = [seat(&listener), seat(&listener), seat(&listener)];
    assert_eq!(seats[0].count_source(client, 2, 64), Ok(()));
    assert_eq!(seats[1].count_source("::ffff:192.0.2.1".parse().unwrap(), 2, 64), Ok(()));
    assert_eq!(seats[2].count_source(client, 2, 64), Err(ConnectionRefusal::Source));
    assert_eq!(seats[2].count_source("192.0.2.2".parse().unwrap(), 2, 64), Ok(()));
    let [first, second, third] = seats;
    drop(first);
    let mut again = seat(&listener);
    assert_eq!(again.count_source(client, 2, 64), Ok(()));
    assert_eq!(listener.stats.load().active(), 3);
    drop((second, third, again));
    assert_eq!(listener.stats.load().active(), 0);
    assert!(listener.sources.lock().unwrap().is_empty());
}

#[test]
fn one_that_turns_out_to_be_of_another_source_counts_there() {
    let listener = listener();
    let mut seat = seat(&listener);
    seat.count_source("192.0.2.1".parse().unwrap(), 1, 64).unwrap();
    seat.count_source("192.0.2.2".parse().unwrap(), 1, 64).unwrap();
    assert_eq!(listener.sources.lock().unwrap().len(), 1);
    drop(seat);
    assert!(listener.sources.lock().unwrap().is_empty());
}

#[test]
fn sources_of_ipv6_are_prefixes() {
    let source = |text: &str, prefix| source_of(text.parse().unwrap(), prefix);
    assert_eq!(source("2001:db8::1", 64), source("2001:db8::2", 64));
    assert_ne!(source("2001:db8::1", 128), source("2001:db8::2", 128));
    assert_ne!(source("2001:db8:0:1::1", 64), source("2001:db8:0:2::1", 64));
    assert_eq!(source("2001:db8:0:1::1", 48), source("2001:db8:0:2::1", 48));
    assert_eq!(source("2001:db8::1", 0), source("::2", 0));
}

#[test]
fn a_listener_is_known_by_its_address_and_without_a_port_by_its_name() {
    let stats = || Registry::new(1).connections(&"web".into());
    let [fixed, any] = ["127.0.0.1:80", "127.0.0.1:0"].map(|text| text.parse().unwrap());
    let listener = ListenerState::new("web".into(), fixed, fixed, stats());
    assert!(listener.is("web", fixed) && listener.is("renamed", fixed));
    assert!(!listener.is("web", any));
    let listener = ListenerState::new("web".into(), any, fixed, stats());
    assert!(listener.is("web", any) && !listener.is("other", any) && !listener.is("web", fixed));
}
