//! The fleet: keepers, their connections to the model of the store, requests, faults, and time.

mod check;
mod link;
mod purge;
mod request;
mod scenario;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use meliproxy::cache::keeper::{
    Asking, Event, Fetch, Filling, Keeper, Look, MOST_WAITING, Outgoing, OutgoingId, Reply, Said,
};
use meliproxy::cache::policy::Policy;
use meliproxy::cache::store::{Mode, ObjectId};
use meliproxy::rng::Rng;
use meliproxy::time::{Instant, Now, UnixTime};

pub use self::scenario::{Counts, Fault, Scenario};
use crate::store::{Half, ModelStore, Told};
use crate::upstream::{Content, Upstream};

/// Start of virtual time by all wall clocks, in microseconds since 1970.
const EPOCH_US: u64 = 1_800_000_000_000_000;
/// How long a call to the store may take; then there is no answer.
const DEADLINE_US: u64 = 200_000;
/// So long after the last request and fault all has come to its end: the slowest answers, and those who wait.
const REST_US: u64 = 45_000_000;
/// How far the replica of the store may lag behind.
const SNAPSHOT_US: u64 = 500_000;
/// Of each worker.
const MEMORY_BYTES: u64 = 6000;

enum Happening {
    Request,
    Change,
    Leave { asker: u32 },
    Tick { node: usize, tick: u64 },
    Body { node: usize, link: u64, id: OutgoingId, object: ObjectId },
    ToStore { node: usize, link: u64, id: OutgoingId, outgoing: Box<Outgoing> },
    FromStore { node: usize, link: u64, id: OutgoingId, said: Box<Said> },
    Deadline { node: usize, life: u64, id: OutgoingId },
    Told { node: usize, link: u64, told: Told },
    Lost { node: usize, life: u64 },
    Join { node: usize, life: u64 },
    Asked { call: u64 },
    Header { call: u64 },
    Filled { call: u64 },
    Mutated { node: usize, life: u64, url: usize, content: Content, method: &'static str },
    Fault(Fault),
    EndOfFault(Fault),
    Snapshot,
}

struct Node {
    keeper: Keeper,
    id: u64,
    /// How often it was started.
    life: u64,
    /// Its connection, as the store sees it; each has a number.
    link: Option<u64>,
    /// Whether the worker believes that there is one.
    believes: bool,
    is_told: bool,
    /// Since when there is none.
    cut_at: Option<u64>,
    to_store_at: u64,
    from_store_at: u64,
    tick: Option<(u64, u64)>,
    wall_offset_us: u64,
}

pub struct Fleet {
    rng: Rng,
    pub now: u64,
    sequence: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    nodes: Vec<Node>,
    store: ModelStore,
    /// What its replica has.
    behind: ModelStore,
    store_offset_us: u64,
    halves: BTreeMap<(usize, u64, OutgoingId), Half>,
    last_link: u64,
    loses_answers: bool,
    refuses_to_tell: bool,
    posts: bool,
    hot: Option<usize>,
    pub upstream: Upstream,
    asking: BTreeMap<u32, request::Wanted>,
    calls: BTreeMap<u64, request::Call>,
    purges: BTreeMap<u32, purge::Purge>,
    floors: purge::Floors,
    /// No clock has jumped: ages are what they are said to be.
    has_time: bool,
    /// No write was lost.
    has_all: bool,
    pub counts: Counts,
}

impl Fleet {
    pub fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut fleet = Self {
            rng: Rng::with_seed(seed),
            now: 0,
            sequence: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            nodes: Vec::new(),
            store: ModelStore::default(),
            behind: ModelStore::default(),
            store_offset_us: 0,
            halves: BTreeMap::new(),
            last_link: 0,
            loses_answers: false,
            refuses_to_tell: false,
            posts: false,
            hot: scenario.hot,
            upstream: Upstream::new(),
            asking: BTreeMap::new(),
            calls: BTreeMap::new(),
            purges: BTreeMap::new(),
            floors: purge::Floors::default(),
            has_time: true,
            has_all: true,
            counts: Counts::default(),
        };
        for _ in 0..scenario.replicas * scenario.workers {
            let node = fleet.node(0);
            fleet.nodes.push(node);
        }
        for node in 0..fleet.nodes.len() {
            let at = fleet.rng.up_to(20_000);
            fleet.schedule(at, Happening::Join { node, life: 0 });
        }
        let span = scenario.seconds * 1_000_000;
        for _ in 0..scenario.requests {
            let at = 30_000 + fleet.rng.up_to(span);
            fleet.schedule(at, Happening::Request);
        }
        for _ in 0..scenario.changes {
            let at = 30_000 + fleet.rng.up_to(span);
            fleet.schedule(at, Happening::Change);
        }
        for fault in scenario.faults {
            let at = 30_000 + fleet.rng.up_to(span / 2);
            let ends_at = at + 50_000 + fleet.rng.up_to(span / 2);
            fleet.schedule(at, Happening::Fault(*fault));
            fleet.schedule(ends_at, Happening::EndOfFault(*fault));
            fleet.has_time &= !matches!(fault, Fault::WallClockJumps);
            fleet.has_all &= !matches!(fault, Fault::Failover | Fault::LosesWrites);
        }
        let snapshots = if fleet.has_all { 0 } else { span / SNAPSHOT_US };
        for number in 0..snapshots {
            fleet.schedule(number * SNAPSHOT_US, Happening::Snapshot);
        }
        fleet
    }

    fn node(&mut self, life: u64) -> Node {
        let (id, rng) = (self.rng.next_u64(), Rng::with_seed(self.rng.next_u64()));
        Node {
            keeper: Keeper::new(vec![Policy::default()], MEMORY_BYTES, id, rng),
            id,
            life,
            link: None,
            believes: false,
            is_told: false,
            cut_at: None,
            to_store_at: 0,
            from_store_at: 0,
            tick: None,
            wall_offset_us: 0,
        }
    }

    /// Until so much later.
    pub fn run_for(&mut self, micros: u64) {
        let end = self.now + micros;
        while self.agenda.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Everything, and the rest after it.
    pub fn run(&mut self, scenario: &Scenario) {
        self.run_for(scenario.seconds * 1_000_000);
        self.rest();
    }

    /// All comes to its end.
    pub fn rest(&mut self) {
        self.run_for(REST_US);
        self.check_end();
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((at.max(self.now), self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn step(&mut self) {
        let Some(Reverse((at, sequence))) = self.agenda.pop() else { return };
        self.now = at;
        match self.happenings.remove(&sequence).unwrap() {
            Happening::Request => self.request(),
            Happening::Change => self.change(),
            Happening::Leave { asker } => self.leave(asker),
            Happening::Tick { node, tick } => {
                if self.nodes[node].tick.is_some_and(|(_, current)| current == tick) {
                    self.nodes[node].tick = None;
                    self.tell(node, Keeper::on_time);
                }
            }
            Happening::Body { node, link, id, object } => self.ask_body(node, link, id, object),
            Happening::ToStore { node, link, id, outgoing } => {
                self.arrive(node, link, id, &outgoing);
            }
            Happening::FromStore { node, link, id, said } => {
                if self.nodes[node].link == Some(link) {
                    self.tell(node, |keeper, now| keeper.on_said(now, id, *said));
                }
            }
            Happening::Deadline { node, life, id } => {
                if self.nodes[node].life == life && self.nodes[node].keeper.expected(id).is_some() {
                    self.counts.unanswered += 1;
                    self.tell(node, |keeper, now| keeper.on_said(now, id, Said::Nothing));
                }
            }
            Happening::Told { node, link, told } => {
                if self.nodes[node].link == Some(link) {
                    self.hear(node, &told);
                }
            }
            Happening::Lost { node, life } => {
                if self.nodes[node].life == life {
                    self.lose(node);
                }
            }
            Happening::Join { node, life } => {
                if self.nodes[node].life == life {
                    self.join(node);
                }
            }
            Happening::Asked { call } => self.ask_upstream(call),
            Happening::Header { call } => self.header(call),
            Happening::Filled { call } => self.fill(call),
            Happening::Mutated { node, life, url, content, method } => {
                if self.nodes[node].life == life {
                    self.mutated(node, url, content, method);
                }
            }
            Happening::Fault(fault) => self.fault(fault, true),
            Happening::EndOfFault(fault) => self.fault(fault, false),
            Happening::Snapshot => self.behind = self.store.clone(),
        }
    }

    fn now_of(&self, node: usize) -> Now {
        let unix = UnixTime::from_micros(EPOCH_US + self.now + self.nodes[node].wall_offset_us);
        Now { mono: Instant::from_micros(1_000_000 + self.now), unix }
    }

    /// Tells a keeper, and does all that it wants.
    fn tell<T>(&mut self, node: usize, event: impl FnOnce(&mut Keeper, Now) -> T) -> T {
        let now = self.now_of(node);
        let told = event(&mut self.nodes[node].keeper, now);
        self.drain(node);
        told
    }

    fn drain(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].keeper.poll_event() {
            match event {
                Event::Decided { asker, look } => self.decided(node, asker, look),
                Event::Refresh(fetch) => {
                    self.counts.refreshes += 1;
                    self.forward(node, None, fetch);
                }
                Event::Invalidated { asker, done } => self.invalidated(asker, done),
                Event::Counted { .. } => {}
            }
        }
        while let Some((id, outgoing)) = self.nodes[node].keeper.poll_outgoing() {
            self.send(node, id, outgoing);
        }
        self.check_bounds(node);
        let due = self.nodes[node].keeper.poll_timeout();
        let start = Instant::from_micros(1_000_000);
        let due = due.map(|at| u64::try_from(at.saturating_since(start).as_micros()).unwrap());
        if let Some(at) = due.filter(|at| self.nodes[node].tick.is_none_or(|(next, _)| *at < next))
        {
            // The driver looks at the clock every few milliseconds.
            let (at, tick) = (at.max(self.now) + self.rng.up_to(5000), self.sequence + 1);
            self.nodes[node].tick = Some((at, tick));
            self.schedule(at, Happening::Tick { node, tick });
        }
    }

    /// Of so many.
    fn any_url(&mut self, urls: usize) -> usize {
        match self.hot {
            Some(url) if self.rng.up_to(9) > 0 => url,
            _ => usize::try_from(self.rng.up_to(urls as u64 - 1)).unwrap(),
        }
    }

    fn any_node(&mut self) -> usize {
        usize::try_from(self.rng.up_to(self.nodes.len() as u64 - 1)).unwrap()
    }

    fn fault(&mut self, fault: Fault, begins: bool) {
        let node = self.any_node();
        match (fault, begins) {
            (Fault::UpstreamFails, _) => self.upstream.fails = begins,
            (Fault::UpstreamIsFlaky, _) => self.upstream.is_flaky = begins,
            (Fault::UpstreamIsSlow, _) => self.upstream.is_slow = begins,
            (Fault::BreakerOpens, _) => self.upstream.breaker_is_open = begins,
            (Fault::AnswersAreLost, _) => self.loses_answers = begins,
            (Fault::NotTold, _) => self.refuses_to_tell = begins,
            (Fault::Posts, _) => self.posts = begins,
            (Fault::WallClockJumps, _) => {
                self.nodes[node].wall_offset_us = self.rng.up_to(100_000_000);
            }
            (Fault::StoreClockJumps, _) => self.store_offset_us = self.rng.up_to(100_000_000),
            (Fault::LosesWrites, _) => {}
            (Fault::LinkBreaks, true) => {
                let after = self.rng.up_to(3_000_000);
                self.cut(node, after);
            }
            (Fault::LinkStalls, true) => {
                let until = self.now + self.rng.up_to(4_000_000);
                self.nodes[node].from_store_at = until.max(self.nodes[node].from_store_at);
            }
            (Fault::WorkerDies, true) => self.kill(node),
            (Fault::Failover, true) => self.fail_over(),
            (
                Fault::LinkBreaks | Fault::LinkStalls | Fault::WorkerDies | Fault::Failover,
                false,
            ) => {}
        }
    }
}
