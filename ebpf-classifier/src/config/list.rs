//! List files: addresses and prefixes, one a line.
//!
//! A file that did not change is not read again, so that an edit of the configuration costs nothing
//! for a list of a million prefixes, and an edit of one list nothing for the others. Whether it
//! changed is decided by what the file system says of it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use classifier_abi::{Address, Prefix};

use crate::parallel;

/// The size above which a list is refused: four times a million of the longest IPv6 prefixes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The most problems that are reported of one list: a file of another format has one in every line.
const PROBLEMS_MAX: usize = 5;

/// The size from which the halves of a list are read at once.
const HALVED_BYTES_MIN: usize = 1 << 20;

/// What is written behind a problem with a line.
const FIX: &str = "write an address or a prefix, such as 192.0.2.1 or 2001:db8::/32, alone on its line; \
    comments begin with # or ;";

/// What a list file holds: each prefix once, in order.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) prefixes: Arc<Vec<Prefix>>,
    pub(super) modified: SystemTime,
}

/// What is wrong with a list, and how to mend it.
pub(super) type Refusal = (String, String);

/// The list files that a configuration names, as they were read last.
#[derive(Debug, Default)]
pub struct Lists {
    files: BTreeMap<PathBuf, ListFile>,
}

#[derive(Debug)]
struct ListFile {
    stamp: Stamp,
    content: Result<Content, Vec<Refusal>>,
    /// Whether the configuration that was resolved last names it.
    named: bool,
}

/// What tells one state of a file from another; `None` for a file that cannot be looked at.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

impl Lists {
    /// The files, to be watched.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// Tells the state in which the files were read from every other one.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.shown(|_, file| file.stamp)
    }

    /// As [`fingerprint`](Lists::fingerprint), of the files as they are now.
    #[must_use]
    pub fn fingerprint_now(&self) -> String {
        self.shown(|path, _| std::fs::metadata(path).ok().as_ref().and_then(stamp))
    }

    fn shown(&self, stamp: impl Fn(&Path, &ListFile) -> Stamp) -> String {
        let shown = |(path, file): (&PathBuf, &ListFile)| {
            format!(" {}={:?}", path.display(), stamp(path, file))
        };
        self.files.iter().map(shown).collect()
    }

    /// Begins to resolve a configuration.
    pub(super) fn begin(&mut self) {
        self.files.values_mut().for_each(|file| file.named = false);
    }

    /// Ends it: what no network named is not kept.
    pub(super) fn end(&mut self) {
        self.files.retain(|_, file| file.named);
    }

    /// Reads a list, unless it is as it was read last.
    pub(super) fn read(&mut self, path: &Path) -> Result<Content, Vec<Refusal>> {
        let opened = open(path);
        let now = opened.as_ref().ok().and_then(|(_, metadata)| stamp(metadata));
        if let Some(known) = self.files.get_mut(path)
            && now.is_some()
            && known.stamp == now
        {
            known.named = true;
            return known.content.clone();
        }
        let content = match opened {
            Ok((file, metadata)) => read(path, file, &metadata),
            Err(error) => Err(vec![unreadable(path, &error)]),
        };
        let file = ListFile { stamp: now, content: content.clone(), named: true };
        self.files.insert(path.to_path_buf(), file);
        content
    }
}

fn stamp(of: &Metadata) -> Stamp {
    let times = (of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec());
    let (mtime, mtime_ns, ctime, ctime_ns) = times;
    Some((of.dev(), of.ino(), of.size(), mtime, mtime_ns, ctime, ctime_ns))
}

fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // A pipe without a writer would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let fix = match error.kind() {
        io::ErrorKind::NotFound => "write the path of a file that exists; an empty one will do",
        io::ErrorKind::PermissionDenied => "let the loader's user read it and its folders",
        _ => "check the file and its folder",
    };
    (format!("{} cannot be read: {error}", path.display()), fix.into())
}

fn read(path: &Path, file: File, metadata: &Metadata) -> Result<Content, Vec<Refusal>> {
    let refuse = |what: String, fix: &str| vec![(format!("{}{what}", path.display()), fix.into())];
    if !metadata.is_file() {
        return Err(refuse(" is not a file".into(), "write the path of a file"));
    }
    let room = metadata.len().min(FILE_BYTES_MAX) as usize + 1;
    let mut bytes = Vec::with_capacity(room);
    if let Err(error) = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return Err(vec![unreadable(path, &error)]);
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(" is over 256 MiB".into(), "write prefixes instead of addresses"));
    }
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    match parse(&bytes) {
        Ok(prefixes) => Ok(Content { prefixes: prefixes.into(), modified }),
        Err(problems) => {
            let all = problems.len();
            let more = all.saturating_sub(PROBLEMS_MAX);
            let mut refusals: Vec<Refusal> = problems
                .into_iter()
                .take(PROBLEMS_MAX)
                .map(|(line, what)| (format!("{}:{line}: {what}", path.display()), FIX.into()))
                .collect();
            if more > 0 {
                let what = format!("{}: {more} more lines are wrong", path.display());
                refusals.push((what, FIX.into()));
            }
            Err(refusals)
        }
    }
}

/// The prefixes of a list, each once, in order; or what is wrong, by line.
fn parse(bytes: &[u8]) -> Result<Vec<Prefix>, Vec<(usize, String)>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut part = if bytes.len() > HALVED_BYTES_MIN {
        let (one, other) = halves(bytes);
        let [one, other] = parallel::both(|| lines(one), || lines(other));
        one.and(other)
    } else {
        lines(bytes)
    };
    if !part.problems.is_empty() {
        return Err(part.problems);
    }
    if !part.prefixes.is_sorted() {
        part.prefixes.sort_unstable();
    }
    part.prefixes.dedup();
    Ok(part.prefixes)
}

/// The lines of both ends of a list.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let end = second.iter().position(|byte| *byte == b'\n');
    bytes.split_at(first.len() + end.map_or(second.len(), |end| end + 1))
}

/// What some lines of a list hold.
struct Part {
    prefixes: Vec<Prefix>,
    problems: Vec<(usize, String)>,
    lines: usize,
}

impl Part {
    /// With the lines behind it.
    fn and(mut self, other: Self) -> Self {
        self.prefixes.extend_from_slice(&other.prefixes);
        let before = self.lines;
        self.problems.extend(other.problems.into_iter().map(|(line, what)| (before + line, what)));
        Self { lines: before + other.lines, ..self }
    }
}

fn lines(bytes: &[u8]) -> Part {
    // A line has some fourteen bytes.
    let mut prefixes = Vec::with_capacity(bytes.len() / 14);
    let mut problems = Vec::new();
    let (mut rest, mut number) = (bytes, 0);
    while !rest.is_empty() {
        number += 1;
        if let Some((prefix, behind)) = ipv4_line(rest) {
            prefixes.push(prefix);
            rest = behind;
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        let written = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default();
        let written = written.trim_ascii();
        if written.is_empty() {
            continue;
        }
        match std::str::from_utf8(written).ok().and_then(prefix) {
            Some(prefix) => prefixes.push(prefix),
            None => {
                let shown: String = String::from_utf8_lossy(written).chars().take(60).collect();
                problems.push((number, format!("{shown:?} is not an address or a prefix")));
            }
        }
    }
    Part { prefixes, problems, lines: number }
}

/// The IPv4 address or prefix that is all of the first line, as in nearly every line of nearly every
/// list, and what is behind the line. `None` for any other line, good or bad: that takes longer.
fn ipv4_line(bytes: &[u8]) -> Option<(Prefix, &[u8])> {
    let (mut octets, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    let mut rest = bytes;
    loop {
        let (byte, behind) = rest.split_first().unwrap_or((&b'\n', &[]));
        match byte {
            // No zeros in front.
            b'0'..=b'9' if digits == 0 || octet != 0 => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
            }
            b'.' | b'/' | b'\n' if digits > 0 && octet <= 255 => {
                octets = octets << 8 | octet;
                match (byte, dots) {
                    (b'.', 0..3) => (octet, digits, dots) = (0, 0, dots + 1),
                    (b'/', 3) => return ipv4_prefix(octets, behind),
                    (b'\n', 3) => return Some((v4(octets, 32), behind)),
                    _ => return None,
                }
            }
            _ => return None,
        }
        // What is longer than the longest address is read no further.
        if digits > 3 {
            return None;
        }
        rest = behind;
    }
}

/// The length of an IPv4 prefix that ends its line, behind `/`.
fn ipv4_prefix(octets: u32, bytes: &[u8]) -> Option<(Prefix, &[u8])> {
    let (bits, rest) = number(bytes, 32)?;
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b"\n")? };
    Some((v4(octets, bits), rest))
}

fn v4(octets: u32, bits: u32) -> Prefix {
    let octets = octets & u32::MAX.checked_shl(32 - bits).unwrap_or_default();
    Prefix::new(Address::v4(octets.to_be_bytes()), 96 + bits)
}

/// A number of at most three digits, without zeros in front, up to `most`; and what is behind it.
fn number(bytes: &[u8], most: u32) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let (written, behind) = bytes.split_at_checked(digits)?;
    if !(1..=3).contains(&digits) || digits > 1 && written.starts_with(b"0") {
        return None;
    }
    let number = written.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    (number <= most).then_some((number, behind))
}

/// One address or prefix; bits behind the prefix are cleared, as lists of others have them.
fn prefix(text: &str) -> Option<Prefix> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (before, most) = if address.is_ipv4() { (96, 32) } else { (0, 128) };
    let bits = match bits {
        // Not `+8`, which a number may be written with.
        Some(bits) if bits.starts_with(|c: char| c.is_ascii_digit()) => bits.parse::<u32>().ok()?,
        Some(_) => return None,
        None => most,
    };
    if bits > most {
        return None;
    }
    let address = Address::from(address);
    let bits = before + bits;
    Some(Prefix::new(address.masked(&Address::mask(bits)), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(octets: [u8; 4], bits: u32) -> Prefix {
        Prefix::new(Address::v4(octets), 96 + bits)
    }

    #[test]
    fn lists_as_they_are_published_are_read() {
        let list = "\u{feff}# a list\n; Spamhaus' way\r\n\r\n  192.0.2.7\t\r\n\
                    198.51.100.0/24 ; SBL1\n192.0.2.7#again\n10.1.2.3/8\n2001:DB8::/32 # six\n\
                    ::ffff:203.0.113.1\n0.0.0.0/0";
        let prefixes = parse(list.as_bytes()).unwrap();
        let six = Prefix::new("2001:db8::".parse::<IpAddr>().unwrap().into(), 32);
        let expected = [
            v4([0, 0, 0, 0], 0),
            v4([10, 0, 0, 0], 8),
            v4([192, 0, 2, 7], 32),
            v4([198, 51, 100, 0], 24),
            v4([203, 0, 113, 1], 32),
            six,
        ];
        assert_eq!(prefixes, expected);
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn the_short_way_reads_what_the_long_one_reads() {
        for text in [
            "0.0.0.0",
            "1.2.3.4",
            "255.255.255.255",
            "10.1.2.3/8",
            "10.1.2.3/0",
            "10.1.2.3/32",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/08",
            "1.2.3.4/+8",
            "1..3.4",
            ".1.2.3",
            "1.2.3.4 ",
            "1.2.3.4\r",
            "::1",
            "",
            "1.2.3.4/8/8",
            "1111.2.3.4",
            "1.2.3.4/128",
        ] {
            let list = format!("{text}\nrest");
            if let Some((found, behind)) = ipv4_line(list.as_bytes()) {
                assert_eq!((Some(found), behind), (prefix(text), &b"rest"[..]), "{text:?}");
                assert_eq!(ipv4_line(text.as_bytes()), Some((found, &b""[..])), "{text:?}");
            }
        }
        for text in ["0.0.0.0", "255.255.255.255", "10.1.2.3/8", "10.1.2.3/0", "10.1.2.3/32"] {
            assert!(ipv4_line(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_long_list_is_read_as_a_short_one() {
        let line = |number: u32| match number % 1_000 {
            0 => "# nothing".to_owned(),
            1 => format!("2001:db8::{:x} # six", number / 1_000),
            _ => std::net::Ipv4Addr::from(number * 3).to_string(),
        };
        let list: Vec<String> = (0..200_000).map(line).collect();
        let text = list.join("\n");
        assert!(text.len() > HALVED_BYTES_MIN);
        let read = parse(text.as_bytes()).unwrap();
        let one_by_one =
            list.chunks(1_000).flat_map(|few| parse(few.join("\n").as_bytes()).unwrap());
        let mut one_by_one: Vec<Prefix> = one_by_one.collect();
        one_by_one.sort_unstable();
        assert_eq!(read, one_by_one);
        // Lines are counted from the beginning in either half.
        let wrong = text.replace("# nothing", "nothing");
        let problems = parse(wrong.as_bytes()).unwrap_err();
        let expected = (0..200).map(|number| number * 1_000 + 1);
        assert!(problems.iter().map(|(line, _)| *line).eq(expected));
        // Without an end of a line in the second half, and with nothing else there.
        for text in [format!("{}\n1.2.3.4", "#".repeat(1 << 20)), "#".repeat(2 << 20)] {
            assert!(parse(text.as_bytes()).unwrap().len() <= 1);
        }
        let ends = "1.2.3.4\n".repeat(1 << 17) + "\n";
        assert_eq!(parse(ends.as_bytes()).unwrap(), [v4([1, 2, 3, 4], 32)]);
    }

    #[test]
    fn what_is_not_an_address_is_told_by_line() {
        for bad in [
            "10.0.0.0/33",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "1.2.3.4 5.6.7.8",
            "::/129",
            "a",
            "10.0.0.0/8/8",
            "fe80::1%eth0",
            "\u{0}",
            "1.2.3.4,1",
            "10.0.0.0/4294967304",
            "\u{fffd}",
        ] {
            let list = format!("# one\n10.0.0.1\n{bad}\n");
            let problems = parse(list.as_bytes()).expect_err(bad);
            assert_eq!(problems.len(), 1, "{bad}");
            assert_eq!(problems[0].0, 3, "{bad}");
        }
        assert!(parse(b"\xff\xfe1\n").is_err());
    }

    #[test]
    fn a_list_is_read_again_only_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let mut lists = Lists::default();
        assert!(lists.read(&path).unwrap_err()[0].0.contains("cannot be read"));
        let absent = lists.fingerprint();
        assert_eq!(lists.fingerprint_now(), absent);
        std::fs::write(&path, "10.0.0.1\n").unwrap();
        assert_ne!(lists.fingerprint_now(), absent);
        let first = lists.read(&path).unwrap().prefixes;
        assert!(Arc::ptr_eq(&first, &lists.read(&path).unwrap().prefixes));
        let new = folder.path().join("new");
        std::fs::write(&new, "10.0.0.2\n").unwrap();
        std::fs::rename(new, &path).unwrap();
        assert_ne!(lists.fingerprint_now(), lists.fingerprint());
        assert_eq!(*lists.read(&path).unwrap().prefixes, [v4([10, 0, 0, 2], 32)]);
        lists.begin();
        lists.end();
        assert!(lists.paths().is_empty());
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(lists.read(&pipe).unwrap_err()[0].0.contains("is not a file"));
        assert!(lists.read(folder.path()).unwrap_err()[0].0.contains("is not a file"));
    }

    #[test]
    fn only_the_first_problems_of_a_list_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "no\n".repeat(1_000)).unwrap();
        let refusals = Lists::default().read(&path).unwrap_err();
        assert_eq!(refusals.len(), PROBLEMS_MAX + 1);
        assert!(refusals[PROBLEMS_MAX].0.contains("995 more lines"), "{refusals:?}");
    }
}
