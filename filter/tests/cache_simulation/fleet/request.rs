//! Requests, and what becomes of them: at the keepers, and at the upstream.

use std::rc::Rc;

use meliproxy::cache::fields::Fields;
use meliproxy::cache::keeper::{Arrival, COLLAPSE_TIMEOUT};
use meliproxy::cache::request::Request;

use super::*;
use crate::upstream::{Answer, LANGUAGES, POSTED};

/// Beyond which nobody waits: it is looked once a second, and the store may be silent twice.
pub(super) const SLACK_US: u64 = 2_000_000;

/// A request that waits, or has gone on.
pub(super) struct Wanted {
    pub(super) node: usize,
    pub(super) asker: u32,
    pub(super) url: usize,
    pub(super) language: u64,
    pub(super) asking: Asking,
    pub(super) began: u64,
}

pub(super) enum Stage {
    Fetch(Box<Fetch>),
    Filling(Box<Filling>),
}

/// A request to the upstream; nobody wants it if it refreshes.
pub(super) struct Call {
    pub(super) node: usize,
    pub(super) wanted: Option<Wanted>,
    pub(super) stage: Stage,
    pub(super) answer: Option<Answer>,
    pub(super) target: (usize, u64),
}

pub(super) fn asking(method: &str, url: usize, fields: &[(&str, &str)]) -> Asking {
    let path = format!("/{url}");
    let fields: Fields = fields.iter().copied().collect();
    let request = Request::of(method.as_bytes(), path.as_bytes(), fields, true, &[]).unwrap();
    let key = format!("http\nexample.com\n{path}").into_bytes().into();
    let target = [b"http".to_vec(), b"example.com".to_vec(), path.into_bytes()];
    Asking { policy: 0, key, target: Rc::new(target), request: Rc::new(request) }
}

impl Fleet {
    /// Any request at any worker.
    pub(super) fn request(&mut self) {
        let url = self.any_url(if self.posts { POSTED + 1 } else { POSTED });
        let extra = match self.rng.up_to(19) {
            0 | 1 => Some(("cache-control", "no-cache")),
            2 => Some(("cache-control", "max-stale=3")),
            3 => Some(("cache-control", "only-if-cached")),
            4 => Some(("cache-control", "no-store")),
            5 | 6 => Some(("range", "bytes=0-1")),
            _ => None,
        };
        let method = if self.rng.up_to(9) == 0 { "HEAD" } else { "GET" };
        let node = self.any_node();
        let asker = self.ask(node, method, url, extra);
        if self.rng.up_to(9) == 0 {
            let at = self.now + self.rng.up_to(300_000);
            self.schedule(at, Happening::Leave { asker });
        }
    }

    /// Whose number is returned.
    pub fn ask(
        &mut self,
        node: usize,
        method: &str,
        url: usize,
        extra: Option<(&str, &str)>,
    ) -> u32 {
        let language = self.rng.up_to(LANGUAGES - 1);
        let (of_language, other) = (language.to_string(), self.rng.up_to(1).to_string());
        let mut fields = vec![("x-lang", of_language.as_str()), ("x-other", other.as_str())];
        fields.extend(extra);
        let asking = asking(method, url, &fields);
        self.sequence += 1;
        let asker = u32::try_from(self.sequence).unwrap();
        let began = self.now;
        let wanted = Wanted { node, asker, url, language, asking: asking.clone(), began };
        self.asking.insert(asker, wanted);
        let now = self.now_of(node);
        match self.nodes[node].keeper.look(now, asker, asking) {
            Look::Wait => {}
            look @ (Look::Reply(_) | Look::Forward(_)) => self.decided(node, asker, look),
        }
        self.drain(node);
        asker
    }

    pub(super) fn decided(&mut self, node: usize, asker: u32, look: Look) {
        let wanted = self.asking.remove(&asker).expect("decided twice, or for nobody");
        let waited = self.now - wanted.began;
        let most = u64::try_from(COLLAPSE_TIMEOUT.as_micros()).unwrap() + SLACK_US;
        assert!(waited <= most, "waited for {waited} us");
        match look {
            Look::Reply(reply) => self.check_reply(&wanted, &reply),
            Look::Forward(fetch) => {
                let only_if_cached = wanted.asking.request.directives.only_if_cached;
                assert!(!only_if_cached, "it wanted what is stored only");
                self.forward(node, Some(wanted), fetch);
            }
            Look::Wait => panic!("to wait is no decision"),
        }
    }

    pub(super) fn forward(&mut self, node: usize, wanted: Option<Wanted>, fetch: Box<Fetch>) {
        if self.upstream.breaker_is_open && self.rng.up_to(3) > 0 {
            let now = self.now_of(node);
            let reply = self.nodes[node].keeper.on_refused(now, *fetch);
            if let (Some(wanted), Some(reply)) = (wanted, reply) {
                self.check_reply(&wanted, &reply);
            }
            return;
        }
        let target = wanted
            .as_ref()
            .map_or_else(|| self.target_of(&fetch), |wanted| (wanted.url, wanted.language));
        self.sequence += 1;
        let call = self.sequence;
        let stage = Stage::Fetch(fetch);
        self.calls.insert(call, Call { node, wanted, stage, answer: None, target });
        let at = self.now + self.rng.up_to(5000);
        self.schedule(at, Happening::Asked { call });
    }

    /// Which URL and which language is asked for.
    fn target_of(&self, fetch: &Fetch) -> (usize, u64) {
        let lines = fetch.request();
        let value = |name: &str| String::from_utf8(lines.first(name).unwrap().to_vec()).unwrap();
        (value(":path").trim_start_matches('/').parse().unwrap(), value("x-lang").parse().unwrap())
    }

    pub(super) fn ask_upstream(&mut self, call: u64) {
        let Some(Call { stage: Stage::Fetch(fetch), target, answer, .. }) =
            self.calls.get_mut(&call)
        else {
            return;
        };
        let (url, language) = *target;
        *answer = Some(self.upstream.answer(self.now, &mut self.rng, fetch, url, language));
        let is_slow = self.upstream.is_slow && self.rng.up_to(9) == 0;
        let lasts = self.rng.up_to(if is_slow { 15_000_000 } else { 100_000 });
        let at = self.now + self.upstream.least_us.max(lasts);
        self.schedule(at, Happening::Header { call });
    }

    pub(super) fn header(&mut self, call: u64) {
        let Some(Call { node, wanted, stage, answer, target }) = self.calls.remove(&call) else {
            return;
        };
        let (Stage::Fetch(fetch), Some(answer)) = (stage, answer) else { panic!("not asked") };
        self.upstream.answered_at.push(self.now);
        if let Some(content) = answer.content {
            self.upstream.heard_at.insert(content, self.now);
        }
        let now = self.now_of(node);
        match self.nodes[node].keeper.on_header(now, fetch, &answer.header) {
            Arrival::Pass(_) => assert_ne!(
                (answer.header.status, answer.header.is_upstreams && target.0 != POSTED),
                (304, true),
                "nobody has asked for that"
            ),
            Arrival::Reply(reply) => {
                if let Some(wanted) = &wanted {
                    self.check_reply(wanted, &reply);
                }
            }
            Arrival::Fill(filling, _) => {
                let stage = Stage::Filling(filling);
                let answer = Some(answer);
                self.calls.insert(call, Call { node, wanted, stage, answer, target });
                let at = self.now + self.rng.up_to(20_000);
                self.schedule(at, Happening::Filled { call });
            }
        }
        self.drain(node);
    }

    pub(super) fn fill(&mut self, call: u64) {
        let Some(Call { node, stage, answer, .. }) = self.calls.remove(&call) else { return };
        let (Stage::Filling(filling), Some(answer)) = (stage, answer) else { panic!("no body") };
        let body = answer.content.map(Content::body).unwrap_or_default();
        self.fill_with(node, filling, &body);
    }

    /// The body comes in two parts; sometimes only the first one.
    fn fill_with(&mut self, node: usize, filling: Box<Filling>, body: &[u8]) {
        let is_cut = self.upstream.is_flaky && self.rng.up_to(4) == 0;
        let (one, other) = body.split_at(body.len() / 2);
        self.tell(node, |keeper, now| {
            let filling = keeper.on_body(now, filling, one).unwrap();
            if is_cut {
                keeper.on_cut(now, filling);
            } else if let Some(filling) = keeper.on_body(now, filling, other) {
                keeper.on_filled(now, filling);
            }
        });
    }

    /// A client goes away, wherever its request is.
    pub(super) fn leave(&mut self, asker: u32) {
        if let Some(wanted) = self.asking.remove(&asker) {
            self.tell(wanted.node, |keeper, _| keeper.forget(asker));
            return;
        }
        let is_its = |call: &Call| call.wanted.as_ref().is_some_and(|of| of.asker == asker);
        let Some(call) = self.calls.iter().find(|(_, call)| is_its(call)).map(|(call, _)| *call)
        else {
            return;
        };
        let Call { node, stage, .. } = self.calls.remove(&call).unwrap();
        self.tell(node, |keeper, now| match stage {
            Stage::Fetch(fetch) => keeper.on_abandoned(now, *fetch),
            Stage::Filling(filling) => keeper.on_cut(now, filling),
        });
    }

    /// A worker dies with all that it knew and all that it did, without a word; another one takes its place.
    pub(super) fn kill(&mut self, node: usize) {
        let life = self.nodes[node].life + 1;
        self.asking.retain(|_, wanted| wanted.node != node);
        self.calls.retain(|_, call| call.node != node);
        self.purges.retain(|_, purge| purge.node != node);
        self.nodes[node] = self.node(life);
        self.schedule(self.now + 50_000, Happening::Join { node, life });
    }

    /// The worker that fetches something for others dies. How many others wait there.
    pub fn kill_who_fetches(&mut self) -> u64 {
        let node = self.calls.values().next().expect("nobody fetches").node;
        let waiting = self.asking.values().filter(|wanted| wanted.node == node).count();
        self.kill(node);
        waiting as u64
    }

    /// The client whose request is at the upstream goes away.
    pub fn leave_who_fetches(&mut self) {
        let call = self.calls.values().next().expect("nobody fetches");
        let asker = call.wanted.as_ref().unwrap().asker;
        self.leave(asker);
    }
}
