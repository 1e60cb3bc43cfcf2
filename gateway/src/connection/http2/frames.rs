//! Finds the frames in what a client sends (RFC 9113, 4.1).
//!
//! The h2 crate bounds what it stores and does not count frames that it answers and forgets: PING, SETTINGS,
//! RST_STREAM, WINDOW_UPDATE, PRIORITY, empty DATA. Nine bytes a frame are enough to count them. Only field sections
//! are looked into, for what the crate does not tell of trailers.

use super::sections::{CONTINUATION, HEADERS, Sections};

/// The bytes of a frame's header.
const HEADER_BYTES: usize = 9;

/// The longest frame that the gateway takes (RFC 9113, 4.2); the h2 crate ends connections with longer ones.
const CONTENT_BYTES_MAX: usize = 16_384;

/// What a frame costs a server that has to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It carries a part of a message; the h2 crate bounds these.
    Message,
    /// RST_STREAM: what the stream had begun was for nothing.
    Reset,
    /// PING, also the acknowledgement of one.
    Ping,
    /// SETTINGS, also the acknowledgement of some.
    Settings,
    /// Anything else that carries nothing of a message.
    Other,
    /// Not a frame, but what was found at the end of one: the trailers of this stream name a pseudo-field.
    MalformedTrailers(u32),
}

impl Frame {
    fn of(header: [u8; HEADER_BYTES]) -> Self {
        const END_STREAM: u8 = 0x1;
        let empty = header[..3] == [0, 0, 0];
        match header[3] {
            // RFC 9113, 6.1: an empty one is of use only at the end of a stream.
            0x0 if empty && header[4] & END_STREAM == 0 => Self::Other,
            // The first is DATA.
            0x0 | HEADERS | CONTINUATION => Self::Message,
            0x3 => Self::Reset,
            0x4 => Self::Settings,
            0x6 => Self::Ping,
            _ => Self::Other,
        }
    }
}

/// Where in a client's bytes the next frame begins.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass over: the rest of the preface or of a frame's content.
    skip: usize,
    header: [u8; HEADER_BYTES],
    /// How many bytes of `header` have come.
    header_bytes: usize,
    /// What has come of a frame's content that is looked into, unless all of it is there at once.
    content: Vec<u8>,
    /// How many bytes of that are still to come.
    content_missing: usize,
    sections: Sections,
}

impl Frames {
    /// Frames that begin after the first `preface_bytes`.
    pub(super) fn after(preface_bytes: usize) -> Self {
        Self {
            skip: preface_bytes,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            content: Vec::new(),
            content_missing: 0,
            sections: Sections::default(),
        }
    }

    /// Takes the next bytes and calls `each` with every frame whose header is complete with them.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        loop {
            if self.content_missing > 0 {
                let Some(malformed) = self.take_content(&mut bytes) else { return };
                malformed.into_iter().for_each(&mut each);
            }
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let part = (HEADER_BYTES - self.header_bytes).min(bytes.len());
            let (head, rest) = bytes.split_at(part);
            self.header[self.header_bytes..][..part].copy_from_slice(head);
            self.header_bytes += part;
            bytes = rest;
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                each(Frame::of(self.header));
                self.begin_content().into_iter().for_each(&mut each);
            }
        }
    }

    /// A frame's header is complete. One without content is complete as a whole.
    fn begin_content(&mut self) -> Option<Frame> {
        let [high, middle, low, kind, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if !matches!(kind, HEADERS | CONTINUATION) {
            self.skip = length;
            return None;
        }
        match length {
            0 => self.end_section_frame(&[]),
            1..=CONTENT_BYTES_MAX => {
                self.content_missing = length;
                None
            }
            _ => {
                self.sections.lose();
                self.skip = length;
                None
            }
        }
    }

    /// Takes what has come of the content; `None` while it is incomplete.
    fn take_content(&mut self, bytes: &mut &[u8]) -> Option<Option<Frame>> {
        let (part, rest) = bytes.split_at(self.content_missing.min(bytes.len()));
        *bytes = rest;
        self.content_missing -= part.len();
        if self.content_missing == 0 && self.content.is_empty() {
            return Some(self.end_section_frame(part));
        }
        self.content.extend_from_slice(part);
        if self.content_missing > 0 {
            return None;
        }
        let content = std::mem::take(&mut self.content);
        Some(self.end_section_frame(&content))
    }

    fn end_section_frame(&mut self, content: &[u8]) -> Option<Frame> {
        let [_, _, _, kind, flags, stream @ ..] = self.header;
        // The first bit is reserved.
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        self.sections.take(kind, flags, stream, content).map(Frame::MalformedTrailers)
    }
}

#[cfg(test)]
mod tests {
    use super::Frame::{MalformedTrailers, Message, Other, Ping, Reset, Settings};
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = (content.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(content);
        bytes
    }

    fn connection() -> (Vec<u8>, Vec<Frame>) {
        let frames = [
            (frame(4, 0, &[0; 6]), Settings),
            (frame(1, 4, b"\x82"), Message),
            (frame(0, 0, &[6; 70_000]), Message),
            (frame(0, 0, b""), Other),
            (frame(0, 1, b""), Message),
            (frame(1, 0, b"\0\x01x\x03abc\0\x01"), Message),
            (frame(9, 4, b":\x01a"), Message),
            (frame(3, 0, &[0; 4]), Reset),
            (frame(6, 1, &[0; 8]), Ping),
            (frame(8, 0, &[0; 4]), Other),
            (frame(0xee, 0, b"unknown"), Other),
        ];
        let mut bytes = PREFACE.to_vec();
        frames.iter().for_each(|(frame, _)| bytes.extend(frame));
        let mut found = frames.map(|(_, kind)| kind).to_vec();
        found.insert(7, MalformedTrailers(1));
        (bytes, found)
    }

    #[test]
    fn rfc9113_4_1_frames_are_the_same_however_their_bytes_come() {
        let (bytes, expected) = connection();
        for size in [1, 2, 3, 5, 8, 9, 10, 23, 24, 25, 1_000, bytes.len()] {
            let mut frames = Frames::after(PREFACE.len());
            let mut found = Vec::new();
            bytes.chunks(size).for_each(|part| frames.take(part, |frame| found.push(frame)));
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_but_whole_headers_is_a_frame() {
        let mut frames = Frames::after(0);
        frames.take(&[0, 0, 1, 6, 0, 0, 0, 0], |_| unreachable!("a byte is missing"));
        let mut found = Vec::new();
        frames.take(&[0, 0xff], |frame| found.push(frame));
        assert_eq!(found, [Ping]);
    }
}
