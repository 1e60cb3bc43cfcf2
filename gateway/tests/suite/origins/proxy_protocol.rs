//! Connections to origins that begin with whose they are.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use super::upstream;
use crate::support::{Client, Gateway, eventually};

/// An origin that reads a header of `bytes` bytes, or a line, and then answers requests.
fn origin(bytes: Option<usize>) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let headers = Arc::new(Mutex::new(Vec::new()));
    let told = headers.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut header = Vec::new();
                let read = match bytes {
                    Some(bytes) => reader.by_ref().take(bytes as u64).read_to_end(&mut header),
                    None => reader.read_until(b'\n', &mut header),
                };
                if read.is_err() {
                    return;
                }
                told.lock().unwrap().push(header);
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap_or(0) > 0 {
                    if line == "\r\n"
                        && reader
                            .get_mut()
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            .is_err()
                    {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    (address, headers)
}

fn gateway(version: &str, origin: SocketAddr) -> Gateway {
    Gateway::start_single(&upstream(&format!(
        "send_proxy_protocol: {version}\nendpoints: [ {{ address: \"{origin}\" }} ]"
    )))
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn version_1_names_the_client_and_each_connection_serves_one() {
    let (address, headers) = origin(None);
    let gateway = gateway("v1", address);
    let web = gateway.web();
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(web);
        let own = client.stream().local_addr().unwrap();
        lines.push(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), web.port()));
        for _ in 0..3 {
            assert_eq!(client.send(REQUEST).receive().body, "ok");
        }
    }
    let headers: Vec<_> =
        headers.lock().unwrap().iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert_eq!(headers, lines, "one connection a client, however many requests");
}

#[test]
fn version_2_names_the_client_in_binary() {
    let (address, headers) = origin(Some(28));
    let gateway = gateway("v2", address);
    let web = gateway.web();
    let mut client = Client::connect(web);
    let own = client.stream().local_addr().unwrap();
    assert_eq!(client.send(REQUEST).receive().body, "ok");
    let header = eventually("a header", || headers.lock().unwrap().first().cloned());
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(header[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    assert_eq!(header[24..26], own.port().to_be_bytes());
    assert_eq!(header[26..28], web.port().to_be_bytes());
}

#[test]
fn probes_say_that_the_gateway_itself_asks() {
    let (address, headers) = origin(Some(16));
    let gateway = Gateway::start(&upstream(&format!(
        "send_proxy_protocol: v2\nhealth_check: {{ path: /, interval: 50ms }}\n\
         endpoints: [ {{ address: \"{address}\" }} ]"
    )));
    let header = eventually("a probe", || headers.lock().unwrap().first().cloned());
    assert_eq!(header, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    gateway.address("web");
}
