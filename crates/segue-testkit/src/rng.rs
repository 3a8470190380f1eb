//! Random numbers from a seed: the same on every machine, and nothing that an attacker couldn't guess.

/// A generator (xoshiro256++), started from a seed and a purpose. Generators of different purposes are independent,
/// so that one more draw for the network moves nothing on the disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The generator of this seed for this purpose.
    pub fn new(seed: u64, purpose: &str) -> Rng {
        let mut hasher = blake3::Hasher::new_derive_key("segue testkit rng");
        hasher.update(&seed.to_be_bytes()).update(purpose.as_bytes());
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hasher.finalize().as_bytes().chunks_exact(8)) {
            *word = u64::from_be_bytes(bytes.try_into().unwrap_or([1; 8]));
        }
        Rng(words)
    }

    /// Sixty-four random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias of a multiplication is below 2⁻⁴⁰ for the ranges that are drawn here.
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A number of the range, both ends included.
    pub fn within(&mut self, span: Span) -> u64 {
        span.0 + self.below((span.1 - span.0.min(span.1)).saturating_add(1))
    }

    /// True in `permille` of a thousand cases. Draws nothing for 0, so that a fault that is off costs no randomness.
    pub fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// One of the items; none of none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.bits() as u8)
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.bits().to_be_bytes());
        }
        out.truncate(len);
        out
    }
}

/// A range of numbers, both ends included; for times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(pub u64, pub u64);

impl Span {
    /// Always this.
    pub const fn just(value: u64) -> Span {
        Span(value, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_purposes_differ_and_repeat() {
        let draw = |seed, purpose| Rng::new(seed, purpose).bits();
        assert_eq!(draw(1, "net"), draw(1, "net"));
        assert_ne!(draw(1, "net"), draw(2, "net"));
        assert_ne!(draw(1, "net"), draw(1, "disk"));
    }

    #[test]
    fn ranges_hold_their_ends() {
        let mut rng = Rng::new(7, "ranges");
        let drawn: Vec<u64> = (0..1000).map(|_| rng.within(Span(3, 5))).collect();
        assert!(drawn.iter().all(|n| (3..=5).contains(n)) && drawn.contains(&3) && drawn.contains(&5));
        assert_eq!(rng.within(Span::just(9)), 9);
    }
}
