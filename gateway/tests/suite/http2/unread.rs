//! What clients hold that do not read, and origins.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::client::{with_h2, with_h2c};
use crate::origins::grpc::Origin;
use crate::support::{Client, Gateway, eventually, forward_all, tool};

const CLIENTS: u64 = 30;
/// What `limits.client_unread_bytes` is by default.
const KIB_MAX: u64 = 256;

/// An origin that answers with more than any buffer holds, and counts the bytes that it got rid of.
pub(super) fn endless() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let count = count.clone();
            thread::spawn(move || {
                let mut head = [0; 4096];
                if !stream.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                    return;
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n";
                stream.write_all(head.as_bytes()).ok();
                while let Ok(bytes) = stream.write(&[b'x'; 1 << 16]) {
                    count.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (address, written)
}

/// Waits until nothing moves any more.
fn settled(what: &AtomicU64) {
    let mut last = None;
    eventually("that nothing moves", || {
        thread::sleep(Duration::from_millis(500));
        let now = what.load(Ordering::Relaxed);
        (now > 0 && last.replace(now) == Some(now)).then_some(())
    });
}

/// KiB that the kernel holds of the gateway's sockets: received and not read, or written and not sent.
fn queued_kib(gateway: &Gateway) -> u64 {
    let output = Command::new("ss").args(["-tnpmH", "state", "established"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mark = format!("pid={},", gateway.pid());
    let lines: Vec<_> = text.lines().collect();
    let mut bytes = 0;
    for pair in lines.windows(2).filter(|pair| pair[0].contains(&mark)) {
        let Some(memory) = pair[1].split("skmem:(").nth(1) else { continue };
        for (key, value) in memory.split([',', ')']).filter_map(|field| {
            let digits = field.find(|byte: char| byte.is_ascii_digit())?;
            Some((&field[..digits], field[digits..].parse::<u64>().ok()?))
        }) {
            // Received, sent, and ahead of both; the rest are bounds.
            if matches!(key, "r" | "t" | "w") {
                bytes += value;
            }
        }
    }
    bytes >> 10
}

/// The kernel's share: some pieces towards one side and what has come from the other. Megabytes without a bound.
fn queue_is_bounded(gateway: &Gateway) {
    if tool("ss") {
        let each = queued_kib(gateway) / (CLIENTS + 1);
        assert!(each <= 2_048, "{each} KiB queued each");
    }
}

/// Sends `request` by 30 clients that do not read. Returns the KiB that each makes the gateway hold.
fn held_by_each(gateway: &Gateway, written: &AtomicU64, request: &str) -> u64 {
    let ask = || {
        let mut client = Client::connect(gateway.web());
        client.send(request);
        client
    };
    let _warm = ask();
    settled(written);
    let before = gateway.resident_kib();
    let clients: Vec<_> = (0..CLIENTS).map(|_| ask()).collect();
    settled(written);
    let each = gateway.resident_kib().saturating_sub(before) / CLIENTS;
    queue_is_bounded(gateway);
    drop(clients);
    each
}

#[test]
fn a_client_that_does_not_read_holds_no_more_than_the_default_whatever_it_asks() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    ] {
        let (address, written) = endless();
        let gateway = Gateway::start_single(&forward_all(&[address]));
        let each = held_by_each(&gateway, &written, request);
        println!("{each} KiB each: {request:?}");
        assert!(each <= KIB_MAX, "{each} KiB each: {request:?}");
    }
}

#[test]
fn an_answer_of_an_http2_origin_holds_no_more_than_the_default() {
    let written = Arc::new(AtomicU64::new(0));
    let runtime = crate::origins::grpc::runtime();
    let count = written.clone();
    let origin = Origin::start(&runtime, None, 100, move |_, _body, mut respond| {
        let count = count.clone();
        async move {
            let head = http::Response::new(());
            let Ok(mut stream) = respond.send_response(head, false) else { return };
            upload(&mut stream, &count).await;
        }
    });
    let yaml = forward_all(&[origin.address])
        .replace("  - name: up\n", "  - name: up\n    protocol: http2\n");
    let gateway = Gateway::start_single(&yaml);
    let each = held_by_each(&gateway, &written, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    println!("{each} KiB each");
    // Each frame waits in an allocation that may be twice as large; 8 MiB without a bound.
    assert!(each <= KIB_MAX * 2, "{each} KiB each");
}

#[test]
fn stalled_streams_of_one_connection_hold_no_more_than_as_many_clients() {
    let (address, written) = endless();
    let gateway = Gateway::start_single(&with_h2c(&forward_all(&[address]), ""));
    let mut warm = Client::connect(gateway.web());
    warm.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    settled(&written);
    let before = gateway.resident_kib();
    with_h2(gateway.web(), async |client| {
        let mut answers = Vec::new();
        for _ in 0..128 {
            let mut client = client.clone().ready().await.unwrap();
            let request = Request::get("http://x.test/").body(()).unwrap();
            answers.push(client.send_request(request, true).unwrap().0);
        }
        let settling = tokio::task::spawn_blocking(move || settled(&written));
        settling.await.unwrap();
        let held = gateway.resident_kib() - before;
        println!("{} KiB each", held / 128);
        assert!(held <= 128 * KIB_MAX, "{held} KiB");
        drop(answers);
    });
}

/// An origin that accepts connections and reads nothing, for as long as they are held.
fn silent() -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let held: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let keeping = held.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            keeping.lock().unwrap().push(stream);
        }
    });
    (address, held)
}

#[test]
fn an_upload_that_its_origin_does_not_read_holds_no_more_than_configured() {
    let (address, _held) = silent();
    let gateway = Gateway::start_single(&forward_all(&[address]));
    let written = Arc::new(AtomicU64::new(0));
    let upload = || {
        let mut client = Client::connect(gateway.web());
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n");
        let mut stream = client.stream().try_clone().unwrap();
        let count = written.clone();
        thread::spawn(move || {
            while let Ok(bytes) = stream.write(&[b'x'; 1 << 16]) {
                count.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        });
        client
    };
    let _warm = upload();
    settled(&written);
    let before = gateway.resident_kib();
    let clients: Vec<_> = (0..CLIENTS).map(|_| upload()).collect();
    settled(&written);
    let each = (gateway.resident_kib() - before) / CLIENTS;
    assert!(each <= 256, "{each} KiB each");
    queue_is_bounded(&gateway);
    for mut client in clients {
        client.stream().shutdown(std::net::Shutdown::Both).ok();
    }
}

/// Sends as much as the windows allow, and counts it.
async fn upload(stream: &mut h2::SendStream<Bytes>, written: &AtomicU64) {
    loop {
        stream.reserve_capacity(1 << 14);
        let granted = poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(bytes)) = granted else { return };
        stream.send_data(vec![b'x'; bytes].into(), false).unwrap();
        written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[test]
fn an_upload_of_http2_that_its_origin_does_not_read_is_bounded_and_ends_when_it_is_reset() {
    const STREAMS: u64 = 16;
    let (address, _held) = silent();
    // Pingora looks at its client only once the origin has taken what came before.
    let yaml = with_h2c(&forward_all(&[address]), "") + "insecure: { engine: auto }\n";
    let gateway = Arc::new(Gateway::start_single(&yaml));
    let written = Arc::new(AtomicU64::new(0));
    with_h2(gateway.web(), async |client| {
        let mut uploads = Vec::new();
        let mut before = 0;
        // The first one warms the gateway up.
        for streams in [1, STREAMS] {
            before = gateway.resident_kib();
            for _ in 0..streams {
                let mut client = client.clone().ready().await.unwrap();
                let request = Request::post("http://x.test/").body(()).unwrap();
                let (answer, stream) = client.send_request(request, false).unwrap();
                let written = written.clone();
                let sending = async move {
                    let mut stream = stream;
                    upload(&mut stream, &written).await;
                };
                uploads.push((answer, tokio::spawn(sending)));
            }
            let written = written.clone();
            tokio::task::spawn_blocking(move || settled(&written)).await.unwrap();
        }
        // A window that is full and what is kept for another attempt, 64 KiB each; the rest is the
        // allocator's. Megabytes without a bound.
        let each = (gateway.resident_kib() - before) / STREAMS;
        assert!(each <= 512, "{each} KiB each");
        // Nothing of a body is read from its stream now, and its end is noticed nevertheless.
        for (_, upload) in &uploads {
            upload.abort();
        }
        drop(uploads);
        let gateway = gateway.clone();
        let counting = tokio::task::spawn_blocking(move || {
            let sample = format!(
                "sallyport_upstream_requests_active{{upstream=\"up\",endpoint=\"{address}\"}}"
            );
            gateway.counts(&sample, 0.0);
        });
        counting.await.unwrap();
    });
}
