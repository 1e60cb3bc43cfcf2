//! How streams end: with an answer, before it, in the middle of one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::client::{
    ACK, CANCEL, DATA, END_STREAM, Frames, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM,
    WINDOW_UPDATE, with_h2c,
};
use crate::support::{Gateway, Origin, PATIENCE, config, forward_all};

/// An origin that writes `answer` when anything has come, and tells what came until its connection ended.
fn eager(answer: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (received, seen) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = vec![0; 4_096];
            let length = stream.read(&mut bytes).unwrap_or(0);
            bytes.truncate(length);
            stream.write_all(answer.as_bytes()).ok();
            drop(stream.read_to_end(&mut bytes));
            received.send(String::from_utf8(bytes).unwrap()).ok();
        }
    });
    (address, seen)
}

#[test]
fn rfc9113_8_1_an_answer_before_the_end_of_an_upload_ends_it() {
    let (address, seen) = eager("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[address]), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[]);
    client.send(DATA, 0, 1, b"abc");
    assert_eq!(client.status(), 200);
    let body = client.receive_kind(DATA).unwrap();
    assert_eq!(body.content, b"ok");
    assert_eq!(client.reset(1), Some(NO_ERROR));
    // The origin must not take what it got for all of it.
    let seen = seen.recv_timeout(PATIENCE).unwrap();
    assert!(seen.ends_with("3\r\nabc\r\n"), "{seen}");
    let sample = |class: &str| {
        format!(
            "sallyport_route_requests_total{{virtual_host=\"all\",route=\"everything\",code_class=\"{class}\"}}"
        )
    };
    gateway.counts(&sample("2xx"), 1.0);
}

#[test]
fn a_direct_answer_ends_an_upload_too() {
    const ANSWER: &str = "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: no, respond: { status: 404, body: no } }
";
    let gateway = Gateway::start(&with_h2c(&config(ANSWER), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "POST", 0, &[]);
    assert_eq!(client.status(), 404);
    assert_eq!(client.receive_kind(DATA).unwrap().content, b"no");
    assert_eq!(client.reset(1), Some(NO_ERROR));
}

#[test]
fn rfc9110_6_4_1_a_response_that_has_no_body_ends_with_its_head() {
    let origin = Origin::start(|request, stream| {
        let answer = match request.request_line().split(' ').next().unwrap() {
            "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "GET" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n",
            _ => "HTTP/1.1 204 No Content\r\n\r\n",
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    for (stream, method, status) in [(1, "HEAD", 200), (3, "GET", 304), (5, "DELETE", 204)] {
        client.request(stream, method, END_STREAM, &[]);
        let head = client.receive_kind(HEADERS).unwrap();
        assert_eq!((head.stream, head.status()), (stream, status), "{method}");
        assert_eq!(head.flags & END_STREAM, END_STREAM, "{method}");
    }
}

#[test]
fn a_client_that_gives_up_ends_the_request_at_the_origin() {
    let (address, seen) = eager("");
    let gateway = Gateway::start(&with_h2c(&forward_all(&[address]), ""));
    let active =
        format!("sallyport_upstream_requests_active{{upstream=\"up\",endpoint=\"{address}\"}}");
    let mut client = Frames::connect(gateway.web());
    for (stream, flags) in [(1, END_STREAM), (3, 0)] {
        client.request(stream, if flags == 0 { "POST" } else { "GET" }, flags, &[]);
        if flags == 0 {
            client.send(DATA, 0, stream, b"abc");
        }
        gateway.counts(&active, 1.0);
        client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        let seen = seen.recv_timeout(PATIENCE).unwrap();
        assert!(!seen.ends_with("\r\n0\r\n\r\n"), "{seen}");
    }
    gateway.counts(&active, 0.0);
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde").ok();
        false
    });
    let gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[]);
    assert_eq!(client.status(), 200);
    assert_eq!(client.reset(1), Some(CANCEL));
    client.request(3, "GET", END_STREAM, &[]);
    assert_eq!(client.receive_kind(HEADERS).unwrap().stream, 3, "the connection goes on");
}

#[test]
fn an_upload_that_its_origin_does_not_read_does_not_stop_the_others() {
    let stuck = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = Origin::named("a");
    let yaml = config(&format!(
        "upstreams:
  - {{ name: stuck, endpoints: [{{ address: \"{}\" }}] }}
  - {{ name: open, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: stuck, match: {{ methods: [PUT] }}, forward: {{ upstream: stuck }} }}
      - {{ name: open, forward: {{ upstream: open }} }}
",
        stuck.local_addr().unwrap(),
        open.address
    ));
    let gateway = Gateway::start_single(&with_h2c(&yaml, ""));
    let mut client = Frames::connect(gateway.web());
    // The connection's window is more than the 64 KiB that it begins with.
    client.receive_kind(WINDOW_UPDATE).unwrap();
    // Ten streams fill their windows, which are 64 KiB each.
    for stream in (1..20).step_by(2) {
        client.request(stream, "PUT", 0, &[]);
        for _ in 0..4 {
            client.send(DATA, 0, stream, &[b'x'; 16_000]);
        }
    }
    client.request(21, "POST", 0, &[]);
    client.send(DATA, END_STREAM, 21, &[b'x'; 16_000]);
    assert_eq!(client.status(), 200);
    assert_eq!(open.last().body.len(), 16_000);
}

#[test]
fn rfc9113_6_8_a_shutdown_lets_requests_finish_and_takes_no_more() {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let origin = Origin::start(move |_, stream| {
        may_go_on.lock().unwrap().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let mut gateway = Gateway::start(&with_h2c(&forward_all(&[origin.address]), ""));
    let mut client = Frames::connect(gateway.web());
    client.request(1, "GET", END_STREAM, &[]);
    let active = "sallyport_route_requests_active{virtual_host=\"all\",route=\"everything\"}";
    gateway.counts(active, 1.0);
    gateway.signal("-TERM");
    let warning = client.receive_kind(GOAWAY).unwrap();
    assert_eq!(warning.content[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let ping = client.receive_kind(PING).unwrap();
    client.send(PING, ACK, 0, &ping.content);
    // The last stream that it serves, and no error.
    assert_eq!(client.receive_kind(GOAWAY).unwrap().content[..8], [0, 0, 0, 1, 0, 0, 0, 0]);
    go_on.send(()).unwrap();
    assert_eq!(client.status(), 200);
    assert!(gateway.wait().success());
}
