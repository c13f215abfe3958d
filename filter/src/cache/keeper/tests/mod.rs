//! Single rules of the keeper, told by hand what the store and the upstream say. The whole of it, with all that can
//! happen meanwhile, is in `tests/cache_simulation`.

mod failures;
mod fetches;
mod locks;
mod purges;

use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::cache::store::{Found, Lock, Put, Scope, Url};
use crate::cache::stored::tests::{NOW_MS, stored};
use crate::time::UnixTime;

/// Any epoch.
const EPOCH: u64 = 5;
/// The body of [`stored`].
const BODY: &[u8] = b"01234567890";

struct World {
    keeper: Keeper,
    now_ms: u64,
    counted: Vec<Series>,
    invalidated: Vec<(u32, bool)>,
    refreshes: Vec<Fetch>,
}

fn asking(method: &str, path: &str, fields: &[(&str, &str)]) -> Asking {
    let fields = fields.iter().copied().collect();
    let request = Request::of(method.as_bytes(), path.as_bytes(), fields, true, &[]).unwrap();
    let target = [b"http".to_vec(), b"example.com".to_vec(), path.into()];
    let key = format!("http\nexample.com\n{path}").into_bytes().into();
    Asking { policy: 0, key, target: Rc::new(target), request: Rc::new(request) }
}

fn get(fields: &[(&str, &str)]) -> Asking {
    asking("GET", "/a", fields)
}

fn header(status: u16, fields: &[(&str, &str)]) -> Header {
    Header { status, fields: fields.iter().copied().collect(), is_upstreams: true }
}

fn missing(lock: Lock) -> Said {
    Said::Found(Found::Missing { epoch: EPOCH, lock }, None)
}

/// A response to a GET of /a that is there.
fn there(fields: &[(&str, &str)]) -> Said {
    let stored = Box::new(stored(200, fields));
    Said::Found(Found::Stored { stored, invalid_since: None, epoch: EPOCH }, Some(BODY.to_vec()))
}

impl World {
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let keeper = Keeper::new(vec![policy], 1 << 20, 7, Rng::with_seed(1));
        let (counted, invalidated, refreshes) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { keeper, now_ms: 0, counted, invalidated, refreshes };
        let now = world.now();
        world.keeper.on_joined(now, true);
        let (id, outgoing) = world.says();
        assert_eq!(outgoing, Outgoing::Ping);
        world.hears(id, Said::Anything);
        world
    }

    fn now(&self) -> Now {
        let unix = UnixTime::from_micros((NOW_MS + self.now_ms) * 1000);
        Now { mono: Instant::from_micros(1_000_000 + self.now_ms * 1000), unix }
    }

    fn pass(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
        let now = self.now();
        self.keeper.on_time(now);
    }

    /// Asks; it has to wait.
    fn waits(&mut self, asker: u32, asking: Asking) {
        let now = self.now();
        let look = self.keeper.look(now, asker, asking);
        assert!(matches!(look, Look::Wait), "{look:?}");
    }

    /// What is said next, but for signs of life.
    fn poll(&mut self) -> Option<(OutgoingId, Outgoing)> {
        std::iter::from_fn(|| self.keeper.poll_outgoing())
            .find(|(_, outgoing)| self.now_ms == 0 || *outgoing != Outgoing::Ping)
    }

    fn says(&mut self) -> (OutgoingId, Outgoing) {
        self.poll().unwrap()
    }

    fn is_silent(&mut self) -> bool {
        self.poll().is_none()
    }

    fn hears(&mut self, id: OutgoingId, said: Said) {
        let now = self.now();
        self.keeper.on_said(now, id, said);
    }

    /// A lookup is said, and answered so. Its token.
    fn looks_up(&mut self, said: Said) -> Option<Token> {
        let (id, outgoing) = self.says();
        let Outgoing::Lookup { token, .. } = outgoing else { panic!("{outgoing:?}") };
        self.hears(id, said);
        token
    }

    /// The lock is asked for, and got or not.
    fn acquires(&mut self, lock: Lock) -> Token {
        let (id, outgoing) = self.says();
        let Outgoing::Acquire { token, .. } = outgoing else { panic!("{outgoing:?}") };
        self.hears(id, Said::Lock(lock));
        token
    }

    fn releases(&mut self) -> (Token, Duration) {
        let (_, outgoing) = self.says();
        let Outgoing::Release { token, useless_for, .. } = outgoing else { panic!("{outgoing:?}") };
        (token, useless_for)
    }

    fn puts(&mut self, put: Put) -> Storing {
        let (id, outgoing) = self.says();
        let Outgoing::Put(storing) = outgoing else { panic!("{outgoing:?}") };
        self.hears(id, Said::Put(put));
        *storing
    }

    /// Who is decided, and how.
    fn decided(&mut self) -> Vec<(u32, Look)> {
        let mut decided = Vec::new();
        while let Some(event) = self.keeper.poll_event() {
            match event {
                Event::Decided { asker, look } => decided.push((asker, look)),
                Event::Refresh(fetch) => self.refreshes.push(*fetch),
                Event::Invalidated { asker, done } => self.invalidated.push((asker, done)),
                Event::Counted { series, .. } => self.counted.push(series),
            }
        }
        decided
    }

    /// All that are decided go to the upstream.
    fn forwarded(&mut self) -> Vec<(u32, Box<Fetch>)> {
        let fetch = |(asker, look)| match look {
            Look::Forward(fetch) => (asker, fetch),
            look @ (Look::Reply(_) | Look::Wait) => panic!("{look:?}"),
        };
        self.decided().into_iter().map(fetch).collect()
    }

    fn replied(&mut self) -> Vec<(u32, Box<Reply>)> {
        let reply = |(asker, look)| match look {
            Look::Reply(reply) => (asker, reply),
            look @ (Look::Forward(_) | Look::Wait) => panic!("{look:?}"),
        };
        self.decided().into_iter().map(reply).collect()
    }

    /// The one request that is decided fetches.
    fn leader(&mut self) -> Box<Fetch> {
        let mut forwarded = self.forwarded();
        assert_eq!(forwarded.len(), 1);
        forwarded.remove(0).1
    }

    fn arrives(&mut self, fetch: Box<Fetch>, header: &Header) -> Arrival {
        let now = self.now();
        self.keeper.on_header(now, fetch, header)
    }

    fn fills(&mut self, fetch: Box<Fetch>, header: &Header) -> Box<Filling> {
        match self.arrives(fetch, header) {
            Arrival::Fill(filling, _) => filling,
            arrival @ (Arrival::Pass(_) | Arrival::Reply(_)) => panic!("{arrival:?}"),
        }
    }

    /// A whole response comes.
    fn fetches(&mut self, fetch: Box<Fetch>, fields: &[(&str, &str)]) {
        let filling = self.fills(fetch, &header(200, fields));
        let now = self.now();
        let filling = self.keeper.on_body(now, filling, BODY).unwrap();
        self.keeper.on_filled(now, filling);
    }

    fn is_idle(&self) -> bool {
        let keeper = &self.keeper;
        (keeper.waiting_count(), keeper.fetching_count(), keeper.filling_bytes()) == (0, 0, 0)
    }
}
