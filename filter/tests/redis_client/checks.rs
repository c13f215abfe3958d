//! What must hold at every step, kept apart from the world that moves.

use std::collections::{HashMap, HashSet, VecDeque};

use meliproxy::redis::{
    COMMAND_TIMEOUT, Decoder, Event, Failure, GRACE, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES,
    SubmitError, Value,
};

use crate::server::{CHANNEL, Commands};
use crate::world::TICK_US;

/// Upper bound of what a command is charged above its bytes: its frame, and the longest source.
const CHARGE_BYTES: usize = 300;

/// A command that was accepted.
#[derive(Debug)]
struct Accepted {
    at: u64,
    /// How many times input had come when it was first sent.
    inputs_before: u64,
    expected: Value,
    /// When the last byte of its reply comes out of the network.
    answered_at: Option<u64>,
}

/// Where the connection is, as events told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing speaks against the server so far.
    First,
    Ready,
    Down,
}

#[derive(Debug)]
pub(crate) struct Checks {
    phase: Phase,
    stream_open: bool,
    waiting: HashMap<u64, Accepted>,
    /// Tickets that have had their outcome.
    over: HashSet<u64>,
    /// Whether a command was answered by a replica that this connection leads to.
    on_replica: bool,
    inputs: u64,
    /// Whether a deadline was missed since the last input.
    missed: bool,
    /// Whether that was of a command after whose sending no input had come.
    silent: bool,
    sent: Commands,
    received: Decoder,
    /// Sizes of the commands whose replies have not been handed to the client.
    owed: VecDeque<usize>,
    owed_bytes: usize,
    /// How many commands were accepted since the last bytes were sent, and their sizes together.
    unsent: (usize, usize),
    /// Whether the server has sent what nobody asked for: then what follows is not understood.
    pub(crate) lied_to: bool,
    /// End of the last time in which the driver stood still.
    pub(crate) stall_end: u64,
    pub(crate) replies: u64,
    pub(crate) overdue: u64,
    pub(crate) refused: u64,
    pub(crate) overloaded: u64,
    pub(crate) losses: u64,
    pub(crate) pushes: u64,
    pub(crate) messages: u64,
    /// The number of the last message.
    message: Option<u64>,
    /// Whether the client has said that it hears.
    pub(crate) subscribed: bool,
}

fn wire_bytes(command: &[Vec<u8>]) -> usize {
    let header = |length: usize| length.to_string().len() + 3;
    let args = command.iter().map(|arg| header(arg.len()) + arg.len() + 2);
    header(command.len()) + args.sum::<usize>()
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::First,
            stream_open: false,
            waiting: HashMap::new(),
            over: HashSet::new(),
            on_replica: false,
            inputs: 0,
            missed: false,
            silent: false,
            sent: Commands::default(),
            received: Decoder::default(),
            owed: VecDeque::new(),
            owed_bytes: 0,
            unsent: (0, 0),
            lied_to: false,
            stall_end: 0,
            replies: 0,
            overdue: 0,
            refused: 0,
            overloaded: 0,
            losses: 0,
            pushes: 0,
            messages: 0,
            message: None,
            subscribed: false,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    pub(crate) fn all_over(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The network will hand out the whole reply of `ticket` then.
    pub(crate) fn on_answer(&mut self, ticket: u64, at: u64) {
        if let Some(accepted) = self.waiting.get_mut(&ticket) {
            accepted.answered_at = Some(at);
        }
    }

    pub(crate) fn on_submit(
        &mut self,
        now: u64,
        ticket: u64,
        size: usize,
        expected: Value,
        outcome: Result<(), SubmitError>,
    ) {
        let may_wait = self.phase == Phase::First;
        match outcome {
            Ok(()) => {
                assert!(may_wait || self.phase == Phase::Ready, "accepted while down");
                assert!(!(self.phase == Phase::Ready && self.silent), "accepted while stalled");
                let inputs_before = self.inputs;
                let accepted = Accepted { at: now, inputs_before, expected, answered_at: None };
                assert!(self.waiting.insert(ticket, accepted).is_none());
                self.unsent = (self.unsent.0 + 1, self.unsent.1 + size);
            }
            Err(SubmitError::Unavailable) => {
                assert!(!may_wait, "refused although nothing bad is known");
                assert!(self.phase != Phase::Ready || self.missed, "refused while ready");
                self.refused += 1;
            }
            Err(SubmitError::Overloaded) => {
                let count = self.owed.len() + self.unsent.0;
                let most = self.owed_bytes + self.unsent.1 + size + (count + 1) * CHARGE_BYTES;
                let full = count >= MAX_IN_FLIGHT || most > MAX_IN_FLIGHT_BYTES;
                assert!(full, "overloaded with {count} commands, {most} bytes at most");
                self.overloaded += 1;
            }
        }
    }

    pub(crate) fn on_transmit(&mut self, bytes: &[u8]) {
        assert!(self.stream_open, "bytes without a stream");
        self.unsent = (0, 0);
        for command in self.sent.read(bytes) {
            // It has a reply only if it is refused.
            if command.first().is_some_and(|name| name == b"SUBSCRIBE") {
                continue;
            }
            let size = wire_bytes(&command);
            self.owed.push_back(size);
            self.owed_bytes += size;
        }
        assert!(!self.is_ready() || self.owed.len() <= MAX_IN_FLIGHT, "too many in flight");
        assert!(!self.is_ready() || self.owed_bytes <= MAX_IN_FLIGHT_BYTES, "too much in flight");
    }

    pub(crate) fn on_input(&mut self, bytes: &[u8]) {
        assert!(self.stream_open, "the world hands bytes to no stream");
        self.inputs += 1;
        (self.missed, self.silent) = (false, false);
        self.received.feed(bytes);
        while let Ok(Some(value)) = self.received.poll_value() {
            let is_refusal = matches!(&value, Value::Error(text) if text.starts_with(b"NOPERM"));
            if !matches!(value, Value::Push(_)) && !is_refusal {
                self.owed_bytes -= self.owed.pop_front().unwrap_or(0);
            }
        }
    }

    pub(crate) fn on_closed(&mut self) {
        self.stream_open = false;
    }

    pub(crate) fn on_event(&mut self, now: u64, event: Event) {
        match event {
            Event::Connect => {
                assert!(!self.stream_open && self.phase != Phase::Ready, "connect while open");
                self.stream_open = true;
                self.lied_to = false;
                (self.sent, self.received) = Default::default();
                self.owed.clear();
                self.owed_bytes = 0;
            }
            Event::Disconnect => {
                assert!(self.stream_open, "disconnect without a stream");
                self.stream_open = false;
            }
            Event::Ready { subscribed } => {
                assert!(self.stream_open && self.phase != Phase::Ready, "ready twice");
                self.phase = Phase::Ready;
                self.subscribed |= subscribed;
                let inputs = self.inputs;
                self.waiting.values_mut().for_each(|queued| queued.inputs_before = inputs);
            }
            Event::Lost { .. } => {
                assert!(!self.stream_open, "lost with an open stream");
                self.phase = Phase::Down;
                self.on_replica = false;
                self.losses += 1;
            }
            Event::Reply { ticket, value, elapsed } => self.on_reply(now, ticket.0, value, elapsed),
            Event::Failed { ticket, cause } => self.on_failed(now, ticket.0, cause),
            Event::Push(_) => self.pushes += 1,
            Event::Message { channel, payload } => {
                assert!(self.stream_open, "a message without a stream");
                assert_eq!(channel, CHANNEL.as_bytes());
                let number: u64 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                assert!(
                    self.message.replace(number).is_none_or(|last| last < number),
                    "out of order"
                );
                self.messages += 1;
            }
        }
    }

    fn finish(&mut self, ticket: u64) -> Accepted {
        assert!(self.over.insert(ticket), "two outcomes of {ticket}");
        self.waiting.remove(&ticket).unwrap_or_else(|| panic!("nobody waits for {ticket}"))
    }

    fn on_reply(&mut self, now: u64, ticket: u64, value: Value, elapsed: std::time::Duration) {
        let accepted = self.finish(ticket);
        assert_eq!(micros(elapsed), now - accepted.at);
        if self.lied_to {
            return;
        }
        if let Value::Error(error) = &value {
            let allowed = error.starts_with(b"LOADING") || error.starts_with(b"READONLY");
            assert!(allowed, "{:?}", String::from_utf8_lossy(error));
            self.on_replica |= error.starts_with(b"READONLY");
        } else {
            assert_eq!(value, accepted.expected, "reply of another, or executed twice");
            self.replies += 1;
        }
    }

    fn on_failed(&mut self, now: u64, ticket: u64, cause: Failure) {
        let accepted = self.finish(ticket);
        let deadline = accepted.at + micros(COMMAND_TIMEOUT);
        match cause {
            Failure::Deadline => {
                assert!(now >= deadline, "failed before its deadline");
                let in_time = accepted.answered_at.is_some_and(|at| at < deadline);
                assert!(
                    !in_time || self.lied_to,
                    "failed although its reply had come: our own stall"
                );
                self.missed = true;
                if self.phase == Phase::First {
                    self.phase = Phase::Down;
                }
                self.silent |= accepted.inputs_before == self.inputs;
                self.overdue += 1;
            }
            Failure::Closed => assert_eq!(self.phase, Phase::Down, "cut off without a loss"),
        }
    }

    /// After all events of a call.
    pub(crate) fn has_left_replicas(&self) {
        assert!(!self.on_replica, "stays on a replica");
    }

    /// After a look at the clock: nobody waits for longer than is promised.
    pub(crate) fn nobody_waits_too_long(&self, now: u64) {
        for (ticket, accepted) in &self.waiting {
            let promised = (accepted.at + micros(COMMAND_TIMEOUT)).max(self.stall_end + TICK_US);
            assert!(now <= promised + micros(GRACE) + TICK_US, "{ticket} waits too long");
        }
    }
}
