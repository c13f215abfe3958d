//! A model of the store: what the scripts of `src/cache/lua` do, step by step.

use std::collections::BTreeMap;

use meliproxy::cache::keeper::{FETCH_LEASE, Outgoing, Said, Storing};
use meliproxy::cache::store::{Found, Lock, Mode, ObjectId, Place, Put, Scope, Token, Url};
use meliproxy::cache::stored::{BodyId, GroupId, Stored};
use meliproxy::cache::vary::Names;

const RECORD: &str = "mp:{sim}:cache-invalid:1:";

/// What is told to others than who asks.
#[derive(Clone, Debug)]
pub enum Told {
    /// To all.
    All(Vec<u8>),
    /// To one worker.
    One(u64, Vec<u8>),
    /// To all: records of these names were written.
    Records(Vec<Vec<u8>>),
}

/// A body, as it is asked for before the rest.
pub type Half = Option<(BodyId, Vec<u8>)>;

#[derive(Clone)]
struct Entry {
    header: Vec<u8>,
    body: (BodyId, Vec<u8>),
    epoch: u64,
    groups: Vec<GroupId>,
    until: u64,
}

#[derive(Clone)]
struct Held {
    /// None: nobody is to wait.
    token: Option<Token>,
    is_waited: bool,
    until: u64,
}

#[derive(Clone, Default)]
pub struct ModelStore {
    names: BTreeMap<[u8; 16], Names>,
    entries: BTreeMap<ObjectId, Entry>,
    locks: BTreeMap<ObjectId, Held>,
    records: BTreeMap<Vec<u8>, (u64, u64)>,
    prefixes: BTreeMap<Vec<u8>, (u64, u64)>,
    epoch: u64,
    now: u64,
    pub told: Vec<Told>,
}

impl ModelStore {
    /// `clock_us` is `TIME`; leases run by `now`.
    pub fn body(&mut self, now: u64, object: ObjectId) -> Half {
        self.pass(now);
        self.entries.get(&object).map(|entry| entry.body.clone())
    }

    pub fn answer(
        &mut self,
        now: u64,
        clock_us: u64,
        subscribers: u64,
        outgoing: &Outgoing,
        half: Half,
    ) -> Said {
        self.pass(now);
        match outgoing {
            Outgoing::Lookup { place, names, token } => self.lookup(place, names, *token, half),
            Outgoing::Acquire { place, token, received_ms } => {
                let there = self.entries.get(&place.object);
                let there = there.and_then(|entry| Stored::read(&entry.header));
                let is_it = there.is_some_and(|stored| Some(stored.received_ms) == *received_ms);
                let is_fine = received_ms.is_none() || is_it;
                Said::Lock(if is_fine { self.lock(place.object, *token) } else { Lock::Changed })
            }
            Outgoing::Put(storing) => {
                let (put, is_replaced) = self.put(storing);
                let object = storing.place.object;
                let is_waited = storing.token.is_some_and(|token| self.unlock(object, token));
                if is_replaced || is_waited {
                    self.told.push(Told::All(object.word().into_bytes()));
                }
                Said::Put(put)
            }
            Outgoing::Release { place, token, useless_for } => {
                let object = place.object;
                let is_held =
                    self.locks.get(&object).is_some_and(|held| held.token == Some(*token));
                let is_waited = self.unlock(object, *token);
                if is_held && !useless_for.is_zero() {
                    let until = now + u64::try_from(useless_for.as_micros()).unwrap();
                    self.locks.insert(object, Held { token: None, is_waited: false, until });
                }
                if is_waited {
                    self.told.push(Told::All(object.word().into_bytes()));
                }
                Said::Anything
            }
            Outgoing::Invalidate { scopes, mode, seen, .. } => {
                self.epoch = clock_us.max(self.epoch + 1).max(seen + 1);
                let names = scopes.iter().map(|scope| self.write(scope, *mode)).collect();
                self.told.push(Told::Records(names));
                Said::Epoch(self.epoch)
            }
            Outgoing::Sync { worker, number } => {
                self.told.push(Told::All(format!("sync {worker} {number}").into_bytes()));
                Said::Count(subscribers)
            }
            Outgoing::Known { worker, number } => {
                self.told.push(Told::One(*worker, format!("known {number}").into_bytes()));
                Said::Anything
            }
            Outgoing::Ping => Said::Anything,
        }
    }

    /// Its replica takes over, which has what there was some time ago.
    pub fn lose_writes_since(&mut self, behind: &Self) {
        self.clone_from(behind);
        self.told.clear();
    }

    fn pass(&mut self, now: u64) {
        self.now = now;
        self.entries.retain(|_, entry| entry.until > now);
        self.locks.retain(|_, held| held.until > now);
    }

    fn lookup(&mut self, place: &Place, names: &Names, token: Option<Token>, half: Half) -> Said {
        let actual = self.names.get(&place.primary).cloned().unwrap_or_default();
        if actual != *names {
            return Said::Found(Found::Names(actual), None);
        }
        let epoch = self.epoch;
        if let Some(entry) = self.entries.get(&place.object) {
            let (hard, soft) = self.newest(&place.url, &entry.groups);
            if hard <= entry.epoch {
                let stored = Stored::read(&entry.header).unwrap();
                let invalid_since = (soft > entry.epoch).then_some(soft);
                let body = half.filter(|(id, body)| {
                    *id == stored.body && body.len() as u64 == stored.body_bytes
                });
                let stored = Box::new(stored);
                let found = Found::Stored { stored, invalid_since, epoch };
                return Said::Found(found, body.map(|(_, body)| body));
            }
        }
        let lock = token.map_or(Lock::NotAsked, |token| self.lock(place.object, token));
        Said::Found(Found::Missing { epoch, lock }, None)
    }

    fn lock(&mut self, object: ObjectId, token: Token) -> Lock {
        let until = self.now + u64::try_from(FETCH_LEASE.as_micros()).unwrap();
        match self.locks.get_mut(&object) {
            None => {
                let held = Held { token: Some(token), is_waited: false, until };
                self.locks.insert(object, held);
                Lock::Mine
            }
            Some(Held { token: None, .. }) => Lock::Useless,
            Some(held) => {
                held.is_waited = true;
                Lock::Taken
            }
        }
    }

    /// Whether somebody waits for it.
    fn unlock(&mut self, object: ObjectId, token: Token) -> bool {
        if self.locks.get(&object).is_none_or(|held| held.token != Some(token)) {
            return false;
        }
        self.locks.remove(&object).is_some_and(|held| held.is_waited)
    }

    fn put(&mut self, storing: &Storing) -> (Put, bool) {
        let Storing { place, stored, header, body, kept, .. } = storing;
        let (hard, soft) = self.newest(&place.url, &stored.groups);
        if hard.max(soft) > stored.epoch {
            return (Put::Invalidated, false);
        }
        let before = self.entries.get(&place.object).map(|entry| entry.body.clone());
        let is_replaced = before.is_some();
        let body = match (body, before) {
            (Some(body), _) => (stored.body, body.to_vec()),
            (None, Some(before)) if before.0 == stored.body => before,
            (None, _) => return (Put::Changed, false),
        };
        let until = self.now + u64::try_from(kept.as_micros()).unwrap();
        let (header, epoch, groups) = (header.clone(), stored.epoch, stored.groups.clone());
        self.entries.insert(place.object, Entry { header, body, epoch, groups, until });
        self.names.insert(place.primary, stored.vary.names());
        (Put::Stored, is_replaced)
    }

    /// The hard and the soft epoch of what is written about these.
    fn newest(&self, url: &Url, groups: &[GroupId]) -> (u64, u64) {
        let mut records = vec![name("a"), of_host(&url.host), of_url(url)];
        records.extend(groups.iter().map(of_group));
        let of_prefixes = self.prefixes.iter().filter(|(prefix, _)| {
            let after = url.text.get(prefix.len());
            let ends = prefix.ends_with(b"/") || matches!(after, None | Some(b'/' | b'?'));
            url.text.starts_with(prefix) && ends
        });
        let records = records.iter().filter_map(|name| self.records.get(name));
        let all = records.chain(of_prefixes.map(|(_, record)| record));
        all.fold((0, 0), |most, record| (most.0.max(record.0), most.1.max(record.1)))
    }

    /// The name of what is written.
    fn write(&mut self, scope: &Scope, mode: Mode) -> Vec<u8> {
        let written = match scope {
            Scope::Url(url) => of_url(url),
            Scope::Group(group) => of_group(&GroupId::of(group)),
            Scope::Host(host) => of_host(host),
            Scope::Prefix(_) => name("p"),
            Scope::All => name("a"),
        };
        let record = match scope {
            Scope::Prefix(prefix) => self.prefixes.entry(prefix.clone()).or_default(),
            Scope::Url(_) | Scope::Group(_) | Scope::Host(_) | Scope::All => {
                self.records.entry(written.clone()).or_default()
            }
        };
        match mode {
            Mode::Hard => record.0 = self.epoch,
            Mode::Soft => record.1 = self.epoch,
        }
        written
    }
}

fn name(of: &str) -> Vec<u8> {
    format!("{RECORD}{of}").into_bytes()
}

fn of_url(url: &Url) -> Vec<u8> {
    name(&format!("u:{}", ObjectId(url.digest()).word()))
}

fn of_host(host: &[u8]) -> Vec<u8> {
    name(&format!("h:{}", String::from_utf8_lossy(host)))
}

fn of_group(group: &GroupId) -> Vec<u8> {
    [name("g:"), group.0.to_vec()].concat()
}
