//! Numbers that look like chance, and are the same every time.

/// A source of numbers; of the same seed, the same ones.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number, below this one.
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
}
