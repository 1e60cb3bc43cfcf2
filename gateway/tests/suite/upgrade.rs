//! Upgrades: the binary now on disk takes over every socket, and nothing is lost; one that cannot serve
//! changes nothing.

#[path = "upgrade/encrypted.rs"]
mod encrypted;
#[path = "upgrade/state.rs"]
mod state;
#[path = "upgrade/tunnels.rs"]
mod tunnels;

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use crate::support::{
    Client, Gateway, Origin, eventually, forward_all, get, sallyport, write_by_rename,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway whose binary is a file of its own, and the processes that have replaced it.
struct Upgradable {
    gateway: Gateway,
    folder: TempDir,
    processes: Vec<u32>,
}

impl Upgradable {
    fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("sallyport");
        let built = sallyport();
        symlink(built.get_program(), &binary).unwrap();
        let mut command = Command::new(&binary);
        for (name, value) in built.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let gateway = Gateway::start_with(yaml, command);
        Self { gateway, folder, processes: Vec::new() }
    }

    fn binary(&self) -> PathBuf {
        self.folder.path().join("sallyport")
    }

    /// Puts a script in the place of the binary.
    fn replace_by_script(&self, text: &str, mode: u32) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&beside, self.binary()).unwrap();
    }

    fn ask(&self, admin: &str) -> Output {
        sallyport().args(["upgrade", "--admin", admin]).output().unwrap()
    }

    /// Upgrades and returns the new process.
    fn upgrade(&mut self, admin: &str) -> u32 {
        let output = self.ask(admin);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let process = said.split("process ").nth(1).unwrap().split(' ').next().unwrap();
        self.processes.push(process.parse().unwrap());
        self.processes[self.processes.len() - 1]
    }

    /// Asks for an upgrade that fails; why.
    fn fail(&self) -> String {
        let output = self.ask(&self.gateway.admin().to_string());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

impl Drop for Upgradable {
    fn drop(&mut self) {
        for process in &self.processes {
            // Those that were replaced have ended.
            drop(Command::new("kill").args(["-9", &process.to_string()]).output());
        }
    }
}

fn is_running(process: u32) -> bool {
    // One that has ended and was not waited for is a zombie.
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

/// A client that sends one request each time it is called, and fails the test if that fails.
type Requests = Box<dyn FnMut() + Send>;

/// Clients that send one request after the other.
struct Load {
    ended: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients without TLS, on connections that are kept or not.
    fn on(address: SocketAddr) -> Self {
        Self::of([true, true, false].map(|keeps| in_clear(address, keeps)))
    }

    fn of(clients: impl IntoIterator<Item = Requests>) -> Self {
        let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |mut request: Requests| {
            let (ended, served) = (ended.clone(), served.clone());
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    request();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = clients.into_iter().map(client).collect();
        Self { ended, served, clients }
    }

    /// Waits until another request was served.
    fn goes_on(&self) {
        let before = self.served.load(Ordering::Relaxed);
        eventually("requests", || (self.served.load(Ordering::Relaxed) > before).then_some(()));
    }

    /// Ends it; how many requests were served. None may have failed.
    fn end(self) -> usize {
        self.ended.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request failed");
        }
        self.served.load(Ordering::Relaxed)
    }
}

fn in_clear(address: SocketAddr, keeps: bool) -> Requests {
    let mut kept = None;
    Box::new(move || {
        let mut client = kept.take().unwrap_or_else(|| Client::connect(address));
        let answer = client.send(GET).try_receive(false).expect("an answer");
        assert_eq!(answer.status, 200);
        if keeps && answer.field("connection").as_deref() != Some("close") {
            kept = Some(client);
        }
    })
}

#[test]
fn twenty_upgrades_under_load_lose_nothing() {
    let origin = Origin::named("a");
    let mut upgradable = Upgradable::start(&forward_all(&[origin.address]));
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let first = upgradable.gateway.pid();
    let load = Load::on(web);
    for _ in 0..20 {
        upgradable.upgrade(&admin);
        load.goes_on();
    }
    assert!(load.end() > 100);
    assert!(upgradable.gateway.wait().success(), "the first process has drained");
    assert!(!is_running(first));
    let (last, others) = upgradable.processes.split_last().unwrap();
    for process in others {
        eventually("those between to end", || (!is_running(*process)).then_some(()));
    }
    assert!(is_running(*last));
    assert_eq!(get(web, "a", "/").status, 200);
}

#[test]
fn what_is_under_way_is_finished_by_the_old_process() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |request, stream| {
        if request.request_line().contains("/slow") {
            released.lock().unwrap().recv().ok();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    let mut upgradable = Upgradable::start(&forward_all(&[origin.address]));
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let mut slow = Client::connect(web);
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut idle = Client::connect(web);
    assert_eq!(idle.send(GET).receive().status, 200);
    eventually("it at the origin", || (origin.requests().len() == 2).then_some(()));
    upgradable.upgrade(&admin);
    // A connection that was kept is told with its next answer.
    let answer = idle.send(GET).receive();
    assert_eq!((answer.status, answer.field("connection").as_deref()), (200, Some("close")));
    let mut new = Client::connect(web);
    assert_eq!(new.send(GET).receive().field("connection").as_deref(), Some("keep-alive"));
    release.send(()).unwrap();
    assert_eq!(slow.receive().body, "ok");
    assert!(upgradable.gateway.wait().success());
}

#[test]
fn a_binary_or_a_file_that_is_no_good_changes_nothing_and_is_told() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]);
    let mut upgradable = Upgradable::start(&yaml);
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let load = Load::on(web);
    for (script, mode, reason) in [
        ("#!/bin/sh\nexit 3\n", 0o755, "ended (exit status: 3) before it served"),
        ("#!/bin/sh\nkill -SEGV $$\n", 0o755, "ended (signal: 11"),
        ("#!/bin/sh\nexec <&-\nexit 0\n", 0o755, "ended (exit status: 0) before it served"),
        ("#!/bin/sh\nexit 0\n", 0o644, "cannot be started: Permission denied"),
        ("\x7fELF", 0o755, "cannot be started"),
    ] {
        upgradable.replace_by_script(script, mode);
        let said = upgradable.fail();
        assert!(said.contains(reason), "{said}\nlacks {reason}");
        assert!(said.contains("the gateway serves on"), "{said}");
    }
    std::fs::remove_file(upgradable.binary()).unwrap();
    assert!(upgradable.fail().contains("No such file"));
    symlink(sallyport().get_program(), upgradable.binary()).unwrap();
    write_by_rename(&upgradable.gateway.config, "nonsense: 1\n");
    upgradable.gateway.logged("configuration refused");
    let said = upgradable.fail();
    assert!(said.contains("nonsense") && said.contains("sallyport.yaml:1"), "{said}");
    assert!(load.end() > 0);
    assert!(is_running(upgradable.gateway.pid()));
    write_by_rename(&upgradable.gateway.config, &yaml);
    upgradable.upgrade(&admin);
    assert!(upgradable.gateway.wait().success());
    assert_eq!(get(web, "a", "/").status, 200);
}

#[test]
fn a_signal_upgrades_and_a_unix_socket_goes_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]).replace(
        "admin: { address: 127.0.0.1:0 }",
        &format!("admin: {{ address: \"unix:{}\" }}", socket.display()),
    );
    let mut upgradable = Upgradable::start(&yaml);
    let web = upgradable.gateway.web();
    upgradable.gateway.signal("-USR2");
    let line = upgradable.gateway.logged("upgraded: another process serves");
    let process = line.split("process=").nth(1).unwrap().split(' ').next().unwrap();
    upgradable.processes.push(process.parse().unwrap());
    assert!(upgradable.gateway.wait().success());
    assert!(socket.exists(), "it is the new process's");
    assert_eq!(get(web, "a", "/").status, 200);
    // By the file, which says where the admin listener is.
    let config = upgradable.gateway.config.clone();
    let by_file =
        |config: &Path| sallyport().args(["upgrade", "--config"]).arg(config).output().unwrap();
    // The process that took over may not be done with its own start yet, and says so.
    let output = eventually("an upgrade by the file", || {
        let output = by_file(&config);
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.success().then_some(output)
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let process: u32 =
        said.split("process ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    upgradable.processes.push(process);
    assert_eq!(get(web, "a", "/").status, 200);
    assert!(Command::new("kill").args(["-TERM", &process.to_string()]).status().unwrap().success());
    eventually("the last to end", || (!is_running(process)).then_some(()));
    eventually("its socket to go", || (!socket.exists()).then_some(()));
    let output = by_file(&config);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be asked"));
}
