//! What a worker remembers of the store: fresh responses that are not large, for a short time.
//!
//! **Coherence.** A response gets in here only from the store's answer on a connection that also tells, in its order, of
//! every invalidation that is written from then on. So once an invalidation was heard of, nothing older is left. Whenever
//! that connection is in doubt all is forgotten; and if it is silent, nothing is used for longer than [`LEASE`] after the
//! last thing was asked that was answered.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::Have;
use crate::cache::fields::Fields;
use crate::cache::store::{ObjectId, Place, Record};
use crate::cache::stored::Stored;
use crate::time::Instant;

/// For how long the store may be silent.
pub const LEASE: Duration = Duration::from_secs(2);

/// Largest response that is remembered, header and body, in bytes.
const LARGEST_BYTES: usize = 64 << 10;

/// What an entry costs beside its bytes.
const OVERHEAD_BYTES: usize = 512;

/// For how long it is remembered at most, in milliseconds.
const LONGEST_MS: u64 = 30_000;

/// What is remembered of one response.
#[derive(Debug)]
struct Entry {
    have: Have,
    /// Digest of the URL, by which records of its invalidation go.
    url: [u8; 16],
    since_ms: u64,
    bytes: usize,
    /// Whether it was used since the hand has passed.
    was_used: bool,
}

/// All of a worker: bounded by bytes; what was not used since it was looked at last gives way (SIEVE).
#[derive(Debug)]
pub(super) struct Memory {
    entries: HashMap<ObjectId, Entry>,
    /// By primary key: what differs in what it varies on.
    by_key: HashMap<Vec<u8>, Vec<ObjectId>>,
    /// From the oldest on.
    order: VecDeque<ObjectId>,
    bytes: usize,
    most_bytes: usize,
    trusted_until: Instant,
}

impl Memory {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self {
            entries: HashMap::new(),
            by_key: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX),
            trusted_until: Instant::default(),
        }
    }

    /// Something that was asked at that time was answered.
    pub(super) fn trust(&mut self, asked_at: Instant) {
        self.trusted_until = self.trusted_until.max(asked_at.saturating_add(LEASE));
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is remembered for a request of this key.
    pub(super) fn get(
        &mut self,
        now: Instant,
        now_ms: u64,
        key: &[u8],
        request: &Fields,
    ) -> Option<(Rc<Stored>, Rc<[u8]>)> {
        if now >= self.trusted_until {
            return None;
        }
        let variants = self.by_key.get(key)?;
        let is_it = |object: &&ObjectId| {
            self.entries.get(*object).is_some_and(|entry| entry.have.stored.vary.matches(request))
        };
        let object = *variants.iter().find(is_it)?;
        let entry = self.entries.get_mut(&object)?;
        if now_ms.abs_diff(entry.since_ms) > LONGEST_MS {
            self.remove(object);
            return None;
        }
        entry.was_used = true;
        let Have { stored, body } = &entry.have;
        Some((Rc::clone(stored), Rc::clone(body)))
    }

    /// Remembers what the store has answered.
    pub(super) fn insert(&mut self, now_ms: u64, place: &Place, have: &Have) {
        let object = place.object;
        self.remove(object);
        let Have { stored, body } = have;
        // The key is in here twice.
        let keys = stored.key.len().saturating_mul(2);
        let parts = [stored.fields.size_bytes(), body.len(), keys, OVERHEAD_BYTES];
        let bytes = parts.into_iter().fold(0, usize::saturating_add);
        if bytes > LARGEST_BYTES || bytes > self.most_bytes {
            return;
        }
        while self.bytes.saturating_add(bytes) > self.most_bytes {
            self.make_room();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.by_key.entry(stored.key.clone()).or_default().push(object);
        let (have, url) = (have.clone(), place.url.digest());
        self.entries.insert(object, Entry { have, url, since_ms: now_ms, bytes, was_used: false });
        self.order.push_back(object);
    }

    /// Drops the oldest one that was not used since it was looked at last.
    fn make_room(&mut self) {
        while let Some(object) = self.order.pop_front() {
            match self.entries.get_mut(&object) {
                Some(entry) if entry.was_used => {
                    entry.was_used = false;
                    self.order.push_back(object);
                }
                Some(_) => {
                    self.take(object);
                    return;
                }
                None => {}
            }
        }
    }

    pub(super) fn remove(&mut self, object: ObjectId) {
        if self.take(object) {
            self.order.retain(|of| *of != object);
        }
    }

    fn take(&mut self, object: ObjectId) -> bool {
        let Some(entry) = self.entries.remove(&object) else { return false };
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        let key = &entry.have.stored.key;
        if let Some(variants) = self.by_key.get_mut(key) {
            variants.retain(|of| *of != object);
            if variants.is_empty() {
                self.by_key.remove(key);
            }
        }
        true
    }

    /// Forgets what a record of this name may be about. That of a URL or a group is about few; of any other, all is
    /// forgotten.
    pub(super) fn invalidate(&mut self, record: &[u8]) {
        let is_hit: Box<dyn Fn(&Entry) -> bool> = match Record::of(record) {
            Record::Url(digest) => Box::new(move |entry| entry.url == digest),
            Record::Group(group) => {
                Box::new(move |entry| entry.have.stored.groups.contains(&group))
            }
            Record::Other => {
                self.clear();
                return;
            }
        };
        let hit = |(object, entry): (&ObjectId, &Entry)| is_hit(entry).then_some(*object);
        let gone: Vec<_> = self.entries.iter().filter_map(hit).collect();
        gone.into_iter().for_each(|object| self.remove(object));
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.by_key.clear();
        self.order.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::groups::Group;
    use crate::cache::store::Url;
    use crate::cache::stored::GroupId;
    use crate::cache::stored::tests::{NOW_MS, stored};
    use crate::cache::vary::Names;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn filled(count: u8, most_bytes: u64) -> Memory {
        let mut memory = Memory::new(most_bytes);
        memory.trust(at(0));
        for number in 0..count {
            put(&mut memory, number);
        }
        memory
    }

    fn key(number: u8) -> Vec<u8> {
        format!("http\nexample.com\n/{number}").into_bytes()
    }

    fn have(number: u8, body: usize) -> (Place, Have) {
        let group = format!("g{number}");
        let mut stored = stored(200, &[("cache-control", "max-age=60"), ("surrogate-key", &group)]);
        stored.key = key(number);
        let place = Place::of(&stored.key, &stored.vary);
        (place, Have { stored: Rc::new(stored), body: vec![0; body].into() })
    }

    /// About 1.6 KB.
    fn put(memory: &mut Memory, number: u8) {
        let (place, have) = have(number, 1000);
        memory.insert(NOW_MS, &place, &have);
    }

    fn get(memory: &mut Memory, now: Instant, now_ms: u64, number: u8) -> bool {
        memory.get(now, now_ms, &key(number), &Fields::default()).is_some()
    }

    fn has(memory: &mut Memory, number: u8) -> bool {
        get(memory, at(1), NOW_MS, number)
    }

    #[test]
    fn it_is_used_for_a_time_and_while_the_store_is_heard() {
        let mut memory = filled(1, 1 << 20);
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        assert!(get(&mut memory, at(lease - 1), NOW_MS, 0));
        assert!(!get(&mut memory, at(lease), NOW_MS, 0));
        memory.trust(at(1000));
        assert!(get(&mut memory, at(lease), NOW_MS + LONGEST_MS, 0));
        assert!(!get(&mut memory, at(lease), NOW_MS + LONGEST_MS + 1, 0));
        assert_eq!((memory.bytes, memory.by_key.len()), (0, 0));
    }

    #[test]
    fn bytes_have_a_bound_and_what_is_used_stays() {
        let mut memory = filled(3, 5 * 1700);
        for number in 3..100 {
            assert!(has(&mut memory, 1), "it is used, {number}");
            put(&mut memory, number);
            assert!(memory.bytes <= 5 * 1700);
            assert!(has(&mut memory, number), "{number}");
        }
        assert_eq!(memory.entries.len(), memory.order.len());
        assert_eq!(memory.entries.len(), memory.by_key.len());
        assert!(!has(&mut memory, 2));
    }

    #[test]
    fn what_is_large_is_not_remembered() {
        for (most_bytes, body) in [(1 << 20, LARGEST_BYTES), (0, 0)] {
            let mut memory = Memory::new(most_bytes);
            let (place, have) = have(0, body);
            memory.insert(NOW_MS, &place, &have);
            assert!(memory.entries.is_empty());
        }
    }

    #[test]
    fn what_varies_is_told_apart() {
        let mut memory = filled(0, 1 << 20);
        let (names, mut held) = (Names::parse(b"a").unwrap(), Vec::new());
        for value in ["1", "2"] {
            let request: Fields = [("a", value)].into_iter().collect();
            let (_, mut have) = have(0, 10);
            let mut stored = (*have.stored).clone();
            stored.vary = names.values(&request);
            have.stored = Rc::new(stored);
            memory.insert(NOW_MS, &Place::of(&key(0), &have.stored.vary), &have);
            held.push((request, Rc::clone(&have.stored)));
        }
        for (request, expected) in held {
            let (stored, _) = memory.get(at(1), NOW_MS, &key(0), &request).unwrap();
            assert_eq!(stored.vary, expected.vary);
        }
        assert!(!has(&mut memory, 0), "another one");
    }

    #[test]
    fn an_invalidation_drops_what_it_is_about() {
        let record = |text: &str| format!("mp:{{t}}:cache-invalid:1:{text}").into_bytes();
        let of_group = [record("g:"), GroupId::of(&Group::shared(b"g1")).0.to_vec()].concat();
        let digest = |number| u128::from_be_bytes(Url::of(&key(number)).digest());
        let of_url = |number| record(&format!("u:{:032x}", digest(number)));
        for (record, left) in [
            (of_url(0), [false, true, true]),
            (of_group, [true, false, true]),
            (of_url(9), [true; 3]),
            (record("u:0"), [false; 3]),
            (record("h:0"), [false; 3]),
            (record("a"), [false; 3]),
            (record("p"), [false; 3]),
            (b"anything".to_vec(), [false; 3]),
        ] {
            let mut memory = filled(3, 1 << 20);
            memory.invalidate(&record);
            assert_eq!([0, 1, 2].map(|number| has(&mut memory, number)), left, "{record:?}");
        }
    }
}
