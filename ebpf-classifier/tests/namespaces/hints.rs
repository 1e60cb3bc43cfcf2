//! What the classifier saw decides a route; an edit of its file moves it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::edge::{Edge, SCREEN};
use crate::net::{CLIENTS, connect, eventually, get};
use crate::program::can_load;

const ROUTES: &str = "      - { name: office, match: { hint: { network: office } }, respond: { status: 200, body: office } }
      - { name: guests, match: { hint: { network: guests, protocol: http1, zone: internet } }, respond: { status: 200, body: guests } }
      - { name: rest, respond: { status: 200, body: rest } }";

#[test]
fn two_source_networks_take_two_routes_and_an_edit_moves_one() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier(
        "[{ name: office, cidrs: [10.77.0.2/32] }, { name: guests, cidrs: [10.77.0.3/32] }]",
        SCREEN,
    );
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    edge.hints_in_use();
    let ends = |edge: &Edge, source, body: &str| {
        edge.net.get(source, address, "/").is_some_and(|response| response.ends_with(body))
    };
    assert!(ends(&edge, CLIENTS[0], "office"));
    assert!(ends(&edge, CLIENTS[1], "guests"));
    assert!(ends(&edge, CLIENTS[2], "rest"));
    let waited = edge.gateway_metric("sallyport_classifier_syn_to_request_seconds_count");
    assert_eq!(waited, Some(3.0));
    let counted = edge.gateway_metric("sallyport_classifier_requests_total");
    assert_eq!(counted, Some(3.0));

    // Requests go on all the while; each has to be answered.
    let (ended, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stop, failures) = (ended.clone(), failed.clone());
    let load = edge.net.at_client(move || {
        let mut requests = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            requests += 1;
            if get(CLIENTS[1], address, "/").is_none() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        requests
    });
    let edited = Instant::now();
    edge.write_classifier("[{ name: office, cidrs: [10.77.0.2/32, 10.77.0.3/32] }]", SCREEN);
    eventually("the network to have moved", || ends(&edge, CLIENTS[1], "office").then_some(()));
    let took = edited.elapsed();
    ended.store(true, Ordering::Relaxed);
    let requests = load.join().unwrap();
    assert!(requests > 0);
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {requests} requests");
    println!("a network moved {} ms after the edit, {requests} requests, 0 lost", took.as_millis());
    assert!(took < Duration::from_millis(500), "{took:?}");
    // No packet was dropped for any reason.
    for reason in classifier_abi::Reason::ALL {
        assert_eq!(edge.counted(reason.label()).1, 0, "{}", reason.label());
    }
}

#[test]
fn a_dropped_network_is_dropped_and_counted() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[{ name: bad, cidrs: [10.77.0.3/32], action: drop }]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    assert!(edge.net.get(CLIENTS[0], address, "/").is_some());
    assert!(edge.net.get(CLIENTS[1], address, "/").is_none());
    assert!(edge.counted("network").1 > 0);
}

/// Answers with the hints that it was sent.
const ORIGIN: &str = "import http.server, socketserver
class Origin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hints = [f'{k.lower()}={v}' for k, v in self.headers.items() if k.lower().startswith('x-sallyport-')]
        body = ' '.join(sorted(hints)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
socketserver.ThreadingTCPServer(('127.0.0.1', 18081), Origin).serve_forever()";

#[test]
fn an_origin_is_told_what_was_seen_and_nothing_that_a_client_made_up() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[{ name: office, cidrs: [10.77.0.2/32] }]", SCREEN);
    edge.start_classifier();
    let _origin = edge.net.start(&["python3", "-c", ORIGIN]);
    let address = edge.start_gateway(
        "      - { name: all, forward: { upstream: up } }",
        "upstreams:\n  - name: up\n    endpoints:\n      - { address: 127.0.0.1:18081 }",
    );
    edge.hints_in_use();
    let ask = |edge: &Edge| {
        let asked = edge.net.at_client(move || {
            let mut stream = connect(CLIENTS[0], address, Duration::from_secs(2))?;
            let forged = "X-Sallyport-Network: vault\r\nx-sallyport-screens: none";
            let request =
                format!("GET / HTTP/1.1\r\nHost: a\r\n{forged}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).ok()?;
            let mut response = String::new();
            stream.read_to_string(&mut response).ok()?;
            response.contains(" 200 ").then_some(response)
        });
        asked.join().unwrap()
    };
    let response = eventually("the origin to answer", || ask(&edge));
    let told = response.rsplit("\r\n\r\n").next().unwrap();
    assert!(told.contains("x-sallyport-network=office"), "{told}");
    assert!(told.contains("x-sallyport-zone=internet"), "{told}");
    assert!(told.contains("x-sallyport-protocol=http1"), "{told}");
    assert!(told.contains("x-sallyport-syn-rate="), "{told}");
    assert!(!told.contains("vault") && !told.contains("screens"), "{told}");
}
