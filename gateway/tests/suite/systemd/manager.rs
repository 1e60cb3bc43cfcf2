//! A service manager, as far as the gateway deals with one: it opens sockets, keeps them, and
//! watches.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use crate::support::{Client, Gateway, Origin, PATIENCE, config, forward_all, get, sallyport};

/// Hands its standard input over as the first of a manager's sockets, called `$0`.
const ACTIVATE: &str =
    "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=\"$0\"; exec \"$@\"";

/// The gateway with `socket` handed over as `name`.
fn activated(name: &str, socket: &TcpListener) -> Command {
    let gateway = sallyport();
    let mut command = Command::new("sh");
    command.args(["-c", ACTIVATE, name]).arg(gateway.get_program());
    for (name, value) in gateway.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

fn at(address: SocketAddr, origin: SocketAddr) -> String {
    forward_all(&[origin]).replacen("127.0.0.1:0", &address.to_string(), 1)
}

#[test]
fn a_socket_that_the_manager_opened_is_served_and_outlives_a_process_that_is_killed() {
    let origin = Origin::named("a");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let yaml = at(address, origin.address);
    let first = Gateway::start_with(&yaml, activated("web", &socket));
    assert_eq!(first.web(), address);
    for _ in 0..20 {
        assert_eq!(get(address, "a", "/").status, 200);
    }
    first.signal("-KILL");
    drop(first);
    // Nobody is refused while nobody serves.
    let mut waiting: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let second = Gateway::start_with(&yaml, activated("web", &socket));
    for client in &mut waiting {
        assert_eq!(client.receive().status, 200);
    }
    // A listener that is gone is not kept open by the number that it came as.
    drop(socket);
    second.replace(&yaml.replacen(&address.to_string(), "127.0.0.1:0", 1));
    crate::support::eventually("nobody to listen there", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn a_socket_for_another_address_is_closed_and_the_admin_listener_may_have_one() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let admin = config("")
        .replace("admin: { address: 127.0.0.1:0", &format!("admin: {{ address: {address}"));
    let gateway = Gateway::start_with(&admin, activated("admin", &socket));
    assert_eq!(gateway.admin(), address);
    assert_eq!(get(address, "localhost", "/healthz").status, 200);
    drop(gateway);
    let other = Gateway::start_with(&config(""), activated("web", &socket));
    assert_ne!(other.web(), address);
    drop(socket);
    crate::support::eventually("nobody to listen there", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}

/// A message to the manager, and the descriptor that came with it.
type Message = (String, Option<OwnedFd>);

/// The manager's end of the notification socket. It reads what comes at once, as a manager does:
/// who has something to say waits for that.
struct Manager {
    folder: TempDir,
    messages: mpsc::Receiver<Message>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let (sender, messages) = mpsc::channel();
        // Ends with the test.
        thread::spawn(move || while sender.send(receive(&socket)).is_ok() {});
        Self { folder, messages }
    }

    fn managed(&self) -> Command {
        let mut command = sallyport();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    fn told(&self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("a message")
    }

    /// Reads on until a message has all of `lines`; the descriptor that came with it.
    fn until(&self, lines: &[&str]) -> Option<OwnedFd> {
        loop {
            let (message, descriptor) = self.told();
            if lines.iter().all(|line| message.lines().any(|it| it == *line)) {
                return descriptor;
            }
        }
    }
}

fn receive(socket: &UnixDatagram) -> Message {
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let read = recvmsg(socket, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let descriptor = descriptors.next();
    (String::from_utf8_lossy(&bytes[..read]).into_owned(), descriptor)
}

#[test]
fn the_manager_keeps_every_listening_socket_and_no_other() {
    let manager = Manager::new();
    let two = |listeners: &str| {
        config("").replace("  - { name: web, address: 127.0.0.1:0 }\n", listeners)
    };
    let web = "  - { name: web, address: 127.0.0.1:0 }\n";
    let both = two(&format!("{web}  - {{ name: more, address: 127.0.0.1:0 }}\n"));
    let gateway = Gateway::start_with(&both, manager.managed());
    let mut kept = Vec::new();
    while kept.len() < 5 {
        let (message, descriptor) = manager.told();
        if message.lines().any(|line| line == "FDSTORE=1") {
            let name = message.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap();
            let socket = TcpListener::from(descriptor.expect("a socket"));
            kept.push((name.to_owned(), socket.local_addr().unwrap()));
        }
    }
    // One for each of two workers, and the admin listener's.
    kept.sort();
    let expected = [
        ("admin", gateway.admin()),
        ("more", gateway.address("more")),
        ("more", gateway.address("more")),
        ("web", gateway.web()),
        ("web", gateway.web()),
    ];
    assert_eq!(kept, expected.map(|(name, address)| (name.to_owned(), address)));
    manager.until(&["READY=1"]);
    gateway.replace(&two(web));
    manager.until(&["FDSTOREREMOVE=1", "FDNAME=more"]);
}

#[test]
fn the_watchdog_is_fed_by_a_process_and_by_the_one_that_replaces_it() {
    let manager = Manager::new();
    let mut command = manager.managed();
    command.env("WATCHDOG_USEC", "400000");
    let mut gateway = Gateway::start_with(&config(""), command);
    manager.until(&["READY=1"]);
    for _ in 0..3 {
        manager.until(&["WATCHDOG=1"]);
    }
    let admin = gateway.admin().to_string();
    let output = sallyport().args(["upgrade", "--admin", &admin]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let process = said.split("process ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let ended = gateway.wait().success();
    // More than the old one can have left in the queue (net.unix.max_dgram_qlen).
    for _ in 0..20 {
        manager.until(&["WATCHDOG=1"]);
    }
    Command::new("kill").args(["-9", &process]).status().unwrap();
    assert!(ended);
}
