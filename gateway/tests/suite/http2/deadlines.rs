//! How long exchanges and bodies may take, over HTTP/1 and HTTP/2 alike.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;

use super::client::{with_h2, with_h2c};
use crate::support::{Client, Gateway, Origin, forward_all};

const SECOND: Duration = Duration::from_secs(1);

/// In time, on a machine with other things to do.
fn assert_in_time(elapsed: Duration, timeout: Duration) {
    let late = elapsed.checked_sub(timeout).expect("not before the timeout");
    assert!(late < Duration::from_millis(700), "{late:?} late");
}

fn with_timeout(origin: &Origin) -> String {
    let yaml = forward_all(&[origin.address]);
    with_h2c(&yaml.replace("upstream: up }", "upstream: up, timeout: 1s }"), "")
}

/// An origin that answers nothing, not even a part.
fn silent() -> Origin {
    Origin::start(|_, _| true)
}

/// An origin that begins an answer and then says nothing more.
fn stalling() -> Origin {
    Origin::start(|_, stream| {
        thread::sleep(SECOND * 9 / 10);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx").is_ok()
    })
}

/// Status of an upload that brings a byte every pause, and how long it took.
pub(crate) type Dribble = fn(SocketAddr, Duration) -> (u16, Duration);

/// A [`Dribble`] over HTTP/2.
pub(crate) fn dribble_h2(address: SocketAddr, pause: Duration) -> (u16, Duration) {
    with_h2(address, async |client| {
        let mut client = client.ready().await.unwrap();
        let request = Request::post("http://x.test/").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let started = Instant::now();
        let dribble = async {
            loop {
                tokio::time::sleep(pause).await;
                if body.send_data(Bytes::from_static(b"x"), false).is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let answer = tokio::select! {
            answer = answer => answer.unwrap(),
            () = dribble => unreachable!(),
        };
        (answer.status().as_u16(), started.elapsed())
    })
}

/// A [`Dribble`] over HTTP/1.
pub(crate) fn dribble_http1(address: SocketAddr, pause: Duration) -> (u16, Duration) {
    dribble_with("", address, pause)
}

fn dribble_with(more: &str, address: SocketAddr, pause: Duration) -> (u16, Duration) {
    let mut client = Client::connect(address);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n";
    client.send(format!("{head}{more}\r\n"));
    let started = Instant::now();
    let mut writer = client.stream().try_clone().unwrap();
    let (done, is_done) = mpsc::channel::<()>();
    let dribble = thread::spawn(move || {
        while is_done.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            if writer.write_all(b"x").is_err() {
                break;
            }
        }
    });
    let status = client.receive().status;
    let elapsed = started.elapsed();
    drop(done);
    dribble.join().unwrap();
    (status, elapsed)
}

#[test]
fn a_dribbled_upload_ends_with_the_routes_timeout() {
    let origin = silent();
    let gateway = Gateway::start(&with_timeout(&origin));
    let pause = Duration::from_millis(100);
    for dribble in [dribble_http1, dribble_h2] {
        let (status, elapsed) = dribble(gateway.web(), pause);
        assert_eq!(status, 504);
        assert_in_time(elapsed, SECOND);
    }
    let sample =
        "sallyport_route_errors_total{virtual_host=\"all\",route=\"everything\",kind=\"timeout\"}";
    gateway.counts(sample, 2.0);
}

#[test]
fn an_answer_that_stalls_ends_with_the_routes_timeout() {
    let origin = stalling();
    let gateway = Gateway::start(&with_timeout(&origin));
    let mut client = Client::connect(gateway.web());
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut received = Vec::new();
    client.stream().read_to_end(&mut received).ok();
    assert_in_time(started.elapsed(), SECOND);
    assert!(received.starts_with(b"HTTP/1.1 200") && received.ends_with(b"\r\n\r\nx"));
    let (ended, elapsed) = with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let request = Request::get("http://x.test/").body(()).unwrap();
        let started = Instant::now();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "x");
        (body.data().await.is_none_or(|data| data.is_err()), started.elapsed())
    });
    assert!(ended);
    assert_in_time(elapsed, SECOND);
}

#[test]
fn a_client_that_does_not_read_is_held_no_longer_than_the_routes_timeout() {
    let (ended, is_ended) = mpsc::channel();
    let origin = Origin::start(move |_, stream| {
        let started = Instant::now();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").ok();
        while stream.write_all(&[0; 65_536]).is_ok() {}
        ended.send(started.elapsed()).ok();
        false
    });
    let gateway = Gateway::start(&with_timeout(&origin));
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let elapsed = is_ended.recv_timeout(crate::support::PATIENCE).unwrap();
    assert!(elapsed < 2 * SECOND, "{elapsed:?}");
    with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let request = Request::get("http://x.test/").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let _unread = answer.await.unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            is_ended.recv_timeout(crate::support::PATIENCE).unwrap()
        });
        let elapsed = waited.await.unwrap();
        assert!(elapsed < 2 * SECOND, "{elapsed:?}");
    });
}

#[test]
fn requests_within_their_timeout_share_a_connection_that_outlives_it() {
    let origin = Origin::named("a");
    let gateway = Gateway::start_single(&with_timeout(&origin));
    let mut client = Client::connect(gateway.web());
    let started = Instant::now();
    while started.elapsed() < SECOND * 3 / 2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(*origin.connections.lock().unwrap(), 1);
}

#[test]
fn a_body_slower_than_the_rate_ends_with_408() {
    let origin = silent();
    let yaml = forward_all(&[origin.address]) + "limits: { request_body_min_rate: 1KiB }\n";
    let gateway = Gateway::start(&with_h2c(&yaml, ""));
    let address = gateway.web();
    let pause = Duration::from_millis(200);
    let both =
        [dribble_http1, dribble_h2].map(|dribble| thread::spawn(move || dribble(address, pause)));
    for dribble in both {
        let (status, elapsed) = dribble.join().unwrap();
        assert_eq!(status, 408);
        // The grace, and one second whose bytes are missing.
        assert!(elapsed > 5 * SECOND && elapsed < 8 * SECOND, "{elapsed:?}");
    }
}

#[test]
fn asking_for_an_upgrade_does_not_make_a_body_a_tunnel() {
    let origin = silent();
    let yaml = forward_all(&[origin.address]) + "limits: { request_body_min_rate: 1KiB }\n";
    let gateway = Gateway::start(&yaml);
    let more = "Connection: upgrade\r\nUpgrade: foo\r\n";
    let (status, elapsed) = dribble_with(more, gateway.web(), Duration::from_millis(200));
    assert_eq!(status, 408);
    assert!(elapsed < 8 * SECOND, "{elapsed:?}");
}

#[test]
fn a_body_without_a_rate_to_keep_may_be_slow() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]) + "limits: { request_body_min_rate: off }\n";
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    for _ in 0..4 {
        thread::sleep(SECOND * 3 / 2);
        client.send("x");
    }
    assert_eq!(client.receive().status, 200);
}

#[test]
fn a_body_of_http2_that_stops_ends_with_the_listeners_read_timeout() {
    let origin = silent();
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_h2c(&yaml, ", timeouts: { read: 500ms }"));
    let (status, elapsed) = dribble_h2(gateway.web(), Duration::from_secs(3_600));
    assert_eq!(status, 408);
    assert_in_time(elapsed, Duration::from_millis(500));
}

#[test]
fn a_stream_that_talks_both_ways_has_no_rate_to_keep() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Answers before the request has ended, as gRPC does.
            let mut part = [0; 1 << 16];
            if !stream.read(&mut part).is_ok_and(|bytes| bytes > 0) {
                continue;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
                .ok();
            while stream.read(&mut part).is_ok_and(|bytes| bytes > 0) {}
        }
    });
    let yaml = forward_all(&[address]) + "limits: { request_body_min_rate: 1GiB }\n";
    let gateway = Gateway::start(&with_h2c(&yaml, ", timeouts: { read: 300ms }"));
    with_h2(gateway.web(), async |client| {
        let mut client = client.ready().await.unwrap();
        let request = Request::post("http://x.test/").body(()).unwrap();
        let (answer, mut upload) = client.send_request(request, false).unwrap();
        upload.send_data(Bytes::from_static(b"first"), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "x");
        tokio::time::sleep(6 * SECOND).await;
        upload.send_data(Bytes::from_static(b"later"), false).unwrap();
        let more = tokio::time::timeout(SECOND / 2, body.data()).await;
        assert!(more.is_err(), "it is still open");
    });
}
