//! The fleet: boards, their links to the model of Redis, requests, faults, and time.

mod link;
mod request;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use meliproxy::breaker::board::{
    Board, CLOSED, Call, Ended, Event, Key, OPEN, Outgoing, OutgoingId, Said, Scope, Terms, Verdict,
};
use meliproxy::breaker::evidence::Context;
use meliproxy::breaker::policy::{Policy, ROLLS};
use meliproxy::breaker::record::Epoch;
use meliproxy::breaker::told::Told;
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::rng::Rng;
use meliproxy::shared::InMemory;
use meliproxy::time::{Instant, Now, UnixTime};

use crate::redis::ModelRedis;

/// Start of virtual time by all wall clocks, in microseconds since 1970.
const EPOCH_US: u64 = 1_800_000_000_000_000;
const SEED: HashSeed = HashSeed([7; 16]);
const PREFIX: &[u8] = b"mp:{sim}:breaker:1:b:";
/// How long a call to Redis may take.
const DEADLINE_US: u64 = 20_000;
/// How long after the last fault all has to be well again: the longest wait, a lease, and some.
const RECOVERY_US: u64 = 4_000_000;
/// The replica that is cut off from the upstream, if one is.
const CUT_OFF: usize = 0;
/// During that time there are requests everywhere.
const CALM_REQUESTS: usize = 2500;

pub struct Scenario {
    pub replicas: usize,
    pub workers: usize,
    pub probes: u64,
    pub requests: usize,
    /// Of a hundred requests, those that go to the replica that may be cut off whatever their number.
    pub to_cut_off_percent: u64,
    pub faults: &'static [Fault],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    UpstreamFails,
    /// Redis loses its last writes, and all links.
    Failover,
    RedisClockJumps,
    WallClockJumps,
    WorkerDies,
    LinkBreaks,
    /// Answers are lost, ops are doubled, messages are lost, late and doubled.
    Flaky,
    /// One replica does not reach the upstream.
    CutOff,
    RedisGone,
}

enum Happening {
    Request,
    End { node: usize, life: u64, call: u64 },
    Tick { node: usize, tick: u64 },
    ToRedis { node: usize, link: u64, id: OutgoingId, outgoing: Outgoing },
    FromRedis { node: usize, link: u64, id: OutgoingId, said: Said },
    Message { node: usize, link: u64, payload: Vec<u8> },
    Reconnect { node: usize, link: u64 },
    Fault(Fault),
    EndOfFault(Fault),
    Snapshot,
}

struct Node {
    board: Board,
    shared: InMemory,
    /// How often it was started.
    life: u64,
    /// Its connection, each of which has a number; none if there is none.
    link: Option<u64>,
    next_link: u64,
    /// When the last message of its connection arrives.
    to_redis_at: u64,
    from_redis_at: u64,
    /// Which state it was told of last.
    heard: Epoch,
    /// And before it lost Redis.
    lost_at: Epoch,
    tick: Option<(u64, u64)>,
    wall_offset_us: u64,
    calls: BTreeMap<u64, Vec<Call>>,
    /// Who waits to be decided.
    asking: BTreeMap<u32, ()>,
}

pub struct Fleet {
    rng: Rng,
    policy: Policy,
    now: u64,
    sequence: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    /// Of these, those that only time makes.
    ticks: usize,
    nodes: Vec<Node>,
    workers: usize,
    pub redis: ModelRedis,
    /// What its replica has.
    behind: ModelRedis,
    redis_offset_us: u64,
    redis_gone: bool,
    upstream_fails: bool,
    cut_off: Option<usize>,
    flaky: bool,
    probes: Vec<request::Probe>,
    /// When permits may have been forgotten.
    forgotten_at: Vec<u64>,
    pub late_messages: u64,
    pub taken_over: u64,
    to_cut_off_percent: u64,
    pub probes_made: u64,
    pub refused: u64,
    pub refused_by_others: u64,
}

fn policy(probes: u64) -> Policy {
    Policy {
        consecutive_failures: 5,
        failure_percent: 0,
        slow_percent: 0,
        window_ms: 1000,
        minimum_calls: 20,
        open_for_ms: 200,
        max_open_for_ms: 400,
        probes,
        close_after: probes,
        probe_timeout: Duration::from_millis(150),
        ramp: Duration::ZERO,
    }
}

impl Fleet {
    pub fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut rng = Rng::with_seed(seed);
        let policy = policy(scenario.probes);
        let mut fleet = Self {
            policy,
            now: 0,
            sequence: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            ticks: 0,
            nodes: Vec::new(),
            workers: scenario.workers,
            redis: ModelRedis::default(),
            behind: ModelRedis::default(),
            redis_offset_us: 0,
            redis_gone: false,
            upstream_fails: false,
            cut_off: None,
            flaky: false,
            probes: Vec::new(),
            forgotten_at: Vec::new(),
            late_messages: 0,
            taken_over: 0,
            to_cut_off_percent: scenario.to_cut_off_percent,
            probes_made: 0,
            refused: 0,
            refused_by_others: 0,
            rng: Rng::with_seed(rng.next_u64()),
        };
        for _ in 0..scenario.replicas {
            let shared = InMemory::default();
            for _ in 0..scenario.workers {
                let node = fleet.node(shared.clone(), 0);
                fleet.nodes.push(node);
            }
        }
        for node in 0..fleet.nodes.len() {
            let at = fleet.rng.up_to(20_000);
            fleet.schedule(at, Happening::Reconnect { node, link: 0 });
        }
        let span = scenario.requests as u64 * 1000;
        for fault in scenario.faults {
            let at = 50_000 + fleet.rng.up_to(span / 2);
            let ends_at = at + 50_000 + fleet.rng.up_to(span / 3);
            fleet.schedule(at, Happening::Fault(*fault));
            fleet.schedule(ends_at, Happening::EndOfFault(*fault));
        }
        for number in 0..span / 30_000 {
            fleet.schedule(number * 30_000, Happening::Snapshot);
        }
        fleet.send(50_000, scenario.requests);
        fleet
    }

    fn node(&mut self, shared: InMemory, life: u64) -> Node {
        let terms = Terms {
            policy: self.policy,
            is_fleet: true,
            is_shadow: false,
            forced: None,
            prefix: PREFIX.to_vec(),
        };
        let process = self.nodes.len() / self.workers.max(1);
        let rng = Rng::with_seed(self.rng.next_u64());
        Node {
            board: Board::new(vec![terms], 1 + process as u64, SEED, rng),
            shared,
            life,
            link: None,
            next_link: 0,
            to_redis_at: 0,
            from_redis_at: 0,
            heard: Epoch::default(),
            lost_at: Epoch::default(),
            tick: None,
            wall_offset_us: 0,
            calls: BTreeMap::new(),
            asking: BTreeMap::new(),
        }
    }

    /// Requests, about one in each millisecond.
    fn send(&mut self, from: u64, requests: usize) {
        let mut at = from;
        for _ in 0..requests {
            at += self.rng.up_to(2000);
            self.schedule(at, Happening::Request);
        }
    }

    /// From now on the upstream fails, and one replica finds out.
    pub fn fail_in_a_row(&mut self, requests: usize) {
        self.upstream_fails = true;
        self.to_cut_off_percent = 100;
        self.send(self.now, requests);
        // What it has to say is said in time.
        self.schedule(self.now + 500_000, Happening::Snapshot);
    }

    pub fn run(&mut self) {
        while self.ticks < self.happenings.len() {
            self.step();
        }
    }

    /// All faults are over: after a while every breaker is closed, and nobody refuses.
    pub fn check_all_is_well_again(&mut self) {
        let end = self.now + RECOVERY_US;
        while self.now < end {
            self.send(self.now, CALM_REQUESTS);
            self.run();
        }
        assert!(self.redis.all_closed(), "stuck");
        let refused = self.refused;
        self.send(self.now, 10 * self.nodes.len());
        self.run();
        assert_eq!(self.refused, refused, "some replica still refuses");
        for node in &self.nodes {
            assert!(node.asking.is_empty() && node.calls.is_empty(), "left behind");
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.ticks += usize::from(matches!(happening, Happening::Tick { .. }));
        self.agenda.push(Reverse((at.max(self.now), self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn step(&mut self) {
        let Some(Reverse((at, sequence))) = self.agenda.pop() else { return };
        self.now = at;
        match self.happenings.remove(&sequence).unwrap() {
            Happening::Request => self.request(),
            Happening::End { node, life, call } => self.end(node, life, call),
            Happening::Tick { node, tick } => {
                self.ticks -= 1;
                if self.nodes[node].tick.is_some_and(|(_, current)| current == tick) {
                    self.nodes[node].tick = None;
                    self.tell(node, |board, now, shared| board.on_time(now, shared));
                }
            }
            Happening::ToRedis { node, link, id, outgoing } => {
                self.arrive_at_redis(node, link, id, &outgoing);
            }
            Happening::FromRedis { node, link, id, said } => {
                if self.nodes[node].link == Some(link) {
                    self.answer(node, id, said);
                }
            }
            Happening::Message { node, link, payload } => {
                if self.nodes[node].link == Some(link) {
                    self.message(node, &payload);
                }
            }
            Happening::Reconnect { node, link } => self.reconnect(node, link),
            Happening::Fault(fault) => self.fault(fault, true),
            Happening::EndOfFault(fault) => self.fault(fault, false),
            Happening::Snapshot => self.behind = self.redis.clone(),
        }
        self.check_probes();
    }

    fn now_of(&self, node: usize) -> Now {
        let unix = UnixTime::from_micros(EPOCH_US + self.now + self.nodes[node].wall_offset_us);
        Now { mono: Instant::from_micros(1_000_000 + self.now), unix }
    }

    /// Tells a board, and does all that it wants.
    fn tell(&mut self, node: usize, event: impl FnOnce(&mut Board, Now, &mut InMemory)) {
        let now = self.now_of(node);
        let Node { board, shared, .. } = &mut self.nodes[node];
        event(board, now, shared);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].board.poll_event() {
            if let Event::Decided { asker, verdict } = event {
                assert!(self.nodes[node].asking.remove(&asker).is_some(), "decided twice");
                self.decide(node, verdict);
            }
        }
        while let Some((id, outgoing)) = self.nodes[node].board.poll_outgoing() {
            let Some(link) = self.nodes[node].link else { panic!("it says something to nobody") };
            let lag = self.rng.up_to(2000);
            let at = (self.now + lag).max(self.nodes[node].to_redis_at);
            self.nodes[node].to_redis_at = at;
            self.schedule(at, Happening::ToRedis { node, link, id, outgoing });
            // The client's deadline; an answer after it finds nobody.
            let said = Said::Nothing;
            self.schedule(self.now + DEADLINE_US, Happening::FromRedis { node, link, id, said });
        }
        let due = self.nodes[node].board.poll_timeout();
        let start = Instant::from_micros(1_000_000);
        let due = due.map(|at| u64::try_from(at.saturating_since(start).as_micros()).unwrap());
        if let Some(at) = due.filter(|at| self.nodes[node].tick.is_none_or(|(next, _)| *at < next))
        {
            // The driver looks at the clock every few milliseconds.
            let at = at.max(self.now) + self.rng.up_to(5000);
            self.nodes[node].tick = Some((at, self.sequence + 1));
            let tick = self.sequence + 1;
            self.schedule(at, Happening::Tick { node, tick });
        }
    }

    fn fault(&mut self, fault: Fault, begins: bool) {
        let node = usize::try_from(self.rng.up_to(self.nodes.len() as u64 - 1)).unwrap();
        match (fault, begins) {
            (Fault::UpstreamFails, _) => self.upstream_fails = begins,
            (Fault::Flaky, _) => self.flaky = begins,
            (Fault::CutOff, _) => self.cut_off = begins.then_some(CUT_OFF),
            (Fault::Failover, true) => {
                self.redis.lose_writes_since(&self.behind);
                self.forgotten_at.push(self.now);
                (0..self.nodes.len()).for_each(|node| self.lose(node));
            }
            (Fault::RedisGone, true) => {
                self.redis_gone = true;
                (0..self.nodes.len()).for_each(|node| self.lose(node));
            }
            (Fault::RedisGone, false) => self.redis_gone = false,
            (Fault::RedisClockJumps, _) => {
                self.redis_offset_us = self.rng.up_to(100_000_000_000);
            }
            (Fault::WallClockJumps, _) => {
                self.nodes[node].wall_offset_us = self.rng.up_to(100_000_000_000);
            }
            (Fault::LinkBreaks, true) => {
                if self.nodes[node].link.is_some() {
                    self.lose(node);
                }
            }
            (Fault::WorkerDies, true) => self.kill(node),
            (Fault::Failover | Fault::LinkBreaks | Fault::WorkerDies, false) => {}
        }
    }

    /// A worker dies with all that it knew; another one takes its place.
    fn kill(&mut self, node: usize) {
        let life = self.nodes[node].life + 1;
        let shared = self.nodes[node].shared.clone();
        let next_link = self.nodes[node].next_link + 1;
        self.probes.retain(|probe| probe.node != node);
        let born = self.node(shared, life);
        self.nodes[node] = Node { next_link, ..born };
        self.schedule(self.now + 50_000, Happening::Reconnect { node, link: next_link });
    }
}
