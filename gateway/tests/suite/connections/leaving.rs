//! Clients that leave in the middle of an upload that their origin does not take.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::{Client, Gateway, forward_all};

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// The connection is reset.
    Reset,
    /// All that it wrote has arrived, and its end with it.
    Closed,
    /// What it wrote before stands in the way of its end.
    ClosedBehindWindow,
}

/// Uploads until the gateway takes no more, or `bytes` are written.
fn upload(client: &mut Client, is_chunked: bool, bytes: usize) {
    let framing =
        if is_chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 900000000" };
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
    let part = match is_chunked {
        true => format!("10000\r\n{}\r\n", "x".repeat(1 << 16)),
        false => "x".repeat(1 << 16),
    };
    let stream = client.stream();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    for _ in 0..bytes.div_ceil(1 << 16) {
        if stream.write_all(part.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_client_that_leaves_a_blocked_upload_is_noticed_long_before_its_write_timeout() {
    let (origin, held) = silent();
    let gateway = Gateway::start(&forward_all(&[origin]));
    let active =
        format!("sallyport_upstream_requests_active{{endpoint=\"{origin}\",upstream=\"up\"}}");
    for leaving in [Leaving::Reset, Leaving::Closed, Leaving::ClosedBehindWindow] {
        for is_chunked in [false, true] {
            let mut client = Client::connect(gateway.web());
            let bytes = if leaving == Leaving::Closed { 1 << 19 } else { 1 << 30 };
            upload(&mut client, is_chunked, bytes);
            gateway.counts(&active, 1.0);
            if leaving == Leaving::Reset {
                let socket = client.stream();
                rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            println!("{leaving:?}, chunked: {is_chunked}");
            // A third of the time after which the write to the origin ends, and of what a client
            // may take to bring more.
            gateway.counts(&active, 0.0);
        }
    }
    drop(held);
}

/// An origin that takes connections and nothing of them.
fn silent() -> (std::net::SocketAddr, mpsc::Receiver<std::net::TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, streams) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    (address, streams)
}

#[test]
fn a_client_that_waits_for_its_blocked_upload_is_told_so_and_answered() {
    let (origin, streams) = silent();
    let gateway = Gateway::start(&forward_all(&[origin]));
    let body = vec![b'x'; 16 << 20];
    let mut client = Client::connect(gateway.web());
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut writing = client.stream().try_clone().unwrap();
    let sent = thread::spawn(move || {
        writing.write_all(&body).unwrap();
    });
    // RFC 9110, 15.2: a client takes interim responses that it has not asked for.
    let told = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(client.read_exact(told.len()), told);
    let mut taken = streams.recv().unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut part = [0];
        taken.read_exact(&mut part).unwrap();
        head.push(part[0]);
    }
    let mut left = 16 << 20;
    let mut part = vec![0; 1 << 16];
    while left > 0 {
        let bytes = taken.read(&mut part).unwrap();
        assert!(bytes > 0, "the upload broke off");
        assert!(part[..bytes].iter().all(|byte| *byte == b'x'));
        left -= bytes;
    }
    taken.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    let response = client.receive();
    assert_eq!((response.status, &*response.body), (200, "ok"));
    sent.join().unwrap();
}
