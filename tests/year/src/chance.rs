//! Randomness without a generator's state: each number is a hash of the seed and of its subject.
//! The order of concurrent calls therefore changes nothing.

/// The source of every random choice of a year.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Returns the number that decides `what`, for the thing that `a` and `b` identify.
    pub(crate) fn of(self, what: &str, a: u64, b: u64) -> u64 {
        let named = what.bytes().fold(self.0, |hash, byte| mix(hash ^ u64::from(byte)));
        mix(mix(named ^ a) ^ b)
    }

    pub(crate) fn below(self, limit: u64, what: &str, a: u64, b: u64) -> u64 {
        self.of(what, a, b) % limit.max(1)
    }

    /// Returns true in so many of a million cases.
    pub(crate) fn hits(self, of_a_million: u64, what: &str, a: u64, b: u64) -> bool {
        self.below(1_000_000, what, a, b) < of_a_million
    }

    pub(crate) fn pick<T: Copy>(self, of: &[T], what: &str, a: u64, b: u64) -> T {
        of[usize::try_from(self.of(what, a, b) >> 1).unwrap_or(0) % of.len()]
    }
}

/// The finalizer of `SplitMix64`.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
