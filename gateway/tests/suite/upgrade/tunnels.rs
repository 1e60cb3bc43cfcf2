//! Upgrades while WebSockets are open: they stay where they are, until the drain's deadline.

use std::io::ErrorKind;
use std::io::Read as _;

use super::{Upgradable, is_running};
use crate::conformance::echo_after_upgrade;
use crate::support::{Client, Origin, eventually, forward_all, get};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn open(upgradable: &Upgradable) -> Client {
    let mut client = Client::connect(upgradable.gateway.web());
    client.send(UPGRADE);
    assert_eq!(client.receive().status, 101);
    client
}

fn echoes(client: &mut Client) {
    client.send("ping");
    assert_eq!(client.read_exact(4), b"ping");
}

#[test]
fn a_websocket_stays_at_the_old_process_which_ends_with_it() {
    let origin = Origin::start(echo_after_upgrade);
    let yaml = "shutdown: { deadline: 1h }\n".to_owned() + &forward_all(&[origin.address]);
    let mut upgradable = Upgradable::start(&yaml);
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let first = upgradable.gateway.pid();
    let mut sockets: Vec<_> = (0..20).map(|_| open(&upgradable)).collect();
    for _ in 0..3 {
        upgradable.upgrade(&admin);
        sockets.iter_mut().for_each(echoes);
        assert_eq!(get(web, "a", "/").status, 200);
    }
    // One that is opened at the process in the middle.
    let mut between = open(&upgradable);
    let middle = upgradable.processes[2];
    upgradable.upgrade(&admin);
    echoes(&mut between);
    sockets.iter_mut().for_each(echoes);
    assert!(is_running(first) && is_running(middle));
    let last = sockets.pop().unwrap();
    drop(sockets);
    assert!(is_running(first));
    drop(last);
    assert!(upgradable.gateway.wait().success(), "with the last of them");
    echoes(&mut between);
    drop(between);
    eventually("the one between to end", || (!is_running(middle)).then_some(()));
}

#[test]
fn a_websocket_ends_at_the_drains_deadline_and_not_before() {
    let origin = Origin::start(echo_after_upgrade);
    let yaml = "shutdown: { deadline: 1s }\n".to_owned() + &forward_all(&[origin.address]);
    let mut upgradable = Upgradable::start(&yaml);
    let admin = upgradable.gateway.admin().to_string();
    let mut socket = open(&upgradable);
    upgradable.upgrade(&admin);
    // Whoever has a connection has five seconds to learn that it is to go elsewhere.
    let mut echoed = 0;
    loop {
        socket.send("x");
        match socket.stream().read(&mut [0; 1]) {
            Ok(1) => echoed += 1,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(echoed > 0);
    assert!(upgradable.gateway.wait().success());
    let line = upgradable.gateway.logged("cut_off=");
    assert!(line.contains("cut_off=1"), "{line}");
}
