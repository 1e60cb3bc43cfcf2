//! Receivers that take everything, are not there, or never read.

use std::{
    net::UdpSocket,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sallyport_stats::push::{
    ExporterSpec,
    net::Address,
    statsd::{DogStatsdConfig, StatsdConfig, TagStyle},
};

/// How receivers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They read.
    Alive,
    /// Nobody is there.
    Dead,
    /// They are there, and never read.
    Slow,
}

/// Three receivers of a kind, and the exporters to them.
pub(crate) struct Sinks {
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
    silent: Vec<(UnixDatagram, PathBuf)>,
    addresses: Vec<Address>,
}

impl Sinks {
    pub(crate) fn new(kind: Kind) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (readers, silent) = (Vec::new(), Vec::new());
        let mut sinks = Self { stop, readers, silent, addresses: Vec::new() };
        for index in 0..3 {
            match kind {
                Kind::Alive => sinks.alive(),
                Kind::Dead => sinks.dead(),
                Kind::Slow => sinks.slow(index),
            }
        }
        sinks
    }

    fn alive(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("it is not zero");
        let port = socket.local_addr().expect("it is bound").port();
        self.addresses.push(Address::Udp("127.0.0.1".into(), port));
        let stop = Arc::clone(&self.stop);
        self.readers.push(thread::spawn(move || {
            let mut room = [0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                // Nothing there is as good as something.
                drop(socket.recv(&mut room));
            }
        }));
    }

    fn dead(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let port = socket.local_addr().expect("it is bound").port();
        self.addresses.push(Address::Udp("127.0.0.1".into(), port));
    }

    fn slow(&mut self, index: usize) {
        let name = format!("sallyport-bench-{}-{index}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).expect("the name is its own");
        self.addresses.push(Address::Unix(path.clone()));
        self.silent.push((socket, path));
    }

    /// One exporter to each.
    pub(crate) fn specs(&self) -> Vec<ExporterSpec> {
        let [first, second, third] = [0, 1, 2].map(|index| self.addresses[index].clone());
        let tagged = StatsdConfig { tags: TagStyle::Librato, ..StatsdConfig::new(third) };
        vec![
            DogStatsdConfig::new(first).spec("dogstatsd"),
            StatsdConfig::new(second).spec("statsd"),
            tagged.spec("tagged"),
        ]
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            reader.join().expect("it does not panic");
        }
        for (_, path) in &self.silent {
            std::fs::remove_file(path).expect("it is ours");
        }
    }
}
