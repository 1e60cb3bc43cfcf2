//! A 64-bit word that several CPUs, and on the other side user space, read and write at once.
//!
//! `core`'s atomics do not exist for the BPF target, though the instruction set has them; there the
//! compiler's own atomic operations are used instead.

/// A word shared between CPUs. All operations are relaxed: each word stands for itself.
#[derive(Debug, Default)]
#[repr(transparent)]
#[cfg(not(target_arch = "bpf"))]
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes)]
pub struct Shared(core::sync::atomic::AtomicU64);

#[cfg(not(target_arch = "bpf"))]
impl Shared {
    /// A word that holds `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    /// Reads it.
    #[inline(always)]
    pub fn load(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Writes it.
    #[inline(always)]
    pub fn store(&self, value: u64) {
        self.0.store(value, core::sync::atomic::Ordering::Relaxed);
    }

    /// Adds to it. Does not return what it was: where only the low half of that is used, LLVM 22 emits
    /// the BPF instruction that returns nothing, and uses the addend instead.
    #[inline(always)]
    pub fn add(&self, value: u64) {
        self.0.fetch_add(value, core::sync::atomic::Ordering::Relaxed);
    }

    /// Sets bits and returns what it was.
    #[inline(always)]
    pub fn set_bits(&self, bits: u64) -> u64 {
        self.0.fetch_or(bits, core::sync::atomic::Ordering::Relaxed)
    }

    /// Replaces `current` with `new`; returns what it was, which is `current` if that was done.
    #[inline(always)]
    pub fn replace(&self, current: u64, new: u64) -> u64 {
        use core::sync::atomic::Ordering::Relaxed;
        match self.0.compare_exchange(current, new, Relaxed, Relaxed) {
            Ok(was) | Err(was) => was,
        }
    }
}

/// A word shared between CPUs.
#[derive(Debug, Default)]
#[repr(transparent)]
#[cfg(target_arch = "bpf")]
pub struct Shared(core::cell::UnsafeCell<u64>);

#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the BPF target has atomic instructions but no core atomics")]
#[expect(missing_docs, reason = "documented on the host, where the same methods are")]
mod bpf {
    use super::Shared;
    use core::intrinsics::{self, AtomicOrdering};

    const RELAXED: AtomicOrdering = AtomicOrdering::Relaxed;

    // SAFETY: every access goes through one of the operations below, which are single instructions.
    unsafe impl Sync for Shared {}

    impl Shared {
        pub const fn new(value: u64) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub fn load(&self) -> u64 {
            // SAFETY: the pointer is valid and aligned for as long as `self` is borrowed; an aligned
            // load of 64 bits is one instruction.
            unsafe { core::ptr::read_volatile(self.0.get()) }
        }

        #[inline(always)]
        pub fn store(&self, value: u64) {
            // SAFETY: as `load`.
            unsafe { core::ptr::write_volatile(self.0.get(), value) }
        }

        #[inline(always)]
        pub fn add(&self, value: u64) {
            // SAFETY: as `load`; the operation itself is atomic.
            unsafe { intrinsics::atomic_xadd::<u64, u64, RELAXED>(self.0.get(), value) };
        }

        #[inline(always)]
        pub fn set_bits(&self, bits: u64) -> u64 {
            // SAFETY: as `add`.
            unsafe { intrinsics::atomic_or::<u64, u64, RELAXED>(self.0.get(), bits) }
        }

        #[inline(always)]
        pub fn replace(&self, current: u64, new: u64) -> u64 {
            // SAFETY: as `add`.
            unsafe {
                intrinsics::atomic_cxchg::<u64, RELAXED, RELAXED>(self.0.get(), current, new).0
            }
        }
    }
}
