//! A process that has no descriptor left: it can be asked, edited, and does not blame its origins.

use std::io::Write;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Client, Gateway, Origin, eventually, forward_all, get, sallyport};

/// The gateway, started by a shell with this many descriptors.
fn limited(limits: &str) -> Command {
    let program = sallyport();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limits}; exec \"$0\" \"$@\"")])
        .arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_with(&forward_all(&[origin.address]), limited("-Sn 100"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let limits: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert!(limits[0] == limits[1] && limits[0] != "100", "{line}");
}

#[test]
fn out_of_descriptors_the_admin_answers_an_edit_is_applied_and_no_endpoint_is_blamed() {
    // Leaves no connection in the pool.
    let origin = Origin::start(|_, stream| {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        drop(stream.write_all(answer.as_bytes()));
        false
    });
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start_with(&yaml, limited("-n 128"));
    let mut first = Client::connect(gateway.web());
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(first.receive().status, 200);
    let mut others: Vec<_> = (0..150).map(|_| Client::connect(gateway.web())).collect();
    gateway.logged("out of file descriptors");
    // Each accepted client takes one; the last ones are turned away.
    assert!(others.last_mut().unwrap().is_closed());

    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = first.receive();
    assert_eq!((refused.status, refused.error().as_deref()), (503, Some("resources")));
    let kind = "kind=\"resources\",route=\"everything\",virtual_host=\"all\"";
    gateway.counts(&format!("sallyport_route_errors_total{{{kind}}}"), 1.0);
    let endpoint = format!("endpoint=\"{}\",upstream=\"up\"", origin.address);
    gateway.counts(&format!("sallyport_upstream_connect_failures_total{{{endpoint}}}"), 0.0);

    gateway.replace(&(yaml + "# edited\n"));
    assert_eq!(gateway.version(), 2);
    drop((others, first));
    eventually("it to serve again", || (try_get(&gateway) == Some(200)).then_some(()));
}

/// The status, unless the connection is refused.
fn try_get(gateway: &Gateway) -> Option<u16> {
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.try_receive(false).map(|response| response.status)
}

#[test]
fn an_edit_that_could_not_be_read_is_tried_again() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&yaml);
    let limit = |current: u64| {
        let pid = Pid::from_raw(gateway.pid() as i32);
        let before = prlimit(
            pid,
            Resource::Nofile,
            Rlimit { current: Some(current), maximum: Some(current.max(4096)) },
        );
        before.unwrap()
    };
    let before = limit(3);
    crate::support::write_by_rename(&gateway.config, &(yaml + "# edited\n"));
    gateway.logged("Too many open files");
    prlimit(Pid::from_raw(gateway.pid() as i32), Resource::Nofile, before).ok();
    limit(4096);
    eventually("the edit", || (gateway.version() == 2).then_some(()));
    assert!(gateway.config_view()["refused"].is_null());
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
}

#[test]
fn without_a_descriptor_for_a_connection_it_neither_spins_nor_floods_the_log() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    assert_eq!(try_get(&gateway), Some(200));
    let limit = |current: u64| {
        let limits = Rlimit { current: Some(current), maximum: Some(4096) };
        prlimit(Pid::from_raw(gateway.pid() as i32), Resource::Nofile, limits).unwrap()
    };
    let before = limit(3);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(gateway.web())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    gateway.logged("out of file descriptors");
    let (began, cpu) = (std::time::Instant::now(), gateway.cpu_time());
    // The kernel counts in ticks of 10 ms.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (spent, passed) = (gateway.cpu_time() - cpu, began.elapsed());
    assert!(spent < passed / 4, "{spent:?} of CPU in {passed:?}");
    let lines = gateway.log().into_iter().filter(|line| line.contains("out of file descriptors"));
    assert!(lines.count() <= 2);
    prlimit(Pid::from_raw(gateway.pid() as i32), Resource::Nofile, before).ok();
    limit(4096);
    // Nobody was turned away: they waited in the backlog.
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
}
