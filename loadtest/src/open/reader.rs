//! Reading answers: status, length, and where one ends.
//!
//! Just as much HTTP as the answers of these tests take. Bodies are counted and not kept.

/// More than any proxy adds to the origin's handful of fields.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    More,
    /// It is whole.
    Done {
        /// Its status.
        status: u16,
        /// Whether the connection stays open after it.
        keep: bool,
    },
    /// It is not one that can be read.
    Unreadable,
}

/// One answer after another, in whatever pieces they come.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: Vec<u8>,
    body: Option<Body>,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    status: u16,
    keep: bool,
    missing_bytes: usize,
}

impl Reader {
    /// Whether nothing of an answer has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.head.is_empty() && self.body.is_none()
    }

    /// Takes in what came. More than one answer is one too many: each is asked for alone.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Progress {
        match self.body {
            Some(body) => self.count(body, bytes.len()),
            None => self.feed_head(bytes),
        }
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Progress {
        // The end may lie across two pieces.
        let from = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(bytes);
        let end = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n");
        match end.map(|end| from + end + 4) {
            None if self.head.len() > HEAD_BYTES_MAX => Progress::Unreadable,
            None => Progress::More,
            Some(end) => match parse(&self.head[..end]) {
                Some(body) => self.count(body, self.head.len() - end),
                None => Progress::Unreadable,
            },
        }
    }

    fn count(&mut self, body: Body, bytes: usize) -> Progress {
        let Some(missing_bytes) = body.missing_bytes.checked_sub(bytes) else {
            return Progress::Unreadable;
        };
        self.body = Some(Body { missing_bytes, ..body });
        if missing_bytes > 0 {
            return Progress::More;
        }
        self.body = None;
        self.head.clear();
        Progress::Done { status: body.status, keep: body.keep }
    }
}

fn parse(head: &[u8]) -> Option<Body> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let keeps = first.next()? == "HTTP/1.1";
    let mut body = Body { status: first.next()?.parse().ok()?, keep: keeps, missing_bytes: 0 };
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("connection") {
            body.keep &= !value.trim().eq_ignore_ascii_case("close");
        }
    }
    body.missing_bytes = length?;
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Progress = Progress::Done { status: 200, keep: true };

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc";
        let mut reader = Reader::default();
        assert_eq!(reader.feed(answer), DONE);
        let (last, others) = answer.split_last().unwrap();
        for byte in others {
            assert_eq!(reader.feed(&[*byte]), Progress::More);
        }
        assert_eq!(reader.feed(&[*last]), DONE);
        assert!(reader.is_fresh());
    }

    #[test]
    fn closing_is_noticed() {
        let mut reader = Reader::default();
        let answer = b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(reader.feed(answer), Progress::Done { status: 503, keep: false });
    }

    #[test]
    fn what_has_no_length_or_too_much_of_it_cannot_be_read() {
        let unreadable = |bytes: &[u8]| Reader::default().feed(bytes) == Progress::Unreadable;
        assert!(unreadable(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(unreadable(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"));
        assert!(unreadable(b"SSH-2.0\r\n\r\n"));
        assert!(unreadable(&[b'x'; HEAD_BYTES_MAX + 1]));
    }
}
