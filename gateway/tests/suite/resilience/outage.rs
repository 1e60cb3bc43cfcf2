//! Origins that die and come back under load, and one whose host is no more to be heard of.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, forward_all, missing, tool};

/// An origin that can be killed, connections and all, and be back at the same address.
struct Mortal {
    address: SocketAddr,
    life: Arc<Life>,
}

#[derive(Default)]
struct Life {
    dead: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    /// How often each POST has come.
    posts: Mutex<HashMap<String, usize>>,
}

impl Mortal {
    fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let mortal = Self { address: listener.local_addr().unwrap(), life: Arc::default() };
        mortal.live(listener);
        mortal
    }

    fn live(&self, listener: TcpListener) {
        let life = self.life.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if life.dead.load(Ordering::SeqCst) {
                    return;
                }
                life.streams.lock().unwrap().push(stream.try_clone().unwrap());
                let life = life.clone();
                thread::spawn(move || life.serve(stream));
            }
        });
    }

    /// As `kill -9`: nobody listens, and whatever was under way is reset.
    fn kill(&self) {
        self.life.dead.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in self.life.streams.lock().unwrap().drain(..) {
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).ok();
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    fn revive(&self) {
        let listener = (0..200).find_map(|_| {
            thread::sleep(Duration::from_millis(5));
            TcpListener::bind(self.address).ok()
        });
        self.life.dead.store(false, Ordering::SeqCst);
        self.live(listener.expect("the address is free again"));
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Life {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let mut head = String::new();
        while reader.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {
            if !head.ends_with("\r\n\r\n") {
                continue;
            }
            if head.starts_with("POST") {
                let mut body = [0; 2];
                if reader.read_exact(&mut body).is_err() {
                    return;
                }
                let path = head.split_whitespace().nth(1).unwrap().to_owned();
                *self.posts.lock().unwrap().entry(path).or_default() += 1;
            }
            let dead = self.dead.load(Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if dead || stream.write_all(answer).is_err() {
                return;
            }
            head.clear();
        }
    }
}

/// What a run is like. The long form is `make test-origins-long`.
struct Form {
    /// For each of which one endpoint dies, and comes back half-way.
    period: Duration,
    deaths: usize,
    /// Requests a second, of which a quarter are POST.
    rate: u32,
    is_long: bool,
}

impl Form {
    fn wanted() -> Self {
        if std::env::var_os("SALLYPORT_ORIGINS_LONG").is_some() {
            return Self { period: Duration::from_secs(5), deaths: 12, rate: 500, is_long: true };
        }
        Self { period: Duration::from_millis(800), deaths: 6, rate: 200, is_long: false }
    }
}

const CLIENTS: u32 = 8;

/// A request that was answered, or not.
struct Sent {
    /// Since the load began.
    at: Duration,
    took: Duration,
    /// 0 without an answer.
    status: u16,
    is_post: bool,
}

/// Clients that send requests at a rate of their own, answered or not.
struct Load {
    ended: Arc<AtomicBool>,
    began: Instant,
    posts: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<Vec<Sent>>>,
}

impl Load {
    fn begin(web: SocketAddr, rate: u32) -> Self {
        let (ended, posts) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (pause, began) = (Duration::from_secs(1) * CLIENTS / rate, Instant::now());
        let clients = (0..CLIENTS).map(|number| {
            let (ended, posts) = (ended.clone(), posts.clone());
            thread::spawn(move || {
                let posts = (number % 4 == 0).then_some(&*posts);
                run(web, pause, began, &ended, posts)
            })
        });
        let clients = clients.collect();
        Self { ended, began, posts, clients }
    }

    /// Ends it. Returns all that was sent.
    fn end(self) -> Vec<Sent> {
        self.ended.store(true, Ordering::Relaxed);
        let joined = self.clients.into_iter().map(|client| client.join().unwrap());
        let sent: Vec<_> = joined.flatten().collect();
        assert_eq!(sent.iter().filter(|it| it.is_post).count(), self.posts.load(Ordering::SeqCst));
        sent
    }
}

/// Sends requests until told to stop; POSTs, each to a path of its own, where they are counted.
fn run(
    web: SocketAddr,
    pause: Duration,
    began: Instant,
    ended: &AtomicBool,
    posts: Option<&AtomicUsize>,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut client = Client::connect(web);
    let mut due = began;
    while !ended.load(Ordering::Relaxed) {
        due += pause;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let at = began.elapsed();
        let request = match posts.map(|posts| posts.fetch_add(1, Ordering::SeqCst)) {
            None => "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            Some(id) => format!("POST /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
        };
        let answer = client.send(request).try_receive(false);
        let status = answer.map_or(0, |answer| answer.status);
        let took = began.elapsed().saturating_sub(at);
        sent.push(Sent { at, took, status, is_post: posts.is_some() });
        if status != 200 {
            client = Client::connect(web);
        }
    }
    sent
}

/// No POST has come twice, and each that was answered has come.
fn every_post_came_once(origins: &[Mortal], sent: &[Sent]) {
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for origin in origins {
        for (path, times) in origin.life.posts.lock().unwrap().iter() {
            *arrived.entry(path.clone()).or_default() += times;
        }
    }
    let answered = sent.iter().filter(|it| it.is_post && it.status == 200).count();
    let posts = sent.iter().filter(|it| it.is_post).count();
    println!("{posts} POSTs, {answered} answered, {} came", arrived.len());
    assert!(arrived.values().all(|times| *times == 1), "a POST came twice");
    assert!(
        (answered..=posts).contains(&arrived.len()),
        "{answered} of {posts}: {}",
        arrived.len()
    );
}

/// Statuses of GETs that were not 200.
fn failed_gets(sent: &[Sent]) -> Vec<u16> {
    let failed = sent.iter().filter(|it| !it.is_post && it.status != 200);
    failed.map(|it| it.status).collect()
}

/// Loads a gateway with `keys` on its route while endpoints die and come back.
fn while_endpoints_die(keys: &str, form: &Form) -> Vec<u16> {
    let origins = [(); 3].map(|()| Mortal::start());
    let yaml = forward_all(&origins.each_ref().map(|origin| origin.address))
        .replace("upstream: up }", &format!("upstream: up{keys} }}"));
    let gateway = Gateway::start(&yaml);
    let load = Load::begin(gateway.web(), form.rate);
    for death in 0..form.deaths {
        let origin = &origins[death % 3];
        thread::sleep(form.period / 2);
        origin.kill();
        thread::sleep(form.period / 2);
        origin.revive();
    }
    thread::sleep(form.period / 2);
    let sent = load.end();
    let failed = failed_gets(&sent);
    println!("{} requests, {} GETs failed{keys}", sent.len(), failed.len());
    assert!(sent.len() > 100);
    every_post_came_once(&origins, &sent);
    failed
}

#[test]
fn no_get_fails_while_endpoints_die_and_come_back_and_no_post_is_sent_twice() {
    let form = Form::wanted();
    let failed = while_endpoints_die("", &form);
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn no_post_is_sent_twice_where_retries_are_off() {
    // How many GETs fail then is chance: it is printed for comparison.
    while_endpoints_die(", retries: 0", &Form::wanted());
}

/// Where the test below is run anew: in a namespace of its own, where packets can be dropped.
const IN_NAMESPACE: &str = "SALLYPORT_TEST_IN_NAMESPACE";

#[test]
fn a_host_that_is_silent_all_of_a_sudden_costs_no_get_and_is_set_aside() {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return silent_host();
    }
    let test =
        "resilience::outage::a_host_that_is_silent_all_of_a_sudden_costs_no_get_and_is_set_aside";
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(IN_NAMESPACE, "1");
    let can = Command::new("unshare").args(["--net", "--map-root-user", "true"]).output();
    if !tool("ip") || !can.is_ok_and(|output| output.status.success()) {
        return missing("a network namespace");
    }
    let output = command.output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Nothing comes from 127.0.0.3 any more, neither an answer nor an acknowledgement.
struct Silence;

impl Silence {
    fn begin() -> Self {
        ip("rule add pref 10 from 127.0.0.3 blackhole");
        Self
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        ip("rule del pref 10");
    }
}

fn silent_host() {
    ip("link set lo up");
    // So that a rule can come before the table that delivers to this host.
    ip("rule add pref 100 lookup local");
    ip("rule del pref 0");
    let origins = [2, 3, 4].map(|last| Mortal::start_at(&format!("127.0.0.{last}:0")));
    let gateway = Gateway::start(
        &forward_all(&origins.each_ref().map(|origin| origin.address))
            .replace("  - name: up\n", "  - name: up\n    timeouts: { connect: 1s }\n"),
    );
    let form = Form::wanted();
    let calm = Duration::from_secs(if form.is_long { 10 } else { 2 });
    let load = Load::begin(gateway.web(), form.rate);
    thread::sleep(calm);
    let dropped = load.began.elapsed();
    let silence = Silence::begin();
    gateway.logged("endpoint set aside");
    let settled = Duration::from_secs(3);
    thread::sleep((dropped + settled + calm).saturating_sub(load.began.elapsed()));
    let sent = load.end();
    drop(silence);
    let failed = failed_gets(&sent);
    let p99 = |from: Duration, until: Duration| {
        let within = sent.iter().filter(|it| (from..until).contains(&it.at));
        let mut took: Vec<_> = within.map(|it| it.took).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    };
    let before = p99(calm / 2, dropped);
    let after = p99(dropped + settled, Duration::MAX);
    println!("{} requests, {} GETs failed, p99 {before:?} and {after:?}", sent.len(), failed.len());
    assert!(failed.is_empty(), "failed: {failed:?}");
    assert!(!form.is_long || after <= before * 2, "{before:?} before and {after:?} after");
    every_post_came_once(&origins, &sent);
}
