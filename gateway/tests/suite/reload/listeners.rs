//! Listeners that come, move, change and go with an edit, while others serve on.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::support::{Client, Gateway, Origin, PATIENCE, eventually, forward_all, get};

/// Listeners as written, and one route that answers everything.
fn listening(listeners: &[&str], admin: SocketAddr) -> String {
    let listeners: String = listeners.iter().map(|it| format!("  - {{ {it} }}\n")).collect();
    format!(
        "listeners:\n{listeners}admin: {{ address: {admin} }}\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: ok, respond: {{ status: 200, body: ok }} }}\n"
    )
}

/// An address that nobody listens on: a loopback address of its own, so that no other test is given the
/// port before the gateway takes it.
fn free() -> SocketAddr {
    static TAKEN: AtomicUsize = AtomicUsize::new(1);
    let [.., high, low] = TAKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let own = IpAddr::from([127, 77, high, low]);
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

/// Whether one request at `address` is answered; `None` if nobody listens.
fn status(address: SocketAddr) -> Option<u16> {
    TcpStream::connect(address).ok()?;
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.try_receive(false).map(|response| response.status)
}

fn serves(address: SocketAddr) {
    eventually(&format!("{address} to serve"), || (status(address) == Some(200)).then_some(()));
}

fn is_closed(address: SocketAddr) {
    eventually(&format!("{address} to be closed"), || TcpStream::connect(address).err());
}

/// Clients that ask on and on until this is dropped, half of them on a new connection each time.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<usize>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |index: usize| {
            let (stop, answered) = (stop.clone(), answered.clone());
            thread::spawn(move || {
                let mut kept = Client::connect(address);
                let mut failed = 0;
                while !stop.load(Ordering::Relaxed) {
                    if index.is_multiple_of(2) {
                        kept = Client::connect(address);
                    }
                    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    match kept.try_receive(false) {
                        Some(response) if response.status == 200 => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => failed += 1,
                    }
                }
                failed
            })
        };
        let clients = (0..4).map(client).collect();
        Self { stop, answered, clients }
    }

    /// Waits for some more answers.
    fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("answers", || {
            (self.answered.load(Ordering::Relaxed) > before + 40).then_some(())
        });
    }

    /// How many requests were not answered.
    fn failed(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().unwrap()).sum()
    }
}

#[test]
fn a_listener_is_added_moved_and_removed_while_another_serves_on() {
    let [web, first, second] = [free(), free(), free()];
    let admin = free();
    let one = format!("name: web, address: {web}");
    let gateway = Gateway::start(&listening(&[&one], admin));
    let load = Load::on(web);
    load.goes_on();
    for _ in 0..3 {
        for other in [first, second] {
            let more = format!("name: more, address: {other}");
            // Whatever the order in the file.
            gateway.replace(&listening(&[&more, &one], admin));
            serves(other);
            load.goes_on();
        }
        is_closed(first);
        gateway.replace(&listening(&[&one], admin));
        is_closed(second);
        load.goes_on();
    }
    assert_eq!(load.failed(), 0);
    assert!(gateway.metric("sallyport_connections_total{listener=\"web\"}").unwrap() > 100.0);
    eventually("the removed listener's figures to leave", || {
        gateway.metric("sallyport_connections_total{listener=\"more\"}").is_none().then_some(())
    });
}

#[test]
fn a_listener_that_has_another_name_keeps_its_socket_and_its_connections() {
    let (web, admin) = (free(), free());
    let named = |name: &str| listening(&[&format!("name: {name}, address: {web}")], admin);
    let gateway = Gateway::start(&named("web"));
    let load = Load::on(web);
    for name in ["front", "web", "front", "web"] {
        gateway.replace(&named(name));
        let total = format!("sallyport_connections_total{{listener=\"{name}\"}}");
        eventually("connections by its new name", || {
            gateway.metric(&total).filter(|total| *total > 10.0)
        });
        load.goes_on();
    }
    assert_eq!(load.failed(), 0);
}

#[test]
fn a_listener_that_cannot_be_bound_is_a_problem_with_its_line_and_nothing_changes() {
    let (web, admin) = (free(), free());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = format!("name: web, address: {web}");
    let gateway = Gateway::start(&listening(&[&one], admin));
    let more = format!("name: more, address: {}", taken.local_addr().unwrap());
    let edited = listening(&[&one, &more], admin).replace("body: ok", "body: edited");
    std::fs::write(&gateway.config, &edited).unwrap();
    let line = gateway.logged("listeners[1].address: cannot listen on 127.0.0.1:");
    assert!(line.contains("sallyport.yaml:3: ") && line.contains("in use"), "{line}");
    assert!(line.contains("ss -ltnp"), "{line}");
    assert_eq!((gateway.version(), &*get(web, "a", "/").body), (1, "ok"));
    let refused = gateway.config_view()["refused"]["problems"][0].to_string();
    assert!(refused.contains("listeners[1].address"), "{refused}");
    // Only an address of this host can be bound, and the other is not there afterwards either.
    let far = format!("name: far, address: \"192.0.2.1:{}\"", web.port());
    let other = free();
    let third = format!("name: third, address: {other}");
    std::fs::write(&gateway.config, listening(&[&one, &third, &far], admin)).unwrap();
    gateway.logged("listeners[2].address: cannot listen on 192.0.2.1:");
    is_closed(other);
    drop(taken);
    gateway.replace(&(edited + "# again\n"));
    assert_eq!(get(web, "a", "/").body, "edited");
}

#[test]
fn a_listener_moves_to_the_same_port_on_other_addresses() {
    let (web, admin) = (free(), free());
    let port = web.port();
    let at = |ip: &str| listening(&[&format!("name: web, address: \"{ip}:{port}\"")], admin);
    let gateway = Gateway::start(&at(&web.ip().to_string()));
    let elsewhere = SocketAddr::new(free().ip(), port);
    gateway.replace(&at("0.0.0.0"));
    serves(elsewhere);
    serves(web);
    gateway.replace(&at(&elsewhere.ip().to_string()));
    is_closed(web);
    serves(elsewhere);
}

#[test]
fn two_listeners_swap_their_addresses() {
    let [first, second] = [free(), free()];
    let admin = free();
    let hosts = |web: SocketAddr, other: SocketAddr| {
        let web = format!("name: web, address: {web}, virtual_hosts: [all]");
        let other = format!("name: other, address: {other}, virtual_hosts: [other]");
        listening(&[&web, &other], admin)
            + "  - { name: other, domains: [\"*\"], routes: [ { name: r, respond: { status: 201 } } ] }\n"
    };
    let gateway = Gateway::start(&hosts(first, second));
    assert_eq!((status(first), status(second)), (Some(200), Some(201)));
    gateway.replace(&hosts(second, first));
    eventually("the other way round", || {
        ((status(first), status(second)) == (Some(201), Some(200))).then_some(())
    });
}

#[test]
fn a_removed_listener_closes_idle_connections_and_finishes_what_is_under_way() {
    let (sender, waits) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let origin = Origin::start(move |_, stream| {
        sender.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
        std::io::Write::write_all(stream, answer).is_ok()
    });
    let more = free();
    let one = forward_all(&[origin.address]);
    let both = one.replace("\nadmin", &format!("\n  - {{ name: more, address: {more} }}\nadmin"));
    let gateway = Gateway::start(&both);
    let mut idle = Client::connect(more);
    let mut busy = Client::connect(more);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    waits.recv_timeout(PATIENCE).unwrap();
    gateway.replace(&one);
    assert!(idle.is_closed());
    is_closed(more);
    gateway.counts("sallyport_connections_active{listener=\"more\"}", 1.0);
    go.send(()).unwrap();
    let response = busy.receive();
    assert_eq!((response.status, &*response.body), (200, "late"));
    assert_eq!(response.field("connection").as_deref(), Some("close"));
    assert!(busy.is_closed());
}

#[test]
fn a_listener_begins_and_ceases_to_speak_http2() {
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (web, admin) = (free(), free());
    let with = |h2c: bool| listening(&[&format!("name: web, address: {web}, h2c: {h2c}")], admin);
    let gateway = Gateway::start(&with(false));
    let speaks = || {
        let mut client = Client::connect(web);
        client.send(PREFACE);
        // The frame of its settings, or an answer of HTTP/1.
        client.read_exact(4)[3] == 4
    };
    assert!(!speaks());
    gateway.replace(&with(true));
    assert!(speaks());
    assert_eq!(status(web), Some(200));
    gateway.replace(&with(false));
    assert!(!speaks());
}

#[test]
fn the_admin_listener_moves_and_goes() {
    let (web, first, second) = (free(), free(), free());
    let one = format!("name: web, address: {web}");
    let gateway = Gateway::start(&listening(&[&one], first));
    crate::support::write_by_rename(&gateway.config, &listening(&[&one], second));
    eventually("the admin listener elsewhere", || {
        TcpStream::connect(second).ok()?;
        (get(second, "admin", "/healthz").status == 200).then_some(())
    });
    is_closed(first);
    let none = listening(&[&one], second).replace(&format!("admin: {{ address: {second} }}\n"), "");
    crate::support::write_by_rename(&gateway.config, &none);
    is_closed(second);
    assert_eq!(status(web), Some(200));
}
