//! The world around the client: a driver, a network, callers, and what goes wrong with them; on
//! virtual time, in microseconds, and all of it from one seed.

use std::collections::BTreeMap;

use meliproxy::redis::{
    Client, CloseCause, Command, Credentials, Event, Options, Password, ScriptCall, ScriptId,
    Ticket, Value,
};
use meliproxy::rng::Rng;
use meliproxy::time::Instant;

use crate::checks::Checks;
use crate::network::Stream;
use crate::server::{self, BAD_MOODS, CHANNEL, Kind, Mood, Server, script_reply};

/// How often the driver looks at the clock, at the latest.
pub(crate) const TICK_US: u64 = 5_000;
/// Own stalls are longer than what the client takes for one, and not close behind each other.
const STALL_US: (u64, u64) = (16_000, 90_000);
const BETWEEN_STALLS_US: u64 = 60_000;
/// How long faults happen.
const FAULTS_US: u64 = 1_000_000;
/// Time to recover: a dead connection, a hanging handshake and the longest wait behind each other.
const RECOVERY_US: u64 = 3_200_000;
/// Commands of a flood: more than may be in flight.
const FLOOD: u64 = 6_000;
/// Commands after the recovery, of which each has to be answered.
const LAST_COMMANDS: u64 = 30;

const SCRIPTS: &[&str] = &["return one", "return another one"];

#[derive(Debug)]
enum Action {
    Tick,
    /// Commands, that many.
    Submit(u64),
    Fault,
    Recover,
    Stall,
    ToServer(u64, Vec<u8>),
    ToClient(u64, Vec<u8>),
    Closed(u64, CloseCause),
}

pub(crate) struct World {
    rng: Rng,
    now: u64,
    actions: BTreeMap<(u64, u64), Action>,
    action_count: u64,
    client: Client,
    server: Server,
    stream: Option<Stream>,
    streams_count: u64,
    ticket: u64,
    /// Messages of the channel so far.
    published: u64,
    stalled_until: u64,
    /// In some worlds, more commands at once than are allowed; of at most this many bytes.
    flood_bytes: Option<u64>,
    pub(crate) checks: Checks,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let kind = [Kind::Redis, Kind::Redis, Kind::Resp2Only, Kind::Minimal][index(&mut rng, 4)];
        let password = [None, Some("open sesame")][index(&mut rng, 2)];
        let credentials = Credentials {
            username: None,
            password: password.map(|word| Password::new(word.into())),
        };
        let channels = vec![CHANNEL.to_owned()];
        let options = Options { credentials, scripts: SCRIPTS, channels, ..Options::default() };
        let client = Client::new(options, Rng::with_seed(rng.next_u64()));
        let mut server = Server::new(kind, password);
        server.refuses_channels = rng.up_to(3) == 0;
        Self {
            rng,
            now: 1_000_000,
            actions: BTreeMap::new(),
            action_count: 0,
            client,
            server,
            published: 0,
            stream: None,
            streams_count: 0,
            ticket: 0,
            stalled_until: 0,
            flood_bytes: seed.is_multiple_of(250).then_some(if seed.is_multiple_of(500) {
                3_000
            } else {
                60
            }),
            checks: Checks::new(),
        }
    }

    /// Faults, recovery, and the proof that all is well again.
    pub(crate) fn run(&mut self) {
        let start = self.now;
        self.at(start, Action::Tick);
        if self.rng.up_to(2) == 0 {
            // Trouble from the start, with commands that hope for the first handshake.
            self.server.mood = BAD_MOODS[index(&mut self.rng, BAD_MOODS.len())];
            for _ in 0..self.rng.up_to(9) {
                self.sometime(start, 40_000, Action::Submit(1));
            }
        }
        for _ in 0..self.rng.up_to(150) {
            let count = if self.rng.up_to(9) == 0 { self.rng.up_to(40) } else { 1 };
            self.sometime(start, FAULTS_US, Action::Submit(count));
        }
        if self.flood_bytes.is_some() {
            self.sometime(start, FAULTS_US, Action::Submit(FLOOD));
        }
        for _ in 0..self.rng.up_to(10) {
            self.sometime(start, FAULTS_US, Action::Fault);
        }
        let mut stall_at = start;
        while self.rng.up_to(2) == 0 {
            stall_at += self.rng.up_to(FAULTS_US / 4) + STALL_US.1 + BETWEEN_STALLS_US;
            self.at(stall_at, Action::Stall);
        }
        let calm = (start + FAULTS_US).max(stall_at + STALL_US.1);
        self.at(calm, Action::Recover);
        self.live_until(calm + RECOVERY_US);
        // A lie told while nothing was owed comes to light with the next command.
        self.at(self.now, Action::Submit(1));
        self.live_until(self.now + RECOVERY_US);
        assert!(self.checks.is_ready(), "not ready again");
        assert!(self.checks.all_over(), "tickets without an outcome");
        let before = self.checks.replies;
        for turn in 0..LAST_COMMANDS {
            self.at(self.now + turn * 1_000, Action::Submit(1));
        }
        self.live_until(self.now + 100_000);
        assert_eq!(self.checks.replies - before, LAST_COMMANDS, "not all is well again");
    }

    fn live_until(&mut self, end: u64) {
        while let Some(entry) = self.actions.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), action) = entry.remove_entry();
            let earliest = self.earliest(&action);
            if at < earliest {
                self.at(earliest, action);
            } else {
                self.now = at;
                self.apply(action);
            }
        }
        self.now = end;
    }

    /// After a stall the driver looks at the clock first, and a little later at what has arrived.
    const fn earliest(&self, action: &Action) -> u64 {
        match action {
            Action::Tick => self.stalled_until,
            Action::Submit(_) | Action::ToClient(..) | Action::Closed(..) => {
                self.stalled_until + 1_000
            }
            Action::Fault | Action::Recover | Action::Stall | Action::ToServer(..) => 0,
        }
    }

    fn at(&mut self, time: u64, action: Action) {
        self.action_count += 1;
        self.actions.insert((time, self.action_count), action);
    }

    fn sometime(&mut self, start: u64, within: u64, action: Action) {
        let time = start + self.rng.up_to(within);
        self.at(time, action);
    }

    fn clock(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Tick => self.tick(),
            Action::Submit(count) => self.submit(count),
            Action::Fault => self.fault(),
            Action::Recover => self.set_mood(Mood::Healthy),
            Action::Stall => {
                let (least, most) = STALL_US;
                self.stalled_until = self.now + least + self.rng.up_to(most - least);
                self.checks.stall_end = self.stalled_until;
            }
            Action::ToServer(id, bytes) => {
                if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
                    self.serve(&bytes);
                }
            }
            Action::ToClient(id, bytes) => {
                if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
                    self.checks.on_input(&bytes);
                    self.client.handle_input(self.clock(), &bytes);
                    self.drain();
                }
            }
            Action::Closed(id, cause) => {
                if self.stream.as_ref().is_some_and(|stream| stream.id == id) {
                    self.stream = None;
                    self.checks.on_closed();
                    self.client.handle_closed(self.clock(), cause);
                    self.drain();
                }
            }
        }
    }

    fn tick(&mut self) {
        self.look_at_the_clock();
        // A wait may come out as zero: then it is due at once. Nothing may be due for ever.
        for _ in 0..2 {
            if self.client.poll_timeout().is_some_and(|due| due <= self.clock()) {
                self.look_at_the_clock();
            }
        }
        let due = self.client.poll_timeout();
        assert!(due.is_none_or(|due| due > self.clock()), "due for ever");
        self.checks.nobody_waits_too_long(self.now);
        let next = self.now + 1 + self.rng.up_to(TICK_US - 1);
        self.at(next, Action::Tick);
    }

    fn look_at_the_clock(&mut self) {
        self.client.handle_timeout(self.clock());
        self.drain();
    }

    /// What the driver has to do after each call.
    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match &event {
                Event::Connect => self.open(),
                Event::Disconnect => self.stream = None,
                Event::Ready { .. }
                | Event::Lost { .. }
                | Event::Reply { .. }
                | Event::Failed { .. }
                | Event::Message { .. }
                | Event::Push(_) => {}
            }
            self.checks.on_event(self.now, event);
        }
        self.checks.has_left_replicas();
        self.transmit();
    }

    fn transmit(&mut self) {
        let Some(bytes) = self.client.poll_transmit() else { return };
        self.checks.on_transmit(&bytes);
        let stream = self.stream.as_mut().expect("bytes without a stream");
        let (at, id) = (stream.send(&mut self.rng, self.now), stream.id);
        self.at(at, Action::ToServer(id, bytes));
    }

    fn open(&mut self) {
        assert!(self.stream.is_none(), "connect with an open stream");
        self.streams_count += 1;
        let id = self.streams_count;
        self.stream = Some(Stream::new(id));
        let delay = self.rng.up_to(3_000);
        match self.server.mood {
            Mood::Unreachable => {
                self.at(self.now + delay, Action::Closed(id, CloseCause::NotOpened))
            }
            Mood::HangsUp => self.at(self.now + delay, Action::Closed(id, CloseCause::Status(2))),
            Mood::Healthy
            | Mood::Stuck
            | Mood::Slow
            | Mood::WrongPassword
            | Mood::Loading
            | Mood::Replica => {}
        }
    }

    /// The server reads, and its answers go on their way.
    fn serve(&mut self, bytes: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        stream.held.extend_from_slice(bytes);
        if self.server.mood == Mood::Stuck {
            return;
        }
        let held = std::mem::take(&mut stream.held);
        for (command, answer) in self.server.on_input(&mut stream.session, &held) {
            let slow = self.server.mood == Mood::Slow;
            let at = self.deliver(&answer, if slow { 40_000 } else { 1_500 });
            let not_again = !answer.starts_with(b"-NOSCRIPT");
            if let Some(ticket) = ticket_of(&command).filter(|_| not_again) {
                self.checks.on_answer(ticket, at);
            }
            if self.rng.up_to(30) == 0 && self.server.kind == Kind::Redis {
                self.deliver(b">2\r\n+invalidate\r\n*1\r\n+key\r\n", 1_000);
            }
            let hears = self.stream.as_ref().is_some_and(|stream| stream.session.subscribed);
            if hears && self.rng.up_to(10) == 0 {
                self.published += 1;
                self.deliver(&server::message(&self.published.to_string()), 1_000);
            }
        }
    }

    /// Sends bytes to the client, if it is there. When the last of them arrives.
    fn deliver(&mut self, bytes: &[u8], delay: u64) -> u64 {
        let mut last = self.now;
        let Some(stream) = &mut self.stream else { return last };
        let id = stream.id;
        for (at, piece) in stream.answer(&mut self.rng, self.now, delay, bytes) {
            self.at(at, Action::ToClient(id, piece));
            last = at;
        }
        last
    }

    fn fault(&mut self) {
        let soon = self.rng.up_to(2_000);
        match self.rng.up_to(9) {
            0 => self.server.flush_scripts(),
            1 => {
                let id = self.stream.as_ref().map_or(0, |stream| stream.id);
                let cause = CloseCause::Status([2, 13, 14][index(&mut self.rng, 3)]);
                self.at(self.now + soon, Action::Closed(id, cause));
            }
            2 => {
                self.deliver(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1_000);
            }
            3 | 4 => {
                let lie = [&b":42\r\n:42\r\n"[..], b"*2\r\n$1048576\r\n"][index(&mut self.rng, 2)];
                self.deliver(lie, 1_000);
                self.checks.lied_to = true;
            }
            _ => {
                let mood = BAD_MOODS[index(&mut self.rng, BAD_MOODS.len())];
                self.set_mood(mood);
            }
        }
        // Some faults end by themselves.
        if self.rng.up_to(1) == 0 {
            let lasts = self.rng.up_to(FAULTS_US / 3);
            self.at(self.now + lasts, Action::Recover);
        }
    }

    fn set_mood(&mut self, mood: Mood) {
        self.server.mood = mood;
        self.serve(b"");
    }

    fn submit(&mut self, count: u64) {
        for _ in 0..count {
            self.ticket += 1;
            let ticket = self.ticket;
            let most = self.flood_bytes.filter(|_| count == FLOOD).unwrap_or(60);
            let length = self.rng.up_to(most);
            let padding = "\r\n$".repeat(usize::try_from(length / 3).unwrap());
            let (name, text) = (format!("ticket-{ticket}"), format!("ticket-{ticket} {padding}"));
            let script = index(&mut self.rng, 4);
            let (request, expected) = match script {
                0 | 1 => {
                    let mut call = ScriptCall::new(ScriptId(script), 1);
                    call.key(name.as_bytes());
                    call.arg(text.as_bytes());
                    (call.into(), script_reply(SCRIPTS[script], text.as_bytes()))
                }
                2 => {
                    let echo = Command::new(b"ECHO").arg(text.as_bytes());
                    (echo.into(), Value::Bulk(text.clone().into_bytes()))
                }
                _ => {
                    let count = Command::new(b"INCRBY").arg(name.as_bytes()).arg_u64(ticket);
                    (count.into(), Value::Integer(i64::try_from(ticket).unwrap()))
                }
            };
            let outcome = self.client.submit(self.clock(), request, Ticket(ticket));
            self.checks.on_submit(self.now, ticket, text.len(), expected, outcome);
        }
        self.transmit();
    }
}

fn index(rng: &mut Rng, count: usize) -> usize {
    usize::try_from(rng.up_to(count as u64 - 1)).unwrap()
}

/// Whose command it is: every one of a caller names its ticket.
fn ticket_of(command: &[Vec<u8>]) -> Option<u64> {
    let name = command.iter().find_map(|arg| arg.strip_prefix(b"ticket-"))?;
    let digits = name.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
