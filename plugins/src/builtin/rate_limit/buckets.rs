//! A bounded table of token buckets.
//!
//! A bucket is one number, the time at which it is full again: the generic cell rate algorithm
//! (ITU-T I.371) in nanoseconds. It knows no clock and no requests. A crate such as `governor` keeps
//! the same number, in a table that only grows.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError, RwLock};

use lru::LruCache;

/// A table is shared out so that workers seldom wait for one another.
const SHARDS_MAX: u64 = 64;

/// Fewer, and which buckets are evicted depends on how keys fall to shards.
const KEYS_PER_SHARD_MIN: u64 = 1024;

/// Buckets that are full again, looked at when a new one is made: more than one, so that the table
/// shrinks.
const SWEPT: usize = 2;

/// Buckets that go over to another process: some 16 MB, and those used longest ago stay behind.
const EXPORTED_MAX: usize = 1_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// The time in which one request is added.
    pub(super) interval_ns: u64,
    /// Requests in a full bucket. The time in which it fills is far from where a `u64` overflows.
    pub(super) burst: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether the bucket held one.
    pub(super) is_admitted: bool,
    /// Requests that it still holds.
    pub(super) remaining: u64,
    /// The time until it holds one more.
    pub(super) wait_ns: u64,
}

impl Taken {
    /// That time in seconds, rounded up.
    pub(super) fn wait_s(&self) -> u64 {
        self.wait_ns.div_ceil(1_000_000_000)
    }
}

impl Rate {
    fn take(self, full_at_ns: &mut u64, now_ns: u64) -> Taken {
        let window_ns = self.interval_ns * self.burst;
        let after = (*full_at_ns).max(now_ns) + self.interval_ns;
        let is_admitted = after - now_ns <= window_ns;
        if is_admitted {
            *full_at_ns = after;
        }
        let missing_ns = full_at_ns.saturating_sub(now_ns);
        let remaining = window_ns.saturating_sub(missing_ns) / self.interval_ns;
        let wait_ns = (missing_ns + (remaining + 1) * self.interval_ns).saturating_sub(window_ns);
        Taken { is_admitted, remaining, wait_ns }
    }
}

/// Buckets by the hash of their key: two keys with one hash, of which there is one chance in a
/// thousand million among 100,000 keys, share a bucket.
pub(super) struct Buckets {
    rate: Rate,
    secret: RwLock<Secret>,
    shards: Box<[Mutex<Shard>]>,
    shard_keys_max: usize,
}

/// What makes the hash of a key unknown outside, so that nobody can aim at another's bucket. A
/// process that replaces this one goes on with it.
#[derive(Clone, Copy)]
struct Secret(u64, u64);

impl Secret {
    fn random() -> Self {
        let random = || RandomState::new().hash_one(0);
        Self(random(), random())
    }

    #[expect(deprecated, reason = "the standard library's other hasher keeps its keys to itself")]
    fn hasher(self) -> std::hash::SipHasher {
        std::hash::SipHasher::new_with_keys(self.0, self.1)
    }
}

/// The next `N` numbers, if there are that many.
fn next<const N: usize>(numbers: &mut impl Iterator<Item = u64>) -> Option<[u64; N]> {
    let mut next = [0; N];
    for number in &mut next {
        *number = numbers.next()?;
    }
    Some(next)
}

/// The time at which each bucket is full, the least recently used bucket last.
type Shard = LruCache<u64, u64, BuildHasherDefault<AsItIs>>;

impl Buckets {
    /// No buckets yet; at most about `keys_max` in time.
    pub(super) fn new(rate: Rate, keys_max: u64) -> Self {
        let shards = (keys_max / KEYS_PER_SHARD_MIN).clamp(1, SHARDS_MAX);
        let shards = 1 << shards.ilog2();
        let shard = || Mutex::new(Shard::unbounded_with_hasher(BuildHasherDefault::default()));
        Self {
            rate,
            secret: RwLock::new(Secret::random()),
            shards: (0..shards).map(|_| shard()).collect(),
            shard_keys_max: usize::try_from(keys_max.div_ceil(shards)).unwrap_or(usize::MAX),
        }
    }

    /// The bucket of a key.
    pub(super) fn hash(&self, key: &impl Hash) -> u64 {
        let mut hasher = self.secret().hasher();
        key.hash(&mut hasher);
        hasher.finish()
    }

    fn secret(&self) -> Secret {
        *self.secret.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one request out of a bucket.
    pub(super) fn take(&self, bucket: u64, now_ns: u64) -> Taken {
        let mut shard = self.shard(bucket).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at_ns) = shard.get_mut(&bucket) {
            return self.rate.take(full_at_ns, now_ns);
        }
        self.make_room(&mut shard, now_ns);
        let mut full_at_ns = now_ns;
        let taken = self.rate.take(&mut full_at_ns, now_ns);
        shard.put(bucket, full_at_ns);
        taken
    }

    /// A bucket that is full is as good as none; otherwise the one that was used longest ago goes.
    fn make_room(&self, shard: &mut Shard, now_ns: u64) {
        for _ in 0..SWEPT {
            if shard.peek_lru().is_some_and(|(_, full_at_ns)| *full_at_ns <= now_ns) {
                shard.pop_lru();
            }
        }
        if shard.len() >= self.shard_keys_max {
            shard.pop_lru();
        }
    }

    /// The buckets that are not full at `now_ns`, in a form for [`Buckets::import`].
    pub(super) fn export(&self, now_ns: u64) -> Vec<u8> {
        let Secret(first, second) = self.secret();
        let Rate { interval_ns, burst } = self.rate;
        let head = [first, second, interval_ns, burst];
        let mut exported: Vec<u8> = head.into_iter().flat_map(u64::to_be_bytes).collect();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // The one that was used longest ago first: it is to be the first to go there as well.
            let used = shard.iter().rev().filter(|(_, full_at_ns)| **full_at_ns > now_ns);
            for (bucket, full_at_ns) in used.take(EXPORTED_MAX / self.shards.len()) {
                exported.extend(bucket.to_be_bytes());
                exported.extend((full_at_ns - now_ns).to_be_bytes());
            }
        }
        exported
    }

    /// Goes on with buckets that were exported `elapsed_ns` ago at another process, if their rate is
    /// this one. Returns whether it was.
    pub(super) fn import(&self, exported: &[u8], elapsed_ns: u64, now_ns: u64) -> bool {
        let (numbers, []) = exported.as_chunks::<8>() else { return false };
        let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let Some([first, second, interval_ns, burst]) = next(&mut numbers) else { return false };
        if (interval_ns, burst) != (self.rate.interval_ns, self.rate.burst) {
            return false;
        }
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = Secret(first, second);
        while let Some([bucket, missing_ns]) = next(&mut numbers) {
            // No bucket lacks more than it holds, whatever the other process says.
            let missing_ns = missing_ns.min(interval_ns * burst).saturating_sub(elapsed_ns);
            let mut shard = self.shard(bucket).lock().unwrap_or_else(PoisonError::into_inner);
            if missing_ns > 0 && shard.len() < self.shard_keys_max {
                shard.put(bucket, now_ns + missing_ns);
            }
        }
        true
    }

    /// The map of a shard uses the bits at both ends of a bucket's number.
    fn shard(&self, bucket: u64) -> &Mutex<Shard> {
        &self.shards[(bucket >> 32) as usize & (self.shards.len() - 1)]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Buckets").field("rate", &self.rate).finish_non_exhaustive()
    }
}

/// The keys of a shard are hashes already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| all << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Rate, Taken};

    const SECOND: u64 = 1_000_000_000;

    fn ten_a_second(keys_max: u64) -> Buckets {
        Buckets::new(Rate { interval_ns: SECOND / 10, burst: 3 }, keys_max)
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = ten_a_second(10);
        let now = 5 * SECOND;
        let taken = |is_admitted, remaining, wait_ns| Taken { is_admitted, remaining, wait_ns };
        assert_eq!(buckets.take(1, now), taken(true, 2, SECOND / 10));
        assert_eq!(buckets.take(1, now), taken(true, 1, SECOND / 10));
        assert_eq!(buckets.take(1, now), taken(true, 0, SECOND / 10));
        assert_eq!(buckets.take(1, now), taken(false, 0, SECOND / 10));
        assert_eq!(buckets.take(1, now + SECOND / 40), taken(false, 0, SECOND * 3 / 40));
        assert_eq!(buckets.take(2, now), taken(true, 2, SECOND / 10));
        assert_eq!(buckets.take(1, now + SECOND / 10), taken(true, 0, SECOND / 10));
        assert_eq!(buckets.take(1, now + 9 * SECOND), taken(true, 2, SECOND / 10));
    }

    #[test]
    fn the_rate_holds_over_time() {
        let buckets = ten_a_second(10);
        let admitted = (0..10_000).filter(|i| buckets.take(1, i * SECOND / 1000).is_admitted);
        // Ten seconds, and the burst at their beginning.
        assert_eq!(admitted.count(), 10 * 10 + 2);
    }

    #[test]
    fn a_clock_that_goes_back_admits_nothing_more() {
        let buckets = ten_a_second(10);
        let now = 5 * SECOND;
        assert!((0..3).all(|_| buckets.take(1, now).is_admitted));
        assert!(!buckets.take(1, now - SECOND).is_admitted);
        assert_eq!(buckets.take(1, now - SECOND).wait_s(), 2);
    }

    #[test]
    fn the_table_is_bounded_and_evicts_what_was_used_longest_ago() {
        let buckets = ten_a_second(2);
        let admitted = |bucket| buckets.take(bucket, 0).is_admitted;
        assert!((0..3).all(|_| admitted(1)) && (0..3).all(|_| admitted(2)));
        assert!(!admitted(1));
        assert!(admitted(3));
        assert_eq!(buckets.len(), 2);
        assert!(!admitted(1));
        assert!(admitted(2), "it was evicted, and is full again");
    }

    #[test]
    fn full_buckets_are_dropped() {
        let buckets = ten_a_second(1000);
        for bucket in 0..100 {
            buckets.take(bucket, 0);
        }
        for bucket in 100..200 {
            buckets.take(bucket, SECOND);
        }
        assert_eq!(buckets.len(), 100);
    }

    #[test]
    fn another_process_goes_on_where_the_buckets_were() {
        let (old, new) = (ten_a_second(10), ten_a_second(10));
        let key = "ann";
        assert!((0..3).all(|_| old.take(old.hash(&key), 5 * SECOND).is_admitted));
        let exported = old.export(5 * SECOND);
        // There, the clock shows something else.
        assert!(new.import(&exported, 0, SECOND));
        assert_eq!(new.hash(&key), old.hash(&key));
        assert!(!new.take(new.hash(&key), SECOND).is_admitted);
        assert!(new.take(new.hash(&"bob"), SECOND).is_admitted);
        let later = ten_a_second(10);
        assert!(later.import(&exported, SECOND / 10, SECOND));
        assert!(later.take(later.hash(&key), SECOND).is_admitted, "one was added on the way");
        assert!(!later.take(later.hash(&key), SECOND).is_admitted);
    }

    #[test]
    fn what_is_full_or_of_another_rate_does_not_go_over() {
        let old = ten_a_second(10);
        old.take(1, 0);
        let (head, new) = (old.export(SECOND), ten_a_second(10));
        assert_eq!(head.len(), 32);
        assert!(new.import(&head, 0, 0) && new.len() == 0);
        let other = Buckets::new(Rate { interval_ns: SECOND / 10, burst: 4 }, 10);
        let exported = old.export(0);
        assert!(!other.import(&exported, 0, 0));
        for cut in 1..exported.len() {
            assert_eq!(new.import(&exported[..cut], 0, 0), cut >= 32 && cut % 8 == 0, "{cut}");
        }
    }

    #[test]
    fn an_import_lacks_no_more_than_a_bucket_holds_and_fills_no_more_than_the_table() {
        let (old, new) = (ten_a_second(100), ten_a_second(2));
        for bucket in 0..100 {
            old.take(bucket, 0);
        }
        let mut exported = old.export(0);
        let last = exported.len() - 8;
        exported[last..].fill(0xff);
        assert!(new.import(&exported, 0, 0));
        assert_eq!(new.len(), 2);
        let all = ten_a_second(100);
        assert!(all.import(&exported, 0, 0));
        let taken: Vec<_> = (0..100).map(|bucket| all.take(bucket, 0).wait_ns).collect();
        assert!(taken.iter().all(|wait_ns| *wait_ns <= SECOND / 10), "{taken:?}");
    }

    #[test]
    fn large_tables_are_shared_out_and_bounded_too() {
        let buckets = ten_a_second(100_000);
        assert_eq!(buckets.shards.len(), 64);
        for key in 0..200_000_u64 {
            buckets.take(buckets.hash(&key), 0);
        }
        assert!((99_000..=100_032).contains(&buckets.len()), "{}", buckets.len());
    }
}
