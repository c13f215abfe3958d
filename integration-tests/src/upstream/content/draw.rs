//! Values that look random and are the same in every run.

use std::time::{Duration, SystemTime};

/// A source of values: the same for the same text, in every run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw(u64);

impl Draw {
    /// From the 64-bit FNV-1a hash of `text`.
    pub(super) fn new(text: &str) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x100_0000_01b3;
        Self(text.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
    }

    /// The value number `index`, below `below`: SplitMix64.
    pub(super) fn value(self, index: u64, below: u64) -> u64 {
        let mut z = self.0.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub(super) fn pick(self, index: u64, of: &[&'static str]) -> &'static str {
        let index = self.value(index, of.len().max(1) as u64);
        usize::try_from(index).ok().and_then(|index| of.get(index)).copied().unwrap_or_default()
    }

    /// The strong validator of what this is drawn for.
    pub(super) fn etag(self) -> String {
        format!("\"{:016x}\"", self.0)
    }

    /// Some second of the year 2024.
    pub(super) fn last_modified(self) -> SystemTime {
        const YEAR_2024: Duration = Duration::from_secs(1_704_067_200);
        SystemTime::UNIX_EPOCH
            + YEAR_2024
            + Duration::from_secs(self.value(u64::MAX - 1, 31_536_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_gives_the_same_values() {
        let (one, other) = (Draw::new("/items/1"), Draw::new("/items/2"));
        let values = |draw: Draw| (0..20).map(|index| draw.value(index, 1000)).collect::<Vec<_>>();
        assert_eq!(values(one), values(Draw::new("/items/1")));
        assert_ne!(values(one), values(other));
    }

    #[test]
    fn values_stay_below_their_bound_and_reach_it() {
        let draw = Draw::new("");
        for below in 1..10 {
            let most = (0..1000).map(|index| draw.value(index, below)).max();
            assert_eq!(most, Some(below - 1));
        }
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // The empty text and "a": draft-eastlake-fnv, appendix C.
        assert_eq!(Draw::new("").etag(), "\"cbf29ce484222325\"");
        assert_eq!(Draw::new("a").etag(), "\"af63dc4c8601ec8c\"");
    }
}
