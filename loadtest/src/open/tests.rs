use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server whose every connection is served by `serve`, until the test ends.
fn server(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// The next request's head; nothing once the client has gone.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    Some(String::from_utf8(head).unwrap())
}

fn offer(target: SocketAddr) -> Offer {
    Offer {
        target,
        source: None,
        rate_per_s: 500,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(200),
        connections: 4,
        close: false,
        paths: vec!["/a".to_owned(), "/b".to_owned()],
    }
}

fn made(offer: &Offer) -> Outcome {
    offer.make(&Interrupt::default()).unwrap()
}

#[test]
fn requests_are_due_evenly() {
    let offer = offer("127.0.0.1:1".parse().unwrap());
    assert_eq!(offer.planned(), 100);
    assert_eq!(offer.due(0), Duration::ZERO);
    assert_eq!(offer.due(99), Duration::from_millis(198));
}

#[test]
fn every_request_is_answered_over_the_connections_given() {
    let target = server(|mut stream| {
        while request(&mut stream).is_some() {
            stream.write_all(ANSWER).unwrap();
        }
    });
    let outcome = made(&offer(target));
    assert_eq!(outcome.answers.len(), 100);
    assert_eq!((outcome.failures, outcome.reconnects), (Failures::default(), 0));
    assert_eq!(outcome.lateness.len(), 100);
}

#[test]
fn warming_up_is_sent_and_not_counted() {
    let target = server(|mut stream| {
        while request(&mut stream).is_some() {
            stream.write_all(ANSWER).unwrap();
        }
    });
    let outcome = made(&Offer { warm_up: Duration::from_millis(100), ..offer(target) });
    assert_eq!((outcome.answers.len(), outcome.latencies_us().len()), (150, 100));
}

#[test]
fn each_request_may_have_a_connection_of_its_own() {
    let target = server(|mut stream| {
        let head = request(&mut stream).unwrap();
        assert!(head.contains("Connection: close"));
        stream.write_all(ANSWER).unwrap();
    });
    let outcome = made(&Offer { close: true, ..offer(target) });
    assert_eq!(outcome.answers.len(), 100);
    assert_eq!(outcome.failures.total(), 0);
}

#[test]
fn connections_come_from_the_source_given() {
    let target = server(|mut stream| {
        let source = stream.peer_addr().unwrap().ip();
        while request(&mut stream).is_some() {
            let status = if source.to_string() == "127.0.0.9" { "200 OK" } else { "403 No" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let from = |source| made(&Offer { source, ..offer(target) });
    assert_eq!(from(Some(Ipv4Addr::new(127, 0, 0, 9))).answers.len(), 100);
    assert_eq!(from(None).failures.status, 100);
}

#[test]
fn an_offer_ends_when_it_is_enough() {
    let target = server(|mut stream| {
        while request(&mut stream).is_some() {
            stream.write_all(ANSWER).unwrap();
        }
    });
    let long = Offer { duration: Duration::from_secs(3600), ..offer(target) };
    let enough = AtomicBool::new(true);
    let outcome = long.make_until(Instant::now(), &enough, &Interrupt::default()).unwrap();
    assert_eq!(outcome.answers.len() as u64, outcome.planned);
    assert!(outcome.planned < long.planned() && outcome.sustained());
}

#[test]
fn a_stall_counts_for_all_that_was_due_meanwhile() {
    let target = server(|mut stream| {
        request(&mut stream);
        thread::sleep(Duration::from_millis(150));
        stream.write_all(ANSWER).unwrap();
        while request(&mut stream).is_some() {
            stream.write_all(ANSWER).unwrap();
        }
    });
    let outcome = made(&Offer { connections: 1, ..offer(target) });
    let latencies_us = outcome.latencies_us();
    assert_eq!(latencies_us.len(), 100);
    // A closed loop would have seen one slow answer; half of these were due while it took its time.
    assert!(latencies_us[50] > 20_000.0, "{}", latencies_us[50]);
}

#[test]
fn what_fails_is_counted_by_how() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(made(&offer(refused)).failures.connect, 100);
    let closing = server(|mut stream| drop(request(&mut stream)));
    assert_eq!(made(&offer(closing)).failures.closed, 100);
    let breaking = server(|mut stream| {
        request(&mut stream);
        stream.write_all(&ANSWER[..20]).unwrap();
    });
    assert_eq!(made(&offer(breaking)).failures.broken, 100);
    let babbling = server(|mut stream| {
        request(&mut stream);
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
    });
    assert_eq!(made(&offer(babbling)).failures.unreadable, 100);
}

#[test]
fn what_is_never_answered_is_given_up() {
    let silent = server(|mut stream| while request(&mut stream).is_some() {});
    let outcome = made(&offer(silent));
    assert_eq!(outcome.failures.timeout, 100);
    assert!(!outcome.sustained());
}
