//! Origins that die and come back under load.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Client, Gateway, forward_all};

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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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

/// Sends requests one after the other until told to stop, and returns how many there were and the statuses that were
/// not 200.
fn load(
    web: SocketAddr,
    ended: &AtomicBool,
    mut next: impl FnMut() -> String,
) -> (usize, Vec<u16>) {
    let (mut count, mut bad) = (0, Vec::new());
    let mut client = Client::connect(web);
    while !ended.load(Ordering::Relaxed) {
        let answer = client.send(next()).try_receive(false);
        count += 1;
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            bad.push(answer.map_or(0, |answer| answer.status));
            client = Client::connect(web);
        }
        thread::sleep(Duration::from_millis(1));
    }
    (count, bad)
}

#[test]
fn no_get_fails_while_endpoints_die_and_come_back_and_no_post_is_sent_twice() {
    let origins = [(); 3].map(|()| Mortal::start());
    let gateway = Gateway::start(&forward_all(&origins.each_ref().map(|origin| origin.address)));
    let web = gateway.web();
    let ended = Arc::new(AtomicBool::new(false));
    let get = || "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let getters: Vec<_> = (0..6)
        .map(|_| {
            let ended = ended.clone();
            thread::spawn(move || load(web, &ended, get))
        })
        .collect();
    let posted = Arc::new(AtomicUsize::new(0));
    let posters: Vec<_> = (0..2)
        .map(|_| {
            let (ended, posted) = (ended.clone(), posted.clone());
            thread::spawn(move || {
                load(web, &ended, || {
                    let id = posted.fetch_add(1, Ordering::SeqCst);
                    format!("POST /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                })
            })
        })
        .collect();
    for round in 0..9 {
        thread::sleep(Duration::from_millis(400));
        let origin = &origins[round % 3];
        origin.kill();
        thread::sleep(Duration::from_millis(400));
        origin.revive();
    }
    thread::sleep(Duration::from_millis(400));
    ended.store(true, Ordering::Relaxed);
    let got: Vec<_> = getters.into_iter().map(|client| client.join().unwrap()).collect();
    let failed: Vec<_> = got.iter().flat_map(|(_, bad)| bad).collect();
    let gets: usize = got.iter().map(|(count, _)| count).sum();
    println!("{gets} GETs, {} failed", failed.len());
    assert!(gets > 100 && failed.is_empty(), "{gets} GETs, failed: {failed:?}");
    let mut served = 0;
    for (count, bad) in posters.into_iter().map(|client| client.join().unwrap()) {
        served += count - bad.len();
    }
    let mut arrived: HashMap<String, usize> = HashMap::new();
    for origin in &origins {
        for (path, times) in origin.life.posts.lock().unwrap().iter() {
            *arrived.entry(path.clone()).or_default() += times;
        }
    }
    assert!(arrived.values().all(|times| *times == 1), "a POST came twice");
    assert!(arrived.len() >= served, "{served} were answered, {} came", arrived.len());
    println!("{} POSTs, {served} answered", posted.load(Ordering::SeqCst));
}
