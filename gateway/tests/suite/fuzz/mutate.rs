//! Requests that are almost right.

/// Bytes that mean something in a message.
const MEANINGFUL: &[u8] = b"\r\n\0\t :;,/?#%@[]\"\\=+-_*\x01\x7f\x80\xff019afxAFX";

/// Pieces that mean something in a message.
const PIECES: [&[u8]; 18] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\tchunked\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 9223372036854775808\r\n",
    b"Content_Length: 5\r\n",
    b"Connection: close, host\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Host: b.test\r\n",
    b"Expect: 100-continue\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b" HTTP/1.1",
    b"../",
    b"%00",
    b"ffffffffffffffff\r\n",
];

/// Makes one request after the other from a seed, the same ones each time.
pub(super) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.random() % end.max(1) as u64) as usize
    }

    /// Where to cut `length` bytes in two.
    pub(super) fn cut(&mut self, length: usize) -> usize {
        self.below(length + 1)
    }

    /// A seed of `corpus` with up to four changes, sometimes with none.
    pub(super) fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..self.below(5) {
            self.change(&mut bytes, corpus);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + 1 + self.below(12)).min(bytes.len());
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] = MEANINGFUL[self.below(MEANINGFUL.len())],
            1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            2 if at < end => drop(bytes.drain(at..end)),
            3 if at < end => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let piece = PIECES[self.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            5 => bytes.truncate(at),
            6 => {
                let other = &corpus[self.below(corpus.len())];
                bytes.splice(at..end.max(at), other.iter().copied());
            }
            7 => self.repeat_line(bytes),
            _ => bytes.insert(at, MEANINGFUL[self.below(MEANINGFUL.len())]),
        }
    }

    /// A line once more, or very often.
    fn repeat_line(&mut self, bytes: &mut Vec<u8>) {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.is_empty() {
            return;
        }
        let index = self.below(lines.len());
        let times = if self.below(20) == 0 { 300 } else { 2 };
        let before = lines[..index].concat();
        *bytes = [before, lines[index].repeat(times), lines[index + 1..].concat()].concat();
    }
}
