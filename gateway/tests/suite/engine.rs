//! The gateway's own engine for HTTP/1.1, beside Pingora: which of them serves what, and that
//! nobody can tell.

use std::io::{Read as _, Write as _};

use crate::support::{Client, Gateway, Origin, check, config, forward_all, get, request};

#[path = "engine/differential.rs"]
mod differential;
#[path = "engine/generated.rs"]
mod generated;
#[path = "engine/http2.rs"]
mod http2;
#[path = "engine/large.rs"]
mod large;
#[path = "engine/trailers.rs"]
mod trailers;

/// One upstream of each kind of interest, and the switch.
fn both(engine: &str, origin: &Origin) -> String {
    config(&format!(
        "insecure: {{ engine: {engine} }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{0}\" }}] }}
  - {{ name: two, protocol: http2, endpoints: [{{ address: \"{0}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: two, match: {{ path: {{ exact: /two }} }}, forward: {{ upstream: two }} }}
      - {{ name: here, match: {{ path: {{ exact: /here }} }}, respond: {{ status: 200, body: here }} }}
      - {{ name: everything, forward: {{ upstream: up }} }}
",
        origin.address
    ))
}

fn served(gateway: &Gateway, engine: &str, requests: u32) {
    let sample = format!("sallyport_engine_requests_total{{engine=\"{engine}\"}}");
    gateway.counts(&sample, requests.into());
}

#[test]
fn requests_are_counted_by_what_served_them() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&both("auto", &origin));
    let web = gateway.web();
    assert_eq!(get(web, "a.test", "/").body, "a");
    assert_eq!(get(web, "a.test", "/here").body, "here");
    assert_eq!(request(web, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").body, "a");
    served(&gateway, "http1", 3);
    served(&gateway, "pingora", 0);
    // What the engine does not take, and what its origins do not.
    let upgrade = "Upgrade: foo\r\nConnection: upgrade, close";
    let answer = request(web, &format!("GET / HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n\r\n"));
    assert_eq!(answer.body, "a");
    assert_eq!(get(web, "a.test", "/two").status, 502);
    assert_eq!(request(web, "GET / HTTP/1.1\r\n\r\n").status, 400);
    served(&gateway, "pingora", 3);
    served(&gateway, "http1", 3);
    gateway.counts(
        "sallyport_route_requests_total{virtual_host=\"all\",route=\"two\",code_class=\"5xx\"}",
        1.0,
    );
}

#[test]
fn pingora_serves_everything_where_it_is_told_to() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&both("pingora", &origin));
    assert_eq!(get(gateway.web(), "a.test", "/").body, "a");
    served(&gateway, "pingora", 1);
    served(&gateway, "http1", 0);
    // The next request goes by the configuration that is in force then, on the same connection.
    let mut client = Client::connect(gateway.web());
    let ask = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(client.send(ask).receive().body, "a");
    gateway.replace(&both("auto", &origin));
    assert_eq!(client.send(ask).receive().body, "a");
    served(&gateway, "http1", 1);
    gateway.replace(&both("pingora", &origin));
    assert_eq!(client.send(ask).receive().body, "a");
    served(&gateway, "http1", 1);
    served(&gateway, "pingora", 3);
}

#[test]
fn an_upload_that_is_answered_early_goes_on_to_its_end_and_the_connection_closes() {
    let (begun, has_begun) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let origin = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = vec![0; 1 << 16];
        let mut bytes = 0;
        while !received[..bytes].windows(4).any(|four| four == b"\r\n\r\n") {
            bytes += stream.read(&mut received[bytes..]).unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").unwrap();
        has_begun.recv().unwrap();
        let mut body = received[..bytes].to_vec();
        while !body.ends_with(b"end") {
            let bytes = stream.read(&mut received).unwrap();
            assert!(bytes > 0, "the origin has the whole request");
            body.extend_from_slice(&received[..bytes]);
        }
    });
    let gateway = Gateway::start(
        &forward_all(&[address]).replace("upstreams:", "insecure: { engine: auto }\nupstreams:"),
    );
    let mut client = Client::connect(gateway.web());
    client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20003\r\n\r\n");
    client.send([b'x'; 100]);
    let answer = client.receive();
    assert_eq!((answer.status, answer.body.as_str()), (200, "early"));
    assert_eq!(answer.field("connection").as_deref(), Some("close"));
    begun.send(()).unwrap();
    client.send([b'x'; 19_900]).send("end");
    origin.join().unwrap();
    assert_eq!(client.read_to_end(), b"");
    served(&gateway, "http1", 1);
}

#[test]
fn an_engine_that_does_not_exist_is_a_problem_of_the_file() {
    let output = check(&config("insecure: { engine: nginx }\n"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("insecure.engine"), "{told}");
    assert!(told.contains("auto") && told.contains("pingora"), "{told}");
}
