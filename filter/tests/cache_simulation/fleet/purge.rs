//! Purges, unsafe requests, and what must not be seen any more after them.

use meliproxy::cache::groups::Group;
use meliproxy::cache::keeper::{Header, LEASE, Mutation};
use meliproxy::cache::store::{Scope, Url};

use super::*;
use crate::upstream::{Answer, KINDS, POSTED};

/// A purge that is not answered yet.
pub(super) struct Purge {
    pub(super) node: usize,
    mode: Mode,
    began: u64,
    /// What was at the URLs that it is about when it began.
    floors: Vec<(usize, u64)>,
}

/// What was purged: when that was answered, of which URL, and which version is the oldest that may be seen since.
#[derive(Default)]
pub(super) struct Floors {
    hard: Vec<(u64, usize, u64)>,
    soft: Vec<(u64, usize, u64)>,
}

impl Floors {
    fn of(floors: &[(u64, usize, u64)], began: u64, url: usize) -> u64 {
        let is_it = |(done_at, of, _): &&(u64, usize, u64)| *done_at < began && *of == url;
        floors.iter().filter(is_it).map(|(_, _, version)| *version).max().unwrap_or_default()
    }

    pub(super) fn hard(&self, began: u64, url: usize) -> u64 {
        Self::of(&self.hard, began, url)
    }

    /// What is older is not to be used as if it was fresh.
    pub(super) fn soft(&self, began: u64, url: usize) -> u64 {
        Self::of(&self.soft, began, url).max(self.hard(began, url))
    }
}

fn url_of(url: usize) -> Url {
    Url::of(format!("http\nexample.com\n/{url}").as_bytes())
}

impl Fleet {
    pub(super) fn change(&mut self) {
        let (any, url) = (self.any_node(), self.any_url(POSTED));
        // Whoever purges repeats that when it joins anew; others have to do without.
        let node = if self.hot.is_some() { any % 2 } else { any };
        if self.rng.up_to(2) == 0 {
            self.mutate(node, url);
        } else {
            self.purge(node, url);
        }
    }

    fn purge(&mut self, node: usize, url: usize) {
        let grouped = |url: usize| KINDS[url].is_grouped;
        let (scope, urls): (_, Vec<usize>) = match self.rng.up_to(9) {
            0 => (Scope::All, (0..POSTED).collect()),
            1 => (Scope::Host(b"example.com".to_vec()), (0..POSTED).collect()),
            2 => (Scope::Prefix(b"http\nexample.com\n/".to_vec()), (0..POSTED).collect()),
            3 => (Scope::Prefix(url_of(url).text), vec![url]),
            4 | 5 => {
                let urls = (0..POSTED).filter(|url| grouped(*url)).collect();
                (Scope::Group(Group::shared(b"g")), urls)
            }
            _ => (Scope::Url(url_of(url)), vec![url]),
        };
        if self.rng.up_to(3) > 0 {
            urls.iter().for_each(|url| self.upstream.versions[*url] += 1);
        }
        let mode = if self.rng.up_to(3) == 0 { Mode::Soft } else { Mode::Hard };
        self.begin(node, scope, &urls, mode);
    }

    /// Something is purged, and then the store loses that.
    pub fn purge_and_forget(&mut self, url: usize) {
        self.behind = self.store.clone();
        self.upstream.versions[url] += 1;
        let (node, purged) = (self.any_node(), self.counts.purged);
        self.begin(node, Scope::Url(url_of(url)), &[url], Mode::Hard);
        self.run_for(300_000);
        assert_eq!(self.counts.purged, purged + 1);
        self.fail_over();
    }

    fn begin(&mut self, node: usize, scope: Scope, urls: &[usize], mode: Mode) {
        let floors = urls.iter().map(|url| (*url, self.upstream.versions[*url])).collect();
        self.sequence += 1;
        let asker = u32::try_from(self.sequence).unwrap();
        self.purges.insert(asker, Purge { node, mode, began: self.now, floors });
        self.tell(node, |keeper, now| keeper.purge(now, vec![scope], mode, asker));
    }

    pub(super) fn invalidated(&mut self, asker: u32, done: bool) {
        let purge = self.purges.remove(&asker).expect("answered twice, or to nobody");
        let most = u64::try_from(LEASE.as_micros()).unwrap() + 2 * DEADLINE_US;
        assert!(self.now - purge.began <= most, "a purge took {} us", self.now - purge.began);
        if done {
            self.counts.purged += 1;
            let floors = match purge.mode {
                Mode::Hard => &mut self.floors.hard,
                Mode::Soft => &mut self.floors.soft,
            };
            floors.extend(purge.floors.iter().map(|(url, version)| (self.now, *url, *version)));
        }
    }

    /// Something is changed by a request through a worker.
    fn mutate(&mut self, node: usize, url: usize) {
        let (url, method) = if self.posts { (POSTED, "POST") } else { (url, "PUT") };
        self.upstream.versions[url] += 1;
        let content = self.upstream.content(url, 0);
        let (life, lasts) = (self.nodes[node].life, self.rng.up_to(100_000));
        let mutated = Happening::Mutated { node, life, url, content, method };
        self.schedule(self.now + lasts, mutated);
    }

    pub(super) fn mutated(
        &mut self,
        node: usize,
        url: usize,
        content: Content,
        method: &'static str,
    ) {
        let asking = request::asking("GET", url, &[]);
        let mut fields = content.fields();
        if method == "POST" {
            fields.push(b"content-location", format!("/{url}").as_bytes());
            self.upstream.heard_at.insert(content, self.now);
        }
        let header = Header { status: 200, fields, is_upstreams: true };
        let mutation = Mutation { method: method.into(), asking };
        let filling = self.tell(node, |keeper, now| keeper.on_mutated(now, mutation, &header));
        if let Some(filling) = filling {
            self.sequence += 1;
            let (call, answer) = (self.sequence, Some(Answer { header, content: Some(content) }));
            let (stage, target) = (request::Stage::Filling(filling), (url, 0));
            self.calls.insert(call, request::Call { node, wanted: None, stage, answer, target });
            let at = self.now + self.rng.up_to(300_000);
            self.schedule(at, Happening::Filled { call });
        }
    }

    /// Nobody waits for a purge any more.
    pub(super) fn check_purges(&self) {
        assert!(self.purges.is_empty(), "a purge was never answered");
    }
}
