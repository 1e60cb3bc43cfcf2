use std::io::Read;
use std::sync::Arc;

use super::super::config::tally;
use super::*;
use crate::host::Metrics;

fn lines(texts: &[&str]) -> Vec<Line> {
    let tally = Arc::new(tally(&Metrics::default(), "log"));
    texts.iter().map(|text| Line { text: (*text).to_owned(), tally: tally.clone() }).collect()
}

/// A disk with room for some bytes.
#[derive(Default)]
struct Disk {
    written: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.written.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_was_full_tears_no_line_but_its_last() {
    // For every place at which it may be full.
    for room in 0..12 {
        let mut disk = Disk { room, ..Disk::default() };
        let mut stream = Stream::default();
        let result = stream.write(&lines(&["one", "two", "six"]), &mut disk);
        let (written, error) = result.map_or_else(|failed| failed, |_| panic!("there was room"));
        assert_eq!((written, error.kind()), (room / 4, ErrorKind::StorageFull));
        // Still full: nothing changes.
        assert!(stream.write(&lines(&["lost"]), &mut disk).is_err());
        disk.room = 100;
        assert_eq!(stream.write(&lines(&["new"]), &mut disk).unwrap(), 1);
        assert_eq!(stream.write(&lines(&["last"]), &mut disk).unwrap(), 1);
        let text = String::from_utf8(disk.written).unwrap();
        let whole: Vec<_> = text.lines().collect();
        assert!(whole.ends_with(&["new", "last"]), "{room}: {text:?}");
        assert!(!text.contains("\n\n"), "{room}: {text:?}");
    }
}

#[test]
fn a_file_that_ends_within_a_line_is_gone_on_with_on_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    for (before, after) in [("", "new\n"), ("whole\n", "whole\nnew\n"), ("torn", "torn\nnew\n")] {
        fs::write(&path, before).unwrap();
        let mut sink = Target::File(path.clone()).open().unwrap();
        assert_eq!(sink.write(&lines(&["new"])).unwrap(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
    }
}

#[test]
fn a_named_pipe_is_not_waited_for_and_is_written_once_somebody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let mut sink = Target::File(path.clone()).open().unwrap();
    let (written, error) = sink.write(&lines(&["lost"])).unwrap_err();
    assert_eq!((written, error.to_string()), (0, "no process reads the named pipe".to_owned()));
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
    assert_eq!(sink.write(&lines(&["read"])).unwrap(), 1);
    let mut text = [0; 5];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"read\n");
    // A reader that has gone costs lines, and no more than that.
    drop(reader);
    assert!(sink.write(&lines(&["lost"])).is_err());
    assert!(sink.write(&lines(&["lost"])).is_err());
}
