//! A network namespace with an interface, a folder of pins, a file, and loaders that run there.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::BpfFs;

/// Long enough for the verifier on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// `nobody`, who has no capability but those that a test gives.
const NOBODY: u32 = 65_534;

/// Where loaders run. Everything of it goes with this value.
pub(crate) struct World {
    namespace: String,
    folder: TempDir,
    bpf: BpfFs,
    /// Root with everything, or `nobody` with these.
    pub(crate) capabilities: Option<Vec<&'static str>>,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let namespace = format!("sallyport-{name}-{}", std::process::id());
        done(Command::new("ip").args(["netns", "add", &namespace]));
        let folder = tempfile::tempdir().unwrap();
        let world = Self { namespace, folder, bpf: BpfFs::mount(), capabilities: None };
        world.ip(&["link", "set", "lo", "up"]);
        world.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "peer0"]);
        let text = format!(
            "pin_path: {}\n\
             metrics: {{ address: 127.0.0.1:0 }}\n\
             limits: {{ sources: 1024, flows: 1024, verdicts: 1024, networks: 64, handshakes: 64 }}\n\
             interfaces:\n\
             - {{ name: eth0, zone: internet }}\n\
             zones:\n\
             - {{ id: 1, name: internet, screen: edge }}\n\
             networks: [ {{ name: office, cidrs: [10.0.0.0/8] }} ]\n\
             screens: [ {{ name: edge, unparsable: off, land: drop }} ]\n",
            world.pins().display()
        );
        fs::write(world.file(), text).unwrap();
        // Readable for `nobody` as well, and the pins its own.
        for folder in [world.folder.path(), world.bpf.path()] {
            fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
        }
        fs::create_dir(world.pins()).unwrap();
        chown(world.pins(), Some(NOBODY), None).unwrap();
        world
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.bpf.path().join("pins")
    }

    /// The namespace's file.
    pub(crate) fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("classifier.yaml")
    }

    /// Writes a file beside the configuration, by a rename.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// Where a file beside the configuration is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts another command of the binary.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started(Some(child))
    }

    /// Waits until `condition` holds.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < PATIENCE, "did not come true: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes a file beside the configuration.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Puts the other end of the pair into a namespace of its own, with these addresses.
    pub(crate) fn peer(&self, first: &str, second: &str) -> Peer {
        let namespace = format!("{}-peer", self.namespace);
        done(Command::new("ip").args(["netns", "add", &namespace]));
        let peer = Peer { namespace };
        self.ip(&["link", "set", "peer0", "netns", &peer.namespace]);
        for address in [first, second] {
            peer.ip(&["addr", "add", address, "dev", "peer0"]);
        }
        peer.ip(&["link", "set", "peer0", "up"]);
        peer
    }

    /// Replaces what must be in the file.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        assert!(text.contains(from), "{from:?} is not in the file");
        fs::write(self.file(), text.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        done(Command::new("ip").args(["-n", &self.namespace]).args(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        if let Some(capabilities) = &self.capabilities {
            let set = capabilities.iter().map(|one| format!(",+{one}")).collect::<String>();
            let set = format!("-all{set}");
            let user = NOBODY.to_string();
            command.args(["setpriv", "--clear-groups", "--reuid", &user, "--regid", &user]);
            for which in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
                command.args([which, &set]);
            }
        }
        command.arg(env!("CARGO_BIN_EXE_sallyport-classifier")).args(arguments);
        command.arg("--config").arg(self.file());
        command
    }

    /// Starts a loader.
    pub(crate) fn run(&self, arguments: &[&str]) -> Loader {
        let log = self.folder.path().join(format!("log-{}", next()));
        let mut command = self.command(&["run"]);
        command.args(arguments).stderr(File::create(&log).unwrap()).stdout(Stdio::null());
        Loader { child: command.spawn().unwrap(), log, read: Mutex::new(0) }
    }

    /// Starts a loader that must refuse; returns the one line that says why.
    pub(crate) fn fails(&self) -> String {
        let output = self.command(&["run"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    }

    /// What a scrape of the loader at `address` says.
    pub(crate) fn metrics(&self, address: &str) -> String {
        let url = format!("http://{address}/metrics");
        let curl = ["netns", "exec", &self.namespace, "curl", "-sS", "--max-time", "10", &url];
        done(Command::new("ip").args(curl))
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let text = done(&mut self.command(&["status", "--json"]));
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.namespace]).status());
    }
}

/// A command at work.
pub(crate) struct Started(Option<Child>);

impl Started {
    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let pid = Pid::from_child(self.0.as_ref().unwrap());
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ends(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a client is. It goes with this value.
pub(crate) struct Peer {
    namespace: String,
}

impl Peer {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn ip(&self, arguments: &[&str]) -> String {
        done(Command::new("ip").args(["-n", &self.namespace]).args(arguments))
    }

    /// Whether 192.0.2.1 answers to `source`.
    pub(crate) fn ping(&self, source: &str) -> bool {
        let script = "\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
    client.settimeout(1)
    client.bind((sys.argv[1], 0))
    try:
        client.connect(('192.0.2.1', 9))
    except ConnectionRefusedError:
        pass
    except OSError:
        sys.exit(1)
";
        let python = ["netns", "exec", &self.namespace, "python3", "-c", script, source];
        Command::new("ip").args(python).status().unwrap().success()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.namespace]).status());
    }
}

/// A loader at work.
pub(crate) struct Loader {
    child: Child,
    log: PathBuf,
    /// How much of the log was matched already.
    read: Mutex<usize>,
}

impl Loader {
    /// Waits until the log says `text`, behind what was waited for before; returns the line's rest.
    pub(crate) fn says(&self, text: &str) -> String {
        let began = Instant::now();
        let mut read = self.read.lock().unwrap();
        loop {
            let log = logged(&self.log);
            if let Some(at) = log[*read..].find(text)
                && let Some((rest, _)) = log[*read + at + text.len()..].split_once('\n')
            {
                *read += at + text.len();
                return rest.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "no {text:?} in\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// User and system time spent so far.
    pub(crate) fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let rest = stat.rsplit(')').next().unwrap();
        let ticks = rest.split_whitespace().skip(11).take(2);
        // A clock tick is 10 ms.
        ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
    }

    /// How many times the log says `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        logged(&self.log).matches(text).count()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub(crate) fn end(&mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}", logged(&self.log));
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn logged(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A number that no other log of this process has.
fn next() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
