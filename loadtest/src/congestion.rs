//! TCP congestion control for the length of a run.
//!
//! BBR, the default of many machines, paces what it sends, and on loopback that pacing is noise
//! which differs from run to run. A run therefore asks for cubic and puts the old setting back when
//! it ends, however it ends short of SIGKILL. Where the setting may not be changed the run goes on
//! and says what it ran under; deciding whether that matters is left to the reader.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SETTING: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
const WANTED: &str = "cubic";

/// Holds the setting; dropping it restores what was there before.
#[derive(Debug)]
pub struct Congestion {
    setting: PathBuf,
    before: Option<String>,
}

impl Congestion {
    /// Switches this network namespace to cubic, or says on standard error why it could not.
    ///
    /// Sockets take the setting when they are made, so this comes before anything is started.
    pub fn hold() -> Self {
        Self::hold_at(Path::new(SETTING))
    }

    /// What new sockets get now.
    pub fn in_force(&self) -> String {
        read(&self.setting).unwrap_or_else(|_| "unknown".to_owned())
    }

    fn hold_at(setting: &Path) -> Self {
        let before = switch(setting).unwrap_or_else(|error| {
            eprintln!("WARNING: TCP congestion control stays as it is, not {WANTED}: {error}");
            None
        });
        Self { setting: setting.to_owned(), before }
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        if let Err(error) = fs::write(&self.setting, before) {
            eprintln!(
                "WARNING: could not set {} back to {before}: {error}",
                self.setting.display()
            );
        }
    }
}

/// The former setting, if it had to be changed.
fn switch(setting: &Path) -> io::Result<Option<String>> {
    let before = read(setting)?;
    if before == WANTED {
        return Ok(None);
    }
    fs::write(setting, WANTED)?;
    Ok(Some(before))
}

fn read(setting: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(setting)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tcp_congestion_control");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn is_put_back_when_dropped() {
        let (_dir, path) = setting("bbr\n");
        let held = Congestion::hold_at(&path);
        assert_eq!(held.in_force(), "cubic");
        drop(held);
        assert_eq!(read(&path).unwrap(), "bbr");
    }

    #[test]
    fn is_put_back_when_a_run_panics() {
        let (_dir, path) = setting("bbr\n");
        let inner = path.clone();
        let run = std::thread::spawn(move || {
            let _held = Congestion::hold_at(&inner);
            panic!("a run that fails");
        });
        assert!(run.join().is_err());
        assert_eq!(read(&path).unwrap(), "bbr");
    }

    #[test]
    fn is_left_alone_where_it_is_cubic_or_missing() {
        let (dir, path) = setting("cubic\n");
        drop(Congestion::hold_at(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), "cubic\n");
        let missing = Congestion::hold_at(&dir.path().join("none"));
        assert_eq!(missing.in_force(), "unknown");
    }
}
