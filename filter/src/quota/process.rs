//! Counting within one process: without Redis, and while Redis is out of reach.
//!
//! The workers of a process share counters in slots of fixed number and size. Several keys compete for the entries of
//! a slot; a keyed hash decides which. Compare-and-swap makes each counter exact over the workers; a request's checks
//! are looked at before any is counted, and taken back if another worker was faster.

use super::algorithm::{Counter, State};
use super::{Check, Decision, Standing};
use crate::key::KeyHash;
use crate::shared::{SharedData, Version};
use crate::time::UnixTime;

/// Slots of a process. With [`ENTRIES`] entries of 48 bytes each: 16,384 counters in 800 KB, plus their names.
const SLOTS: usize = 4096;
/// Entries of one slot. Every read copies the whole slot, so it stays small.
const ENTRIES: usize = 4;
/// Bytes of one stored entry: six numbers.
const ENTRY_BYTES: usize = 48;
/// First byte of a slot. Other versions of this filter may have left slots behind: what is not ours counts as empty.
const FORMAT: u8 = 2;
/// How often a slot is tried again when other workers were faster. Each failure means that another one succeeded.
const ATTEMPTS: usize = 64;

/// Decides all checks of one request: takes its units of every counter, or of none.
pub fn take(shared: &mut dyn SharedData, checks: &[Check], now: UnixTime) -> Decision {
    let mut read: Vec<Read<'_>> =
        checks.iter().map(|check| Read::new(shared, check, now)).collect();
    let mut allowed = read.iter().all(|read| read.suffices() || !read.check.enforced);
    for read in read.iter_mut().filter(|_| allowed) {
        read.is_taken = read.take(shared, now);
        if !read.is_taken && read.check.enforced {
            allowed = false;
            break;
        }
    }
    for read in read.iter_mut().filter(|read| read.is_taken && !allowed) {
        read.give_back(shared, now);
        read.is_taken = false;
    }
    Decision::new(allowed, read.iter().map(Read::standing).collect())
}

/// One check's counter as it was read last, with all it takes to write it back.
struct Read<'a> {
    check: &'a Check,
    slot: Slot,
    version: Option<Version>,
    counter: Counter,
    /// Whether the units of the request are taken of it.
    is_taken: bool,
}

impl<'a> Read<'a> {
    fn new(shared: &mut dyn SharedData, check: &'a Check, now: UnixTime) -> Self {
        let stored = shared.get(&slot_name(check.hash));
        let (slot, version) = match stored {
            Some((bytes, version)) => (Slot::decode(&bytes), Some(version)),
            None => (Slot::default(), None),
        };
        let counter = Counter::new(check.policy, slot.state(check.hash.tag()), now);
        Self { check, slot, version, counter, is_taken: false }
    }

    fn suffices(&self) -> bool {
        self.counter.has(self.check.cost)
    }

    fn standing(&self) -> Standing {
        Standing::of(&self.counter, self.check.cost, self.is_taken)
    }

    /// Takes the units of a request, unless others have taken them in between.
    fn take(&mut self, shared: &mut dyn SharedData, now: UnixTime) -> bool {
        for _ in 0..ATTEMPTS {
            if !self.suffices() {
                return false;
            }
            self.counter.take(self.check.cost);
            if self.store(shared, now) {
                return true;
            }
            *self = Self::new(shared, self.check, now);
        }
        // Sixty-four others were counted meanwhile; letting one uncounted request pass is better than a stall.
        true
    }

    /// Gives back what a request has taken that another check of it refused.
    fn give_back(&mut self, shared: &mut dyn SharedData, now: UnixTime) {
        for _ in 0..ATTEMPTS {
            *self = Self::new(shared, self.check, now);
            self.counter.give_back(self.check.cost);
            if self.store(shared, now) {
                return;
            }
        }
    }

    fn store(&self, shared: &mut dyn SharedData, now: UnixTime) -> bool {
        let mut slot = self.slot.clone();
        let entry = Entry {
            tag: self.check.hash.tag(),
            expires_at_ms: self.counter.expires_at_ms(),
            weight: self.check.policy.limit.saturating_sub(self.counter.remaining()),
            state: self.counter.state(),
        };
        slot.put(entry, now);
        shared.set(&slot_name(self.check.hash), &slot.encode(), self.version).is_ok()
    }
}

fn slot_name(hash: KeyHash) -> String {
    format!("count:{}", hash.slot(SLOTS))
}

#[derive(Clone, Debug, Default)]
struct Slot {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u64,
    expires_at_ms: u64,
    /// Units taken: what decides who stays in a full slot.
    weight: u64,
    state: State,
}

impl Slot {
    fn decode(bytes: &[u8]) -> Self {
        let entries = match bytes.split_first() {
            Some((&FORMAT, entries)) => entries,
            Some(_) | None => &[],
        };
        let entries = entries.chunks_exact(ENTRY_BYTES).take(ENTRIES).map(Entry::decode).collect();
        Self { entries }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + ENTRIES * ENTRY_BYTES);
        bytes.push(FORMAT);
        for entry in &self.entries {
            let State { at, held, before } = entry.state;
            for number in [entry.tag, entry.expires_at_ms, entry.weight, at, held, before] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes
    }

    fn state(&self, tag: u64) -> Option<State> {
        self.entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.state)
    }

    /// Stores an entry in place of its former self, of one that is over, or in a full slot of the one of which
    /// the least was taken: a flood of new keys cannot push out those that are close to their limit.
    fn put(&mut self, new: Entry, now: UnixTime) {
        let over = |entry: &Entry| entry.expires_at_ms <= now.as_millis();
        let own = self.entries.iter().position(|entry| entry.tag == new.tag);
        let free = || self.entries.iter().position(over);
        if let Some(at) = own.or_else(free) {
            if let Some(entry) = self.entries.get_mut(at) {
                *entry = new;
            }
        } else if self.entries.len() < ENTRIES {
            self.entries.push(new);
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|entry| entry.weight) {
            *least = new;
        }
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let eight = bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok());
            u64::from_le_bytes(eight.unwrap_or_default())
        };
        let state = State { at: number(24), held: number(32), before: number(40) };
        Self { tag: number(0), expires_at_ms: number(8), weight: number(16), state }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Algorithm, Per};
    use crate::quota::policy::Policy;
    use crate::shared::InMemory;

    const MINUTE: Duration = Duration::from_secs(60);

    fn check(slot: u64, tag: u64, limit: u64) -> Check {
        let place = (slot << 52) | 1;
        let policy = Policy { algorithm: Algorithm::FixedWindow, limit, per: Per::Span(MINUTE) };
        let hash = KeyHash::from_parts(place, tag);
        Check { rule: 0, policy, cost: 1, name: Vec::new(), hash, enforced: true, lease_life: None }
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_micros(secs * 1_000_000)
    }

    #[test]
    fn exactly_the_limit_passes_and_the_next_window_starts_anew() {
        let mut shared = InMemory::default();
        let checks = [check(1, 7, 3)];
        let mut passes = |secs| take(&mut shared, &checks, at(secs)).is_allowed();
        assert_eq!(
            [passes(0), passes(1), passes(2), passes(3), passes(59)],
            [true, true, true, false, false]
        );
        assert!(passes(60));
    }

    #[test]
    fn remaining_and_reset_are_told() {
        let mut shared = InMemory::default();
        let checks = [check(1, 7, 2)];
        let left = |decision: Decision| decision.standings().to_vec();
        let reset_after = Duration::from_secs(50);
        assert_eq!(
            left(take(&mut shared, &checks, at(10))),
            [Standing::Within { remaining: 1, reset_after }]
        );
        assert_eq!(
            left(take(&mut shared, &checks, at(10))),
            [Standing::Within { remaining: 0, reset_after }]
        );
        assert_eq!(
            left(take(&mut shared, &checks, at(10))),
            [Standing::Exceeded { remaining: 0, reset_after }]
        );
    }

    #[test]
    fn a_refused_request_counts_on_no_check() {
        let mut shared = InMemory::default();
        let (wide, narrow) = (check(1, 7, 10), check(2, 8, 1));
        assert!(take(&mut shared, &[wide.clone(), narrow.clone()], at(0)).is_allowed());
        for _ in 0..5 {
            assert!(!take(&mut shared, &[wide.clone(), narrow.clone()], at(0)).is_allowed());
        }
        let passed = (0..20)
            .filter(|_| take(&mut shared, std::slice::from_ref(&wide), at(0)).is_allowed())
            .count();
        assert_eq!(passed, 9);
    }

    #[test]
    fn a_shadow_counts_until_its_limit_and_refuses_nothing() {
        let mut shared = InMemory::default();
        let mut shadow = check(1, 7, 2);
        shadow.enforced = false;
        let checks = [shadow, check(2, 8, 4)];
        let mut exceeded = |secs| {
            let decision = take(&mut shared, &checks, at(secs));
            let exceeded = decision.standings().iter().map(Standing::is_exceeded);
            (decision.is_allowed(), exceeded.collect::<Vec<_>>())
        };
        assert_eq!(exceeded(0), (true, vec![false, false]));
        assert_eq!(exceeded(1), (true, vec![false, false]));
        assert_eq!(exceeded(2), (true, vec![true, false]));
        assert_eq!(exceeded(3), (true, vec![true, false]));
        assert_eq!(exceeded(4), (false, vec![true, true]));
    }

    #[test]
    fn checks_that_fall_into_one_slot_are_both_counted() {
        let mut shared = InMemory::default();
        let checks = [check(5, 1, 2), check(5, 2, 2)];
        assert!(take(&mut shared, &checks, at(0)).is_allowed());
        assert!(take(&mut shared, &checks, at(0)).is_allowed());
        assert!(!take(&mut shared, &checks[..1], at(0)).is_allowed());
        assert!(!take(&mut shared, &checks[1..], at(0)).is_allowed());
    }

    #[test]
    fn a_flood_of_keys_neither_grows_the_memory_nor_forgets_a_key_in_use() {
        let mut shared = InMemory::default();
        let busy = check(9, u64::MAX, 5);
        for _ in 0..5 {
            assert!(take(&mut shared, std::slice::from_ref(&busy), at(0)).is_allowed());
        }
        for tag in 0..100_000 {
            let stranger = check(tag % 4096, tag, 5);
            assert!(take(&mut shared, &[stranger], at(1)).is_allowed());
        }
        assert!(!take(&mut shared, &[busy], at(2)).is_allowed());
        assert!(shared.names_count() <= SLOTS);
        let slot = shared.get("count:9").unwrap().0;
        assert!(slot.len() <= 1 + ENTRIES * ENTRY_BYTES);
    }

    #[test]
    fn slots_of_another_format_count_as_empty() {
        for bytes in [&b""[..], b"\x02garbage", &[FORMAT; 10]] {
            assert_eq!(Slot::decode(bytes).entries, []);
        }
    }

    #[test]
    fn workers_at_once_admit_exactly_the_limit() {
        let shared = InMemory::default();
        let admitted: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    let mut shared = shared.clone();
                    scope.spawn(move || {
                        let checks = [check(1, 7, 1000), check(2, 8, 2000)];
                        (0..500).filter(|_| take(&mut shared, &checks, at(0)).is_allowed()).count()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1000);
    }
}
