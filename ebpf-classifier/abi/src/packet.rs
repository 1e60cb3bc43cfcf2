//! How a packet's bytes are had: a slice on the host, two pointers and a comparison in the kernel.

/// A frame, from its Ethernet header on.
pub trait Packet {
    /// `N` bytes from `at`, or `None` if not all of them are there or lent: of a frame in several
    /// buffers the program reads the first.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The length of the whole frame in bytes.
    fn bytes(&self) -> usize;
}

#[cfg(not(target_arch = "bpf"))]
impl Packet for [u8] {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.first_chunk().copied()
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}
