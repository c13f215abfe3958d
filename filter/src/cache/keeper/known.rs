//! What responses are known to vary on, by primary key: a guess, which the store corrects.

use std::collections::HashMap;

use crate::cache::vary::Names;

/// Most keys that are remembered, of those that vary at all. One that is forgotten costs one question more.
const MOST_KEYS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Known(HashMap<[u8; 16], Names>);

impl Known {
    pub(super) fn names(&self, primary: &[u8; 16]) -> Names {
        self.0.get(primary).cloned().unwrap_or_default()
    }

    pub(super) fn learn(&mut self, primary: [u8; 16], names: &Names) {
        if names.is_empty() {
            self.0.remove(&primary);
            return;
        }
        if self.0.len() >= MOST_KEYS && !self.0.contains_key(&primary) {
            self.0.clear();
        }
        self.0.insert(primary, names.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_a_bound_and_knows_the_newest() {
        let mut known = Known::default();
        let names = Names::parse(b"accept").unwrap();
        for number in 0..3 * MOST_KEYS as u64 {
            let mut primary = [0; 16];
            primary[..8].copy_from_slice(&number.to_le_bytes());
            known.learn(primary, &names);
            assert_eq!(known.names(&primary), names);
            assert!(known.0.len() <= MOST_KEYS);
        }
        known.learn([0; 16], &Names::default());
        assert!(known.names(&[0; 16]).is_empty());
    }
}
