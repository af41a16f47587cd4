//! Numbers that look random, and are the same in each run with the same seed.

/// A source of such numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Returns one of `all`.
    pub(crate) fn choose<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let sides = u64::try_from(all.len()).unwrap();
        &all[usize::try_from(self.roll(sides)).unwrap()]
    }
}
