//! A body on its way through a guest.

use bytes::Bytes;

/// A piece of a body; copied only once a guest changes it or more comes.
#[derive(Debug)]
pub(super) enum Buffer {
    Shared(Bytes),
    Own(Vec<u8>),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Shared(Bytes::new())
    }
}

impl Buffer {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Adds `data` behind what there is.
    pub(super) fn append(&mut self, data: Bytes) {
        if self.len() == 0 {
            *self = Self::Shared(data);
        } else {
            self.own().extend_from_slice(&data);
        }
    }

    /// Puts `data` in place of `length` bytes from `start` on; what lies behind the end is left out.
    pub(super) fn splice(&mut self, start: usize, length: usize, data: &[u8]) {
        let size = self.len();
        let start = start.min(size);
        let end = start.saturating_add(length).min(size);
        if start == 0 && end == size {
            *self = Self::Own(data.to_vec());
        } else {
            self.own().splice(start..end, data.iter().copied());
        }
    }

    /// All of it; `None` where there is nothing.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        match std::mem::take(self) {
            Self::Shared(bytes) if bytes.is_empty() => None,
            Self::Own(bytes) if bytes.is_empty() => None,
            Self::Shared(bytes) => Some(bytes),
            Self::Own(bytes) => Some(bytes.into()),
        }
    }

    fn own(&mut self) -> &mut Vec<u8> {
        if let Self::Shared(bytes) = self {
            *self = Self::Own(bytes.to_vec());
        }
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(_) => unreachable!("it was made its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn pieces_are_prepended_appended_injected_and_replaced() {
        for (start, length, expected) in [
            (0, 0, "xabc"),
            (usize::MAX, 0, "abcx"),
            (3, 9, "abcx"),
            (1, 1, "axc"),
            (1, 0, "axbc"),
            (0, 2, "xc"),
            (0, usize::MAX, "x"),
        ] {
            let mut buffer = Buffer::Shared("abc".into());
            buffer.splice(start, length, b"x");
            assert_eq!(buffer.take().unwrap(), expected, "{start} {length}");
        }
    }

    #[test]
    fn what_comes_is_added() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.take(), None);
        buffer.append("a".into());
        buffer.append("b".into());
        assert_eq!(buffer.take().unwrap(), "ab");
    }
}
