//! A Redis client without IO: it is told what happened and says what to do.
//!
//! It never learns what carries the bytes. The rule for its driver: one `handle_*` call, then
//! [`Client::poll_event`] until there is none, then [`Client::poll_transmit`], then
//! [`Client::poll_timeout`]. [`Client::submit`] makes no event and may be called at any time; what
//! several calls wrote goes out as one piece. The driver reads no stream before [`Event::Connect`]
//! nor after [`Event::Disconnect`].
//!
//! **Exactly one outcome.** Every accepted command ends in one [`Event::Reply`] or one
//! [`Event::Failed`]. A command that failed keeps its place in the line of replies, so that a late
//! reply is never taken for another's.
//!
//! **How long a command may take.** While anything is owed, the driver calls
//! [`Client::handle_timeout`] at least every 5 ms. Then a command fails at most 5 ms after its
//! deadline. If the driver was kept from calling for longer than [`super::OWN_STALL`], the first
//! call after that fails nothing: replies that have arrived are to be read first. What is overdue
//! then fails at the first call that is [`super::GRACE`] later. So the worst case is the deadline
//! or the end of the stall, whichever is later, plus [`super::GRACE`], plus the time to the next
//! call.
//!
//! **Silence.** If a deadline passes and not one byte came since the command was sent, the
//! connection is stalled: commands are refused at once, until any byte comes. After [`DEAD_AFTER`]
//! of silence it is given up.
//!
//! The states of the connection are in `connection.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::command::Request;
use super::connection::{Admission, Connection, Incident, Outcome, State};
use super::decoder::Decoder;
use super::error::{CloseCause, Failure, LostCause, ServerError, SubmitError};
use super::event::{Event, Ticket};
use super::handshake::{Handshake, Progress};
use super::in_flight::{InFlight, Sent};
use super::options::Options;
use super::push::Push;
use super::resp::Value;
use super::scripts::Scripts;
use super::watch::Watch;
use crate::rng::Rng;
use crate::time::Instant;

/// A connection that owes replies this long without a byte is given up. Shorter than what Sentinel
/// takes to act.
pub const DEAD_AFTER: Duration = Duration::from_secs(1);
/// Most commands in flight: several times what one worker of Envoy sends within
/// [`super::COMMAND_TIMEOUT`].
pub const MAX_IN_FLIGHT: usize = 4096;
/// Most pushes in one piece of input: nothing in flight bounds them, and the bytes that the decoder
/// may hold are millions of small ones. A megabyte, which is how much Envoy buffers of a connection
/// by default, of messages of 64 bytes.
pub const MAX_PUSHES: usize = 1 << 14;

/// A command that waits for the handshake.
#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    request: Request,
    submitted_at: Instant,
    deadline: Instant,
    size_bytes: usize,
}

/// The client.
pub struct Client {
    options: Options,
    connection: Connection,
    handshake: Handshake,
    scripts: Scripts,
    decoder: Decoder,
    queue: VecDeque<Queued>,
    in_flight: InFlight,
    /// Of the commands in `queue` and `in_flight` together.
    size_bytes: usize,
    out: Vec<u8>,
    events: VecDeque<Event>,
    /// How many times input has come.
    inputs: u64,
    last_input_at: Instant,
    watch: Watch,
}

impl Client {
    /// A client that has not connected yet: the first [`Client::handle_timeout`] makes it. `rng` is
    /// for the jitter of its waits.
    #[must_use]
    pub fn new(options: Options, rng: Rng) -> Self {
        Self {
            connection: Connection::new(rng),
            handshake: Handshake::default(),
            scripts: Scripts::new(options.scripts),
            options,
            decoder: Decoder::default(),
            queue: VecDeque::new(),
            in_flight: InFlight::default(),
            size_bytes: 0,
            out: Vec::new(),
            events: VecDeque::new(),
            inputs: 0,
            last_input_at: Instant::default(),
            watch: Watch::default(),
        }
    }

    /// Hands in a command. Its deadline runs from now, whether or not the connection is ready.
    ///
    /// # Errors
    /// As [`Client::submit_for`].
    pub fn submit(
        &mut self,
        now: Instant,
        request: Request,
        ticket: Ticket,
    ) -> Result<(), SubmitError> {
        self.submit_for(now, now, request, ticket)
    }

    /// Hands in a command for one who has waited for it since `since`, from when its deadline runs.
    /// It fails no earlier than those handed in before.
    ///
    /// # Errors
    /// [`SubmitError`]; then no event will name `ticket`. A script that [`Options::scripts`] does
    /// not have is [`SubmitError::Unavailable`].
    pub fn submit_for(
        &mut self,
        now: Instant,
        since: Instant,
        request: Request,
        ticket: Ticket,
    ) -> Result<(), SubmitError> {
        let size_bytes = self.scripts.size_bytes(&request).ok_or(SubmitError::Unavailable)?;
        self.admits()?;
        let total_bytes = self.size_bytes.saturating_add(size_bytes);
        if total_bytes > self.options.most_bytes {
            return Err(SubmitError::Overloaded);
        }
        self.watch_if_nothing_is_owed(now);
        self.size_bytes = total_bytes;
        let deadline = since.saturating_add(self.options.command_timeout);
        let queued = Queued { ticket, request, submitted_at: now, deadline, size_bytes };
        match self.connection.admission() {
            Admission::Send => self.send(now, queued),
            Admission::Wait | Admission::Refuse => self.queue.push_back(queued),
        }
        Ok(())
    }

    /// Whether commands are sent at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.connection.admission() == Admission::Send
    }

    /// Whether a small command would be taken now.
    ///
    /// # Errors
    /// What [`Client::submit`] would answer.
    pub fn admits(&self) -> Result<(), SubmitError> {
        if self.connection.admission() == Admission::Refuse {
            return Err(SubmitError::Unavailable);
        }
        let count = self.queue.len().saturating_add(self.in_flight.len());
        if count >= MAX_IN_FLIGHT { Err(SubmitError::Overloaded) } else { Ok(()) }
    }

    /// Bytes have come.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.assert_drained();
        if bytes.is_empty() || !self.connection.is_open() {
            return;
        }
        self.inputs = self.inputs.wrapping_add(1);
        self.last_input_at = now;
        self.connection.on_incident(now, Incident::Input);
        self.decoder.feed(bytes);
        let mut pushes = 0_usize;
        // A connection that is lost on the way has a new decoder, without input.
        loop {
            match self.decoder.poll_value() {
                Ok(None) => return,
                Ok(Some(Value::Push(_))) if pushes == MAX_PUSHES => {
                    self.give_up(now, LostCause::TooManyPushes);
                }
                Ok(Some(Value::Push(elements))) => {
                    pushes = pushes.saturating_add(1);
                    self.on_push(elements);
                }
                Ok(Some(value)) => self.on_value(now, value),
                Err(error) => self.give_up(now, error.into()),
            }
        }
    }

    /// The stream is gone, or could not be opened.
    pub fn handle_closed(&mut self, now: Instant, cause: CloseCause) {
        self.assert_drained();
        if self.connection.is_open() {
            self.lose(now, LostCause::Closed(cause));
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.assert_drained();
        let may_fail = self.watch.may_fail(now);
        if may_fail {
            self.expire(now);
            if self.dead_at().is_some_and(|at| at <= now) {
                self.give_up(now, LostCause::Dead);
                return;
            }
        }
        let due = self.connection.due().is_some_and(|due| due <= now);
        if due && (may_fail || !self.connection.is_open()) {
            self.watch_if_nothing_is_owed(now);
            match self.connection.on_incident(now, Incident::Due) {
                Outcome::Connect => self.connect(),
                Outcome::GiveUp => self.give_up(now, LostCause::HandshakeTimeout),
                Outcome::None => {}
            }
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All bytes to be sent, as one piece, for the stream that the last [`Event::Connect`] opened.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.assert_drained();
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    /// When [`Client::handle_timeout`] is due, if ever; a moment of the past means now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let queued = self.queue.front().map(|queued| queued.deadline);
        let failing =
            [queued, self.in_flight.next_deadline(), self.dead_at()].into_iter().flatten();
        let due = self.connection.due();
        if self.connection.is_open() {
            failing.chain(due).min().map(|at| self.watch.not_before(at))
        } else {
            failing.map(|at| self.watch.not_before(at)).chain(due).min()
        }
    }

    fn assert_drained(&self) {
        debug_assert!(self.events.is_empty(), "events must be drained before the next call");
    }

    fn watch_if_nothing_is_owed(&mut self, now: Instant) {
        let handshaking = matches!(self.connection.state(), State::Handshaking { .. });
        if !handshaking && self.queue.is_empty() && self.in_flight.is_empty() {
            self.watch = Watch::starting(now);
        }
    }

    fn connect(&mut self) {
        self.handshake = Handshake::begin(self.options.introduction(), &mut self.out);
        self.events.push_back(Event::Connect);
    }

    fn on_push(&mut self, elements: Vec<Value>) {
        let event = match Push::of(elements) {
            Push::Confirmation(channel) => return self.handshake.on_confirmation(&channel),
            Push::Message { channel, payload } => Event::Message { channel, payload },
            Push::Other(elements) => Event::Push(elements),
        };
        self.events.push_back(event);
    }

    fn on_value(&mut self, now: Instant, value: Value) {
        match self.connection.state() {
            State::Handshaking { .. } => {
                let introduction = self.options.introduction();
                match self.handshake.on_reply(&value, introduction, &mut self.out) {
                    Progress::Pending => {}
                    Progress::Done { digests, subscribed } => {
                        self.scripts.on_loaded(digests);
                        self.on_ready(now, subscribed);
                    }
                    Progress::Failed(cause) => self.give_up(now, cause),
                }
            }
            State::Ready { .. } | State::Stalled { .. } => self.on_reply(now, value),
            State::Idle | State::BackingOff { .. } => {}
        }
    }

    fn on_ready(&mut self, now: Instant, subscribed: bool) {
        self.connection.on_incident(now, Incident::Established);
        self.events.push_back(Event::Ready { subscribed });
        for queued in std::mem::take(&mut self.queue) {
            self.send(now, queued);
        }
    }

    fn send(&mut self, now: Instant, queued: Queued) {
        let Queued { ticket, request, submitted_at, deadline, size_bytes } = queued;
        let call = self.scripts.write(request, &mut self.out);
        self.in_flight.push_first(Sent {
            ticket: Some(ticket),
            submitted_at,
            sent_at: now,
            deadline,
            inputs_before: self.inputs,
            size_bytes,
            call,
        });
    }

    fn on_reply(&mut self, now: Instant, value: Value) {
        let Some(mut sent) = self.in_flight.pop() else {
            self.give_up(now, LostCause::UnexpectedReply);
            return;
        };
        let error =
            if let Value::Error(error) = &value { Some(ServerError::of(error)) } else { None };
        if error == Some(ServerError::NoScript)
            && let Some(call) = sent.call.take()
        {
            self.scripts.write_by_source(&call, &mut self.out);
            let inputs_before = self.inputs;
            self.in_flight.push_again(Sent { sent_at: now, inputs_before, ..sent });
            return;
        }
        self.size_bytes = self.size_bytes.saturating_sub(sent.size_bytes);
        if error.is_none() {
            self.connection.on_incident(now, Incident::Success);
        }
        if let Some(ticket) = sent.ticket {
            let elapsed = now.saturating_since(sent.submitted_at);
            self.events.push_back(Event::Reply { ticket, value, elapsed });
        }
        if error == Some(ServerError::NotPrimary) {
            self.give_up(now, LostCause::NotPrimary);
        }
    }

    /// Ends the connection from this side.
    fn give_up(&mut self, now: Instant, cause: LostCause) {
        self.events.push_back(Event::Disconnect);
        self.lose(now, cause);
    }

    fn lose(&mut self, now: Instant, cause: LostCause) {
        self.connection.on_incident(now, Incident::Lost);
        self.events.push_back(Event::Lost { cause });
        let queued = std::mem::take(&mut self.queue).into_iter().map(|queued| queued.ticket);
        for ticket in self.in_flight.take_tickets().chain(queued) {
            self.events.push_back(Event::Failed { ticket, cause: Failure::Closed });
        }
        self.size_bytes = 0;
        self.out = Vec::new();
        self.decoder = Decoder::default();
    }

    /// Fails what is overdue. Of what was sent, the places stay for the replies that may still
    /// come.
    fn expire(&mut self, now: Instant) {
        while let Some(queued) = self.queue.pop_front_if(|queued| queued.deadline <= now) {
            self.size_bytes = self.size_bytes.saturating_sub(queued.size_bytes);
            self.fail_overdue(now, queued.ticket, true);
        }
        while let Some((ticket, inputs_before)) = self.in_flight.expire_one(now) {
            self.fail_overdue(now, ticket, inputs_before == self.inputs);
        }
    }

    fn fail_overdue(&mut self, now: Instant, ticket: Ticket, in_silence: bool) {
        if in_silence {
            self.connection.on_incident(now, Incident::Silence);
        }
        self.events.push_back(Event::Failed { ticket, cause: Failure::Deadline });
    }

    /// When the connection will have owed replies for too long without a byte.
    fn dead_at(&self) -> Option<Instant> {
        let owing_since = self.in_flight.oldest_sent_at()?.max(self.last_input_at);
        Some(owing_since.saturating_add(DEAD_AFTER))
    }
}

impl fmt::Debug for Client {
    /// Leaves out what is on its way: it may hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("connection", &self.connection)
            .field("queue", &self.queue.len())
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
