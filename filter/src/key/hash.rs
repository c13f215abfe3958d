//! Keyed hashes of counters' names.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Secret of the tables' hash: with it unknown, clients cannot aim at each other's entries.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(pub [u8; 16]);

/// Seed of the hash that chooses the keys a rule is enforced for. Never to be changed: all replicas choose alike, and
/// a new version chooses as the one before.
const SHARES: HashSeed = HashSeed(*b"meliproxy/shares");

/// A keyed 128-bit hash of a counter's name, for the tables of fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash {
    place: u64,
    tag: u64,
}

impl KeyHash {
    /// SipHash-1-3 with 128 bits of `name`.
    #[must_use]
    pub fn of(seed: &HashSeed, name: &[u8]) -> Self {
        let mut hasher = SipHasher13::new_with_key(&seed.0);
        hasher.write(name);
        let hash = hasher.finish128();
        Self { place: hash.h1, tag: hash.h2 }
    }

    /// A hash made of its halves, for tests of the tables.
    #[cfg(test)]
    pub(crate) const fn from_parts(place: u64, tag: u64) -> Self {
        Self { place, tag }
    }

    /// The half that tells entries of one slot apart.
    #[must_use]
    pub const fn tag(self) -> u64 {
        self.tag
    }

    /// One of `slots_count` places, from the other half.
    #[must_use]
    pub fn slot(self, slots_count: usize) -> usize {
        let wide = u128::from(self.place) * slots_count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// Whether the counter called `name` is among the `percent` of counters that a rule is enforced for, 0 (none) to 100
/// (all).
///
/// The same on all replicas and for ever; who is among 10 percent is also among 20.
#[must_use]
pub fn is_enforced(name: &[u8], percent: u8) -> bool {
    percent >= 100 || (percent > 0 && KeyHash::of(&SHARES, name).slot(100) < usize::from(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Vec<u8> {
        format!("mp:{{meli}}:fw:1:rule:60:192.0.2.{number}").into_bytes()
    }

    #[test]
    fn a_share_has_about_its_size_and_only_grows() {
        for percent in 0..=100 {
            let count = (0..10_000).filter(|number| is_enforced(&name(*number), percent)).count();
            let expected = usize::from(percent) * 100;
            // Four standard deviations of 10,000 draws are at most 200.
            assert!(count.abs_diff(expected) <= 200, "{count} of 10,000 for {percent} %");
        }
        for number in 0..1000 {
            let first = (0..=100).find(|percent| is_enforced(&name(number), *percent)).unwrap();
            assert!(first >= 1);
            assert!((first..=100).all(|percent| is_enforced(&name(number), percent)));
        }
    }

    #[test]
    fn no_version_chooses_otherwise() {
        let enforced: Vec<usize> =
            (0..32).filter(|number| is_enforced(&name(*number), 25)).collect();
        assert_eq!(enforced, [2, 10, 11, 12, 17, 19, 20, 22, 24, 26]);
    }
}
