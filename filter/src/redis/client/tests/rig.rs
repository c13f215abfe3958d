//! A client, its clock, and short words for what it is told and says.

use std::time::Duration;

use crate::redis::{
    COMMAND_TIMEOUT, Client, CloseCause, Command, Event, Failure, LostCause, Options, ScriptCall,
    ScriptId, SubmitError, Ticket, Value,
};
use crate::rng::Rng;
use crate::time::Instant;

const SCRIPTS: &[&str] = &["return 1", "return 2"];
pub(super) const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(super) const HELLO: &str = "%1\r\n$5\r\nproto\r\n:3\r\n";
/// How often the driver looks at the clock.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Ready, and nothing was subscribed to.
pub(super) const READY: Event = Event::Ready { subscribed: false };
/// What [`Rig::closed`] tells.
pub(super) const STATUS_2: LostCause = LostCause::Closed(CloseCause::Status(2));

/// A client and its clock.
pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) now: Instant,
    /// Which deadline the client expects next.
    pub(super) due: Option<Instant>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_timeout(COMMAND_TIMEOUT)
    }

    pub(super) fn with_timeout(command_timeout: Duration) -> Self {
        Self::with(Options { command_timeout, ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let options = Options { scripts: SCRIPTS, ..options };
        let client = Client::new(options, Rng::with_seed(1));
        Self { client, now: Instant::from_micros(1_000_000), due: None }
    }

    /// A client that is connected and ready.
    pub(super) fn ready() -> Self {
        Self::new().connected()
    }

    pub(super) fn connected(mut self) -> Self {
        assert_eq!(self.tick(), [Event::Connect]);
        assert_eq!(self.shake_hands().1, [READY]);
        self
    }

    pub(super) fn shake_hands(&mut self) -> (String, Vec<Event>) {
        let sent = self.sent();
        let events = self.input(&format!("{HELLO}{}", format!("$40\r\n{DIGEST}\r\n").repeat(2)));
        (sent, events)
    }

    fn drain(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.client.poll_event()).collect();
        self.due = self.client.poll_timeout();
        events
    }

    pub(super) fn tick(&mut self) -> Vec<Event> {
        self.client.handle_timeout(self.now);
        self.drain()
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    /// Lets time pass with a look at the clock every [`TICK`]; what happened.
    pub(super) fn ticks(&mut self, duration: Duration) -> Vec<Event> {
        let end = self.now.saturating_add(duration);
        let mut events = Vec::new();
        while self.now < end {
            self.pass(TICK.min(end.saturating_since(self.now)));
            events.extend(self.tick());
        }
        events
    }

    pub(super) fn input(&mut self, bytes: &str) -> Vec<Event> {
        self.client.handle_input(self.now, bytes.as_bytes());
        self.drain()
    }

    pub(super) fn closed(&mut self) -> Vec<Event> {
        self.client.handle_closed(self.now, CloseCause::Status(2));
        self.drain()
    }

    pub(super) fn sent(&mut self) -> String {
        String::from_utf8(self.client.poll_transmit().unwrap_or_default()).unwrap()
    }

    pub(super) fn submit(&mut self, ticket: u64) -> Result<(), SubmitError> {
        self.client.submit(self.now, Command::new(b"PING").into(), Ticket(ticket))
    }

    pub(super) fn call(&mut self, script: usize, ticket: u64) -> Result<(), SubmitError> {
        let mut call = ScriptCall::new(ScriptId(script), 1);
        call.key(b"k");
        self.client.submit(self.now, call.into(), Ticket(ticket))
    }

    /// Back to ready, after a loss.
    pub(super) fn reconnect(&mut self) {
        self.now = self.now.max(self.due.unwrap());
        assert_eq!(self.tick(), [Event::Connect]);
        let (_, events) = self.shake_hands();
        assert_eq!(events.last(), Some(&READY));
    }
}

pub(super) fn lost(cause: LostCause) -> Event {
    Event::Lost { cause }
}

pub(super) fn overdue(ticket: u64) -> Event {
    Event::Failed { ticket: Ticket(ticket), cause: Failure::Deadline }
}

pub(super) fn cut_off(ticket: u64) -> Event {
    Event::Failed { ticket: Ticket(ticket), cause: Failure::Closed }
}

pub(super) fn reply(ticket: u64, value: Value, elapsed: Duration) -> Event {
    Event::Reply { ticket: Ticket(ticket), value, elapsed }
}

pub(super) fn pong(ticket: u64) -> Event {
    reply(ticket, Value::Simple(b"PONG".to_vec()), Duration::ZERO)
}
