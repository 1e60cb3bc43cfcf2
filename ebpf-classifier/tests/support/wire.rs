//! Frames put on a wire as they are, and what comes back.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::net::eventually;

/// A packet socket on an interface of a namespace.
pub(crate) struct Wire {
    child: Child,
    frames: Option<BufWriter<ChildStdin>>,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    pub(crate) fn open(namespace: &str, interface: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wire.py");
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace, "python3", script, interface])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let frames = Some(BufWriter::new(child.stdin.take().unwrap()));
        let mut incoming = BufReader::new(child.stdout.take().unwrap());
        let mut ready = [0; 2];
        incoming.read_exact(&mut ready).unwrap();
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = received.clone();
        thread::spawn(move || {
            let mut length = [0; 2];
            while incoming.read_exact(&mut length).is_ok() {
                let mut frame = vec![0; u16::from_be_bytes(length).into()];
                if incoming.read_exact(&mut frame).is_err() {
                    break;
                }
                kept.lock().unwrap().push(frame);
            }
        });
        Self { child, frames, received }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        let frames = self.frames.as_mut().unwrap();
        frames.write_all(&(frame.len() as u16).to_be_bytes()).unwrap();
        frames.write_all(frame).unwrap();
    }

    /// Waits between the frame before and the next.
    pub(crate) fn pause(&mut self, time: Duration) {
        let frames = self.frames.as_mut().unwrap();
        frames.write_all(&[0, 0]).unwrap();
        frames.write_all(&(time.as_millis() as u16).to_be_bytes()).unwrap();
    }

    /// Sends `frame` until `answered` says so of one that came back: what was sent before is through.
    pub(crate) fn settle(&mut self, frame: &[u8], answered: impl Fn(&[u8]) -> bool) {
        eventually("the last frame to be answered", || {
            self.send(frame);
            self.frames.as_mut().unwrap().flush().unwrap();
            thread::sleep(Duration::from_millis(50));
            let received = self.received.lock().unwrap();
            received.iter().any(|frame| answered(frame)).then_some(())
        });
    }

    /// What came back so far, and is not asked for again.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.frames.take();
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
