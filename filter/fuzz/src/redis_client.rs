//! The client of Redis: whatever happens to it and in whatever order, every command that it took has one outcome, its
//! own; it keeps no more than it may; and with a good server all is well again.

use std::collections::HashMap;

use meliproxy::redis::{
    Client, CloseCause, Command, Event, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES, Options, Request,
    ScriptCall, ScriptId, Ticket, Value,
};
use meliproxy::rng::Rng;
use meliproxy::time::Instant;

use self::server::{BAD_MOODS, Kind, Mood, Server, Session, script_reply};
use crate::input::Input;

#[allow(dead_code, reason = "what the simulation of the client needs beyond this")]
#[path = "../../tests/redis_client/server.rs"]
mod server;

const SCRIPTS: &[&str] = &["return one", "return another one"];

/// Things that happen in one run, at most.
const STEPS: usize = 200;

/// Steps that reach for the bounds, in those few runs that have any: they take a thousand times as long as others.
const HEAVY_STEPS: u8 = 4;

/// How often the driver looks at the clock while something is owed, in microseconds.
const TICK_US: u64 = 5_000;

/// Looks at the clock within which a good server has to be of use again.
const PATIENCE: usize = 400;

/// Errors that a server may answer with at any time, and what it never should say.
const STRANGE: &[&[u8]] = &[
    b"-NOSCRIPT No matching script.\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-ERR unknown command\r\n",
    b"+OK\r\n",
    b"*2\r\n$1048576\r\n",
    b"%1\r\n+role\r\n+master\r\n",
    b"$40\r\n0123456789012345678901234567890123456789\r\n",
];

/// The first bytes say which server it is and whether there are heavy steps, the others what happens next.
pub fn redis_client(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.assert_well_again();
}

struct World {
    /// Microseconds.
    now: u64,
    client: Client,
    server: Server,
    session: Session,
    stream_open: bool,
    /// What the server has not read yet, and what it has said that has not arrived.
    unread: Vec<u8>,
    arriving: Vec<u8>,
    /// Whether all that was said on this connection answers what was asked.
    is_honest: bool,
    heavy_steps_left: u8,
    tickets: u64,
    /// The replies that commands are to have, and their sizes.
    waiting: HashMap<u64, (Value, usize)>,
    waiting_bytes: usize,
    /// Commands that had their own reply so far.
    replies: u64,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let kind = [Kind::Redis, Kind::Resp2Only, Kind::Minimal][usize::from(input.up_to(2))];
        let options = Options { scripts: SCRIPTS, ..Options::default() };
        Self {
            now: 1_000_000,
            client: Client::new(options, Rng::with_seed(1)),
            server: Server::new(kind, None),
            session: Session::default(),
            stream_open: false,
            unread: Vec::new(),
            arriving: Vec::new(),
            is_honest: true,
            heavy_steps_left: if input.up_to(15) == 15 { HEAVY_STEPS } else { 0 },
            tickets: 0,
            waiting: HashMap::new(),
            waiting_bytes: 0,
            replies: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.up_to(15) {
            0..=2 => self.look_after(1_000 * u64::from(input.up_to(7))),
            3 => self.look_after(1_000 * u64::from(input.byte())),
            4 => self.now += 100 * u64::from(input.byte()),
            5..=6 => self.arrive(usize::MAX),
            7 => self.arrive(usize::from(input.byte())),
            8..=9 => {
                let length = usize::from(input.byte());
                let text = input.take(length);
                self.submit(text);
            }
            10 if self.may_be_heavy() => self.submit(&vec![b'x'; usize::from(input.byte()) << 13]),
            11 if self.may_be_heavy() => {
                (0..u64::from(input.byte()) << 4).for_each(|_| self.submit(b"one of many"));
            }
            12 => {
                let length = usize::from(input.up_to(40));
                self.lie(input.take(length));
            }
            13 => {
                let what = usize::from(input.byte()) % STRANGE.len();
                self.lie(STRANGE[what]);
            }
            14 => self.close(CloseCause::Status(u32::from(input.up_to(16)))),
            _ => self.change(input.up_to(10)),
        }
    }

    /// Whether another heavy step is not too much.
    const fn may_be_heavy(&mut self) -> bool {
        let may = self.heavy_steps_left > 0;
        self.heavy_steps_left = self.heavy_steps_left.saturating_sub(1);
        may
    }

    fn clock(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// Something else about the server.
    fn change(&mut self, what: u8) {
        match BAD_MOODS.get(usize::from(what)) {
            Some(Mood::Unreachable | Mood::HangsUp) => self.close(CloseCause::NotOpened),
            Some(mood) => self.server.mood = *mood,
            None if what == 7 => self.server.flush_scripts(),
            None if what == 8 => self.say(b">2\r\n+invalidate\r\n*1\r\n+key\r\n"),
            None => self.server.mood = Mood::Healthy,
        }
        self.serve(&[]);
    }

    fn look_after(&mut self, micros: u64) {
        self.now += micros;
        self.client.handle_timeout(self.clock());
        self.drain();
        // A wait may come out as zero, and is due at once; nothing is due for ever.
        for _ in 0..2 {
            if self.client.poll_timeout().is_some_and(|due| due <= self.clock()) {
                self.client.handle_timeout(self.clock());
                self.drain();
            }
        }
        let due = self.client.poll_timeout();
        assert!(due.is_none_or(|due| due > self.clock()), "due for ever");
    }

    fn submit(&mut self, text: &[u8]) {
        self.tickets += 1;
        let ticket = self.tickets;
        let (request, expected): (Request, _) = match self.tickets % 3 {
            script @ 0..=1 => {
                let script = usize::from(script == 1);
                let mut call = ScriptCall::new(ScriptId(script), 1);
                call.key(&ticket.to_le_bytes());
                call.arg(text);
                (call.into(), script_reply(SCRIPTS[script], text))
            }
            _ => (Command::new(b"ECHO").arg(text).into(), Value::Bulk(text.to_vec())),
        };
        if self.client.submit(self.clock(), request, Ticket(ticket)).is_ok() {
            self.waiting.insert(ticket, (expected, text.len()));
            self.waiting_bytes += text.len();
        }
        assert!(self.waiting.len() <= MAX_IN_FLIGHT, "{} in flight", self.waiting.len());
        assert!(self.waiting_bytes <= MAX_IN_FLIGHT_BYTES, "{} bytes", self.waiting_bytes);
        self.transmit();
    }

    /// The server says something that is in order; it arrives later.
    fn say(&mut self, bytes: &[u8]) {
        if self.stream_open {
            self.arriving.extend_from_slice(bytes);
        }
    }

    fn lie(&mut self, bytes: &[u8]) {
        self.is_honest = false;
        self.say(bytes);
        self.arrive(usize::MAX);
    }

    fn arrive(&mut self, most: usize) {
        if self.stream_open {
            let later = self.arriving.split_off(most.min(self.arriving.len()));
            let bytes = std::mem::replace(&mut self.arriving, later);
            self.client.handle_input(self.clock(), &bytes);
            self.drain();
        }
    }

    fn close(&mut self, cause: CloseCause) {
        if self.stream_open {
            self.stream_open = false;
            self.client.handle_closed(self.clock(), cause);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Connect => {
                    assert!(!self.stream_open, "connect while open");
                    (self.stream_open, self.is_honest) = (true, true);
                    self.session = Session::default();
                    self.unread.clear();
                    self.arriving.clear();
                }
                Event::Disconnect => {
                    assert!(self.stream_open, "disconnect without a stream");
                    self.stream_open = false;
                }
                Event::Ready { .. } => assert!(self.stream_open, "ready without a stream"),
                Event::Lost { .. } => assert!(!self.stream_open, "lost with an open stream"),
                Event::Reply { ticket, value, .. } => {
                    let expected = self.finish(ticket);
                    let is_own = value == expected;
                    let may_be_other = !self.is_honest || matches!(value, Value::Error(_));
                    assert!(is_own || may_be_other, "{value:?} in place of {expected:?}");
                    self.replies += u64::from(is_own);
                }
                Event::Failed { ticket, .. } => drop(self.finish(ticket)),
                Event::Message { .. } | Event::Push(_) => {}
            }
        }
        self.transmit();
    }

    /// The reply that a command should have.
    fn finish(&mut self, Ticket(ticket): Ticket) -> Value {
        let waited = self.waiting.remove(&ticket);
        let (expected, size) = waited.unwrap_or_else(|| panic!("nobody waits for {ticket}"));
        self.waiting_bytes -= size;
        expected
    }

    fn transmit(&mut self) {
        if let Some(bytes) = self.client.poll_transmit() {
            assert!(self.stream_open, "bytes without a stream");
            self.serve(&bytes);
        }
    }

    fn serve(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if self.server.mood == Mood::Stuck {
            return;
        }
        let unread = std::mem::take(&mut self.unread);
        for (_, answer) in self.server.on_input(&mut self.session, &unread) {
            self.arriving.extend(answer);
        }
    }

    /// Nobody waits for ever, and a good server answers again.
    fn assert_well_again(&mut self) {
        for _ in 0..20 {
            self.look_after(TICK_US);
        }
        assert!(self.waiting.is_empty(), "without an outcome: {:?}", self.waiting.keys());
        self.server.mood = Mood::Healthy;
        self.serve(&[]);
        let (before, mut asked_at) = (self.replies, self.now);
        for _ in 0..PATIENCE {
            self.arrive(usize::MAX);
            if self.replies > before {
                return;
            }
            // A reply that is taken for part of a lie is missed until nothing has come for a second.
            if self.client.is_ready() && self.waiting.is_empty() && self.now > asked_at + 1_500_000
            {
                asked_at = self.now;
                self.submit(b"well again?");
                continue;
            }
            self.look_after(if self.waiting.is_empty() { 100_000 } else { TICK_US });
        }
        panic!("not well again: {:?}", self.client);
    }
}
