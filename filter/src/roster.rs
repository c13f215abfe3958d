//! How many workers of this process are connected, and how many are degraded.
//!
//! Each worker keeps an entry in shared data alive; whoever writes also adds up. Entries run out, so a worker whose VM
//! crashed is not counted for longer than [`LEASE`]: a gauge that is raised and lowered would stay wrong for ever.

use std::time::Duration;

use crate::shared::SharedData;
use crate::time::Now;

/// How often a worker renews its entry.
pub const RENEW_EVERY: Duration = Duration::from_millis(500);
/// How long an entry counts after it was written.
pub const LEASE: Duration = Duration::from_secs(3);

/// Where the entries are.
const NAME: &str = "roster";
/// First byte of the value; entries of another version of this filter are dropped.
const FORMAT: u8 = 1;
/// Bytes of one entry: worker, end of its lease (Unix ms), state.
const ENTRY_BYTES: usize = 17;
/// Most workers of one process: Envoy's `--concurrency`, twice during a reload.
const MOST_ENTRIES: usize = 512;
/// How often writing is tried again when other workers were faster; the next renewal makes up for a lost one.
const ATTEMPTS: usize = 16;

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its connection to Redis is ready.
    Connected,
    /// It has no Redis now and counts in the process.
    Degraded,
}

/// Workers of this process by standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Workers that are connected.
    pub connected: u64,
    /// Workers that are degraded.
    pub degraded: u64,
}

/// Writes the entry of `worker` (with `None`: removes it) and adds up all that have not run out.
///
/// Returns `None` if other workers kept writing at the same time.
pub fn renew(
    shared: &mut dyn SharedData,
    now: Now,
    worker: u64,
    standing: Option<Standing>,
) -> Option<Totals> {
    for _ in 0..ATTEMPTS {
        let (stored, version) = match shared.get(NAME) {
            Some((bytes, version)) => (bytes, Some(version)),
            None => (Vec::new(), None),
        };
        let now_ms = now.unix.as_millis();
        let mut entries = decode(&stored);
        entries.retain(|entry| entry.worker != worker && entry.lives_at(now_ms));
        if let Some(standing) = standing {
            let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
            entries.push(Entry { worker, until_ms: now_ms.saturating_add(lease_ms), standing });
        }
        let kept = entries.get(entries.len().saturating_sub(MOST_ENTRIES)..).unwrap_or_default();
        if shared.set(NAME, &encode(kept), version).is_ok() {
            let count = |standing| kept.iter().filter(|entry| entry.standing == standing).count();
            return Some(Totals {
                connected: count(Standing::Connected) as u64,
                degraded: count(Standing::Degraded) as u64,
            });
        }
    }
    None
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    worker: u64,
    until_ms: u64,
    standing: Standing,
}

impl Entry {
    /// Neither run out nor further ahead than a lease reaches, as after a step back of the clock.
    fn lives_at(&self, now_ms: u64) -> bool {
        let left_ms = self.until_ms.saturating_sub(now_ms);
        left_ms > 0 && u128::from(left_ms) <= LEASE.as_millis()
    }
}

fn decode(bytes: &[u8]) -> Vec<Entry> {
    let Some((&FORMAT, entries)) = bytes.split_first() else { return Vec::new() };
    entries.chunks_exact(ENTRY_BYTES).filter_map(decode_entry).collect()
}

fn decode_entry(bytes: &[u8]) -> Option<Entry> {
    let (worker, rest) = bytes.split_first_chunk()?;
    let (until_ms, rest) = rest.split_first_chunk()?;
    let standing = match rest {
        [0] => Standing::Connected,
        [1] => Standing::Degraded,
        _ => return None,
    };
    let (worker, until_ms) = (u64::from_le_bytes(*worker), u64::from_le_bytes(*until_ms));
    Some(Entry { worker, until_ms, standing })
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + entries.len() * ENTRY_BYTES);
    bytes.push(FORMAT);
    for entry in entries {
        bytes.extend_from_slice(&entry.worker.to_le_bytes());
        bytes.extend_from_slice(&entry.until_ms.to_le_bytes());
        bytes.push(match entry.standing {
            Standing::Connected => 0,
            Standing::Degraded => 1,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::InMemory;
    use crate::time::{Instant, UnixTime};

    fn at_ms(ms: u64) -> Now {
        Now { mono: Instant::from_micros(0), unix: UnixTime::from_micros(ms * 1000) }
    }

    fn totals(connected: u64, degraded: u64) -> Option<Totals> {
        Some(Totals { connected, degraded })
    }

    #[test]
    fn workers_are_added_up_by_standing() {
        let mut shared = InMemory::default();
        let mut say = |worker, standing| renew(&mut shared, at_ms(0), worker, standing);
        assert_eq!(say(1, Some(Standing::Connected)), totals(1, 0));
        assert_eq!(say(2, Some(Standing::Degraded)), totals(1, 1));
        assert_eq!(say(1, Some(Standing::Degraded)), totals(0, 2));
        assert_eq!(say(2, None), totals(0, 1));
    }

    #[test]
    fn a_worker_that_says_nothing_runs_out() {
        let mut shared = InMemory::default();
        renew(&mut shared, at_ms(0), 1, Some(Standing::Connected));
        assert_eq!(renew(&mut shared, at_ms(2_999), 2, None), totals(1, 0));
        assert_eq!(renew(&mut shared, at_ms(3_000), 2, None), totals(0, 0));
    }

    #[test]
    fn a_clock_stepping_back_does_not_keep_the_dead_alive() {
        let mut shared = InMemory::default();
        renew(&mut shared, at_ms(1_000_000), 1, Some(Standing::Connected));
        assert_eq!(renew(&mut shared, at_ms(10), 2, None), totals(0, 0));
    }

    #[test]
    fn what_another_version_stored_is_dropped() {
        let mut shared = InMemory::default();
        shared.set(NAME, b"\x09whatever", None).unwrap();
        assert_eq!(renew(&mut shared, at_ms(0), 1, Some(Standing::Connected)), totals(1, 0));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut shared = InMemory::default();
        for worker in 0..(MOST_ENTRIES as u64 + 10) {
            renew(&mut shared, at_ms(0), worker, Some(Standing::Connected));
        }
        assert_eq!(renew(&mut shared, at_ms(0), 0, None), totals(MOST_ENTRIES as u64, 0));
    }
}
