//! How the process ends: it says so first, takes connections until the delay is over, and lets what is
//! under way finish.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Client, Gateway, Origin, PATIENCE, check, eventually, forward_all, get, request,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn with_shutdown(origin: &Origin, shutdown: &str) -> String {
    format!("shutdown: {shutdown}\n{}", forward_all(&[origin.address]))
}

/// Answers with a head, and with the rest only as long as this is.
fn endless() -> Origin {
    Origin::start(|request, stream| {
        if !request.request_line().contains("/stream") {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok();
        }
        let mut write = || -> std::io::Result<()> {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for _ in 0..2_000 {
                stream.write_all(b"1\r\nx\r\n")?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        };
        write().is_ok()
    })
}

fn is_ready(gateway: &Gateway) -> bool {
    get(gateway.admin(), "localhost", "/readyz").status == 200
}

fn post(gateway: &Gateway, path: &str) -> u16 {
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    request(gateway.admin(), &text).status
}

#[test]
fn connections_are_taken_and_told_to_close_until_the_delay_is_over() {
    let origin = Origin::named("a");
    let mut gateway = Gateway::start(&with_shutdown(&origin, "{ delay: 2s, deadline: 20s }"));
    let web = gateway.web();
    let mut idle: Vec<Client> = (0..2).map(|_| Client::connect(web)).collect();
    for client in &mut idle {
        assert_eq!(client.send(GET).receive().field("connection").as_deref(), Some("keep-alive"));
    }
    let told = Instant::now();
    gateway.signal("-TERM");
    eventually("not to be ready", || (!is_ready(&gateway)).then_some(()));
    // Who is there is told with the next answer, who comes is served and told as well.
    let answer = idle[0].send(GET).receive();
    assert_eq!((answer.status, answer.field("connection").as_deref()), (200, Some("close")));
    assert!(idle[0].is_closed());
    let mut late = Client::connect(web);
    let answer = late.send(GET).receive();
    assert_eq!((answer.status, answer.field("connection").as_deref()), (200, Some("close")));
    assert_eq!(get(gateway.admin(), "localhost", "/healthz").status, 200);
    // The one that stays idle is kept until the delay is over, and not longer.
    assert!(idle[1].is_closed());
    let waited = told.elapsed();
    assert!(waited > Duration::from_millis(1_800) && waited < PATIENCE / 2, "{waited:?}");
    assert!(gateway.wait().success());
    assert!(std::net::TcpStream::connect(web).is_err());
}

#[test]
fn what_is_under_way_has_until_the_deadline_and_admin_answers_to_the_end() {
    let origin = endless();
    let mut gateway = Gateway::start(&with_shutdown(&origin, "{ deadline: 3s }"));
    let mut stream = Client::connect(gateway.web());
    stream.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.read_exact(100);
    let told = Instant::now();
    gateway.signal("-TERM");
    eventually("nobody to listen", || std::net::TcpStream::connect(gateway.web()).err());
    assert!(!is_ready(&gateway));
    assert_eq!(get(gateway.admin(), "localhost", "/metrics").status, 200);
    assert!(gateway.wait().success());
    let waited = told.elapsed();
    assert!(waited > Duration::from_millis(2_800) && waited < PATIENCE / 2, "{waited:?}");
}

#[test]
fn a_second_signal_hastens_and_a_third_ends() {
    let origin = endless();
    let start = |shutdown| Gateway::start(&with_shutdown(&origin, shutdown));
    // In the delay it ends the delay.
    let mut gateway = start("{ delay: 10m }");
    gateway.signal("-TERM");
    gateway.logged("ending");
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
    // After it, what is under way has a second.
    let mut gateway = start("{ deadline: 10m }");
    let mut stream = Client::connect(gateway.web());
    stream.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").read_exact(100);
    gateway.signal("-TERM");
    gateway.logged("ending");
    gateway.signal("-INT");
    assert!(gateway.wait().success());
    gateway.logged("cut_off=1");
    // A third does not wait for it.
    let mut gateway = start("{ delay: 10m, deadline: 10m }");
    let mut stream = Client::connect(gateway.web());
    stream.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").read_exact(100);
    for said in ["ending: waiting", "told again", "told a third time"] {
        gateway.signal("-TERM");
        gateway.logged(said);
    }
    assert_eq!(gateway.wait().code(), Some(1));
}

#[test]
fn a_drain_is_asked_for_and_taken_back() {
    let origin = Origin::named("a");
    let mut gateway = Gateway::start(&with_shutdown(&origin, "{ delay: 3s }"));
    let connection = || {
        let mut client = Client::connect(gateway.web());
        client.send(GET).receive().field("connection")
    };
    assert_eq!((post(&gateway, "/drain"), is_ready(&gateway)), (204, false));
    assert_eq!(connection().as_deref(), Some("close"));
    assert_eq!(post(&gateway, "/drain"), 204);
    assert_eq!((post(&gateway, "/undrain"), is_ready(&gateway)), (204, true));
    assert_eq!(connection().as_deref(), Some("keep-alive"));
    assert_eq!(get(gateway.admin(), "localhost", "/drain").status, 405);
    gateway.signal("-TERM");
    eventually("not to be ready", || (!is_ready(&gateway)).then_some(()));
    assert_eq!((post(&gateway, "/undrain"), is_ready(&gateway)), (409, false));
    assert!(gateway.wait().success());
}

#[test]
fn restarts_under_a_client_that_follows_readiness_lose_nothing() {
    let origin = Origin::named("a");
    for _ in 0..5 {
        let mut gateway = Gateway::start(&with_shutdown(&origin, "{ delay: 2s }"));
        let (web, admin) = (gateway.web(), gateway.admin());
        // A load balancer that looks every so often and sends to whoever was ready.
        let balancer = thread::spawn(move || {
            let mut served = 0;
            while get(admin, "localhost", "/readyz").status == 200 {
                for _ in 0..10 {
                    assert_eq!(get(web, "a", "/").status, 200);
                    served += 1;
                }
            }
            served
        });
        eventually("some requests", || (origin.requests().len() > 20).then_some(()));
        gateway.signal("-TERM");
        assert!(balancer.join().unwrap() > 0);
        assert!(gateway.wait().success());
        origin.received.lock().unwrap().clear();
    }
}

#[test]
fn bad_times_are_told() {
    for (shutdown, said) in [
        ("{ delay: 5 }", "shutdown.delay: is 5, not a string with a unit, write 5s"),
        ("{ delay: 2h }", "shutdown.delay: \"2h\": is not such a time, write a time from 0s to 1h"),
        ("{ deadline: -1s }", "shutdown.deadline"),
        ("{ dealy: 1s }", "did you mean `delay`?"),
        ("5s", "shutdown: is \"5s\", write a mapping"),
    ] {
        let output = check(&with_shutdown(&Origin::named("a"), shutdown));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{shutdown}");
        assert!(told.contains(said) && told.contains("test.yaml:1"), "{told}\nlacks {said}");
    }
    assert!(
        check(&with_shutdown(&Origin::named("a"), "{ delay: 0s, deadline: 0s }")).status.success()
    );
}
