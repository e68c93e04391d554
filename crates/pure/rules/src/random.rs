//! Random numbers for tests: those of a seed are the same for ever.

/// xorshift64*. A seed is not 0.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From 0 on, and less than the bound.
    pub(crate) fn below<N: TryInto<u64> + TryFrom<u64>>(&mut self, bound: N) -> N {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        let below = bound.try_into().ok().and_then(|bound| N::try_from(number % bound).ok());
        below.expect("a positive bound")
    }
}
