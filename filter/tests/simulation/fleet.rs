//! The fleet: workers, their links to the model of Redis, clients, and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use meliproxy::config::{Config, Transport};
use meliproxy::exchange::Conclusion;
use meliproxy::key::HashSeed;
use meliproxy::metrics::Metric;
use meliproxy::plan::Plan;
use meliproxy::redis::{Callout, Client, Credentials, Options, Password};
use meliproxy::rng::Rng;
use meliproxy::shared::InMemory;
use meliproxy::time::{Instant, Now, UnixTime};
use meliproxy::worker::{Callback, ContextId, Effect, MOST_RELEASES, SCRIPTS, Verdict, Worker};

use crate::link::Link;
use crate::model_redis::ModelRedis;
use crate::request::{LONGEST_WAIT, Request, View};
use crate::scenario::{Fault, Scenario};

pub const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"timeout": "20ms", "transport": "TRANSPORT"},
  "routes": [{"name": "items", "path": "/items/{*rest}"}],
  "quotas": [
    {"name": "wide", "limit": 260, "per": "1h", "by": ["client_address"]},
    {"name": "narrow", "routes": ["items"], "limit": 50, "per": "1h"}
  ]
}"#;

/// The same rules for ten times as much, with units taken ahead.
pub const LEASED: &str = r#"{
  "version": 1,
  "redis": {"timeout": "20ms", "transport": "TRANSPORT"},
  "routes": [{"name": "items", "path": "/items/{*rest}"}],
  "quotas": [
    {"name": "wide", "limit": 2600, "per": "1h", "by": ["client_address"], "precision": "leased"},
    {"name": "narrow", "routes": ["items"], "limit": 500, "per": "1h", "precision": "leased"}
  ]
}"#;

/// Start of virtual time: the beginning of an hour, so that no window ends during a run.
pub(crate) const EPOCH_MICROS: u64 = 1_800_000_000_000_000;

pub(crate) enum Happening {
    Request,
    Leave {
        member: usize,
        request: usize,
    },
    Tick {
        member: usize,
        generation: u64,
    },
    ToRedis {
        member: usize,
        stream: u64,
        bytes: Vec<u8>,
    },
    FromRedis {
        member: usize,
        stream: u64,
        bytes: Vec<u8>,
    },
    Closed {
        member: usize,
        stream: u64,
    },
    /// A call may be made in a callback of the root.
    Wake {
        member: usize,
    },
    Call {
        member: usize,
        call: u64,
        body: Vec<u8>,
    },
    CallTimeout {
        member: usize,
        call: u64,
    },
    Answer {
        member: usize,
        call: u64,
        status: Option<u16>,
        body: Vec<u8>,
    },
    Fault(Fault),
    EndOfFault(Fault),
}

/// A worker and its link.
pub(crate) struct Member {
    pub(crate) worker: Worker,
    pub(crate) shared: InMemory,
    pub(crate) link: Link,
    tick: Option<(Duration, u64)>,
    largest_group: usize,
}

pub struct Fleet {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    sequence: u64,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pub(crate) members: Vec<Member>,
    pub(crate) redis: ModelRedis,
    pub(crate) stalled_until: u64,
    pub(crate) refuses: bool,
    requests: Vec<Request>,
    arrival: u64,
    pub(crate) latency: u64,
    leaves_percent: u64,
    /// Requests that were decided without Redis.
    pub decided_alone: usize,
    /// Requests that were paid for ahead.
    pub paid_ahead: usize,
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

impl Fleet {
    pub fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut rng = Rng::with_seed(seed);
        let transport = match scenario.transport {
            Transport::Stream => "stream",
            Transport::Callout => "callout",
        };
        let config = scenario.config.replace("TRANSPORT", transport);
        let config = Config::parse(config.as_bytes()).unwrap();
        let plan = Rc::new(Plan::new(config, HashSeed([7; 16])));
        let password = Some(Password::new("secret".to_owned()));
        let credentials = Credentials { username: None, password };
        let mut members = Vec::new();
        for _ in 0..scenario.replicas {
            let (shared, process) = (InMemory::default(), rng.next_u64());
            for _ in 0..scenario.workers {
                let callout = match scenario.transport {
                    Transport::Stream => None,
                    Transport::Callout => Some(Callout::new(&credentials)),
                };
                let credentials = credentials.clone();
                let scripts = SCRIPTS;
                let options = Options { credentials, scripts, ..Options::default() };
                let client = Client::new(options, Rng::with_seed(rng.next_u64()));
                members.push(Member {
                    worker: Worker::new(rng.next_u64(), process, Rc::clone(&plan), Some(client)),
                    shared: shared.clone(),
                    link: Link { callout, ..Link::default() },
                    tick: None,
                    largest_group: 0,
                });
            }
        }
        let mut fleet = Self {
            rng,
            now: 0,
            sequence: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            members,
            redis: ModelRedis::default(),
            stalled_until: 0,
            refuses: false,
            requests: Vec::new(),
            arrival: micros(scenario.arrival),
            latency: micros(scenario.latency),
            leaves_percent: scenario.client_leaves_percent,
            decided_alone: 0,
            paid_ahead: 0,
        };
        for member in 0..fleet.members.len() {
            fleet.drain(member, Callback::Root);
        }
        // A fleet that serves has connected before; how it behaves until then is the business of another test.
        fleet.advance_to(100_000);
        fleet.send(scenario.requests, scenario.arrival);
        let span = fleet.arrival * scenario.requests as u64 / 2;
        for fault in scenario.faults {
            let at = fleet.now + fleet.rng.up_to(span);
            fleet.schedule(at, Happening::Fault(*fault));
        }
        fleet
    }

    pub fn send(&mut self, requests: usize, arrival: Duration) {
        let mut at = self.now;
        for _ in 0..requests {
            at += self.rng.up_to(micros(arrival));
            self.schedule(at, Happening::Request);
        }
    }

    /// Until all requests are concluded and nothing but time is left.
    pub fn run(&mut self) {
        let is_time = |next: &Happening| {
            matches!(next, Happening::Tick { .. } | Happening::CallTimeout { .. })
        };
        while !self.happenings.values().all(is_time) {
            self.step();
        }
        self.advance_to(self.now + 2 * micros(LONGEST_WAIT));
    }

    pub fn calm_down(&mut self) {
        self.advance_to(self.now + 10_000_000);
    }

    pub fn next_window(&mut self) {
        self.advance_to((self.now / 3_600_000_000 + 1) * 3_600_000_000);
    }

    pub fn passed_count(&self, rule: &str) -> usize {
        let passed = |request: &&Request| request.rules.contains(rule) && request.passed();
        self.requests.iter().filter(passed).count()
    }

    pub fn counted_in_redis(&self, rule: &str) -> u64 {
        self.redis.count(if rule == "narrow" { ":narrow:3600:" } else { "192.0.2.1" })
    }

    /// What Redis has counted on the wide rule beyond what passed.
    pub fn refused_by_both(&self) -> u64 {
        self.counted_in_redis("wide") - self.passed_count("wide") as u64
    }

    pub fn largest_group(&self) -> usize {
        self.members.iter().map(|member| member.largest_group).max().unwrap()
    }

    pub fn all_connected(&self) -> bool {
        self.members.iter().all(|member| member.link.stream.is_some())
    }

    pub fn check_every_request_was_concluded_once_and_in_time(&self) {
        for (number, request) in self.requests.iter().enumerate() {
            request.check_it_was_concluded_once_and_in_time(number);
        }
    }

    pub fn check_nothing_is_left_behind(&self) {
        for member in &self.members {
            assert_eq!(member.worker.waiting_count(), 0);
        }
    }

    pub(crate) fn schedule(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((at.max(self.now), self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn advance_to(&mut self, end: u64) {
        while self.agenda.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self) {
        let Some(Reverse((at, sequence))) = self.agenda.pop() else { return };
        self.now = at;
        match self.happenings.remove(&sequence).unwrap() {
            Happening::Request => self.request(),
            Happening::Leave { member, request } => self.leave(member, request),
            Happening::Tick { member, generation } => self.tick(member, generation),
            Happening::ToRedis { member, stream, bytes } => {
                self.deliver_to_redis(member, stream, &bytes);
            }
            Happening::FromRedis { member, stream, bytes } => {
                self.deliver_from_redis(member, stream, &bytes);
            }
            Happening::Closed { member, stream } => self.close(member, stream),
            Happening::Wake { member } => self.tell(member, |_| ()),
            Happening::Call { member, call, body } => self.call(member, call, body),
            Happening::CallTimeout { member, call } => self.answer(member, call, Some(504), b""),
            Happening::Answer { member, call, status, body } => {
                self.answer(member, call, status, &body);
            }
            Happening::Fault(fault) => self.fault(fault),
            Happening::EndOfFault(fault) => self.end_of_fault(fault),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let unix = UnixTime::from_micros(EPOCH_MICROS + self.now);
        Now { mono: Instant::from_micros(1_000_000 + self.now), unix }
    }

    fn request(&mut self) {
        let member = usize::try_from(self.rng.up_to(self.members.len() as u64 - 1)).unwrap();
        let to_items = self.rng.up_to(2) == 0;
        let (path, rules) = if to_items { ("/items/1", "narrow wide") } else { ("/x", "wide") };
        let number = self.requests.len();
        self.requests.push(Request::new(member, self.now, rules));
        let context = ContextId(u32::try_from(number).unwrap());
        let now = self.now();
        let mut view = View { path };
        let Member { worker, shared, .. } = &mut self.members[member];
        worker.begin_callback(now, Callback::Request);
        let (rewritten, verdict) = worker.on_request(now, context, &mut view, shared);
        assert_eq!(rewritten, None);
        match verdict {
            Verdict::Conclude(conclusion, _) => {
                let told = conclusion.entry.as_deref().unwrap();
                self.paid_ahead += usize::from(told.contains(" source=lease "));
                self.requests[number].conclude(self.now, &conclusion);
            }
            Verdict::Pause(place) => {
                self.requests[number].place = Some(place);
                if self.rng.up_to(99) < self.leaves_percent {
                    let at = self.now + self.rng.up_to(2 * self.latency);
                    self.schedule(at, Happening::Leave { member, request: number });
                }
            }
        }
        self.drain(member, Callback::Request);
    }

    fn leave(&mut self, member: usize, request: usize) {
        let left = &mut self.requests[request];
        left.left = true;
        let context = ContextId(u32::try_from(request).unwrap());
        let place = left.place.unwrap();
        self.members[member].worker.on_request_done(context, place);
    }

    fn tick(&mut self, member: usize, generation: u64) {
        let Some((period, current)) = self.members[member].tick else { return };
        if generation != current {
            return;
        }
        self.schedule(self.now + micros(period), Happening::Tick { member, generation });
        let now = self.now();
        self.tell(member, |member| member.worker.on_tick(now, &mut member.shared));
    }

    pub(crate) fn tell(&mut self, member: usize, event: impl FnOnce(&mut Member)) {
        let now = self.now();
        self.members[member].worker.begin_callback(now, Callback::Root);
        event(&mut self.members[member]);
        self.drain(member, Callback::Root);
        self.make_call(member);
    }

    /// A number that nothing else has.
    pub(crate) fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// How long a message is on its way.
    pub(crate) fn latency(&mut self) -> u64 {
        self.rng.up_to(self.latency)
    }

    fn drain(&mut self, member: usize, callback: Callback) {
        let mut group = 0;
        while let Some(effect) = self.members[member].worker.poll_effect() {
            match effect {
                Effect::OpenStream(_) => {
                    assert_eq!(callback, Callback::Root);
                    let stream = self.number();
                    self.members[member].link.open(stream);
                    if self.refuses && self.members[member].link.callout.is_none() {
                        let at = self.now + self.latency();
                        self.schedule(at, Happening::Closed { member, stream });
                    }
                }
                Effect::DropStream(_) => self.members[member].link.drop(),
                Effect::Send(_, bytes) => {
                    if let Some(callout) = &mut self.members[member].link.callout {
                        callout.write(&bytes);
                        self.schedule(self.now, Happening::Wake { member });
                    } else {
                        self.send_bytes(member, &bytes);
                    }
                }
                Effect::Release(context, conclusion, _) => {
                    self.conclude(member, context, &conclusion);
                    group += 1;
                }
                Effect::TickEvery(period) => {
                    let generation = self.number();
                    self.members[member].tick = Some((period, generation));
                    let at = self.now + micros(period);
                    self.schedule(at, Happening::Tick { member, generation });
                }
                Effect::Add(Metric::RedisFailures(_), amount) => {
                    self.decided_alone += usize::try_from(amount).unwrap();
                }
                Effect::Refresh(..) => panic!("there is no cache"),
                Effect::Add(..) | Effect::Record(..) | Effect::Warn(_) | Effect::Info(_) => {}
            }
        }
        assert!(group <= MOST_RELEASES, "{group} released in one callback");
        assert!(callback == Callback::Root || group == 0, "another request touched");
        let largest = &mut self.members[member].largest_group;
        *largest = group.max(*largest);
    }

    fn conclude(&mut self, member: usize, context: ContextId, conclusion: &Conclusion) {
        let request = &mut self.requests[usize::try_from(context.0).unwrap()];
        assert_eq!(request.member, member);
        request.conclude(self.now, conclusion);
    }
}
