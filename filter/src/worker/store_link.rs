//! The cache's own connection to Redis: bodies must not stand in the way of what quotas ask.

use std::collections::HashMap;

use super::Worker;
use super::effect::{Effect, LinkId};
use crate::cache::keeper::{Expected, FETCH_LEASE, Outgoing, OutgoingId, Said};
use crate::cache::store::{self, Kept};
use crate::redis::{Client, Event, Request, ScriptId, Ticket, Value};
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// The scripts that its client has to load.
pub const CACHE_SCRIPTS: &[&str] = &store::SOURCES;

/// How long one entry may be on its way to Redis or from it, as a multiple of what a question of quotas may take: it may
/// be a thousand times as large.
pub const CACHE_TIMEOUTS: u32 = 10;

/// Most bytes that may be on their way to Redis: several of the largest bodies.
pub const CACHE_MOST_BYTES: usize = 32 << 20;

/// The cache's client, and what has come for it.
#[derive(Debug)]
pub(super) struct Store {
    client: Client,
    calls: store::Calls,
    /// Bodies, of lookups whose answers are still to come.
    halves: HashMap<u64, Value>,
}

/// What the client of the cache of a worker has to be told: channels to subscribe to, and the beginning of the names of
/// keys whose changes it has to hear of.
#[must_use]
pub fn cache_subscriptions(namespace: &str, worker: u64) -> (Vec<String>, Vec<u8>) {
    let calls = store::Calls::new(namespace, ScriptId(0));
    (vec![calls.channel(), calls.channel_of(worker)], calls.invalidated())
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        let calls = store::Calls::new(namespace, ScriptId(0));
        Self { client, calls, halves: HashMap::new() }
    }

    pub(super) const fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    /// What is sent for a call. Of a lookup the body is asked for first: what invalidates the rest is told of behind the
    /// last answer, and not between the two, where what is told of would be used afterwards.
    fn request(&self, outgoing: &Outgoing) -> (Option<Request>, Request) {
        let calls = &self.calls;
        let one: Request = match outgoing {
            Outgoing::Lookup { place, names, token } => {
                let fetch = token.map(|token| (token, FETCH_LEASE));
                let body = calls.body(place.object).into();
                return (Some(body), calls.lookup(place, names, fetch).into());
            }
            Outgoing::Acquire { place, token, received_ms } => {
                calls.acquire(place, *token, FETCH_LEASE, *received_ms).into()
            }
            Outgoing::Put(put) => {
                let (body, kept) = (put.body.as_deref(), Kept(put.kept));
                calls.put(&put.place, &put.stored, &put.header, body, kept, put.token).into()
            }
            Outgoing::Release { place, token, useless_for } => {
                calls.release(place, *token, *useless_for).into()
            }
            Outgoing::Invalidate { scopes, mode, seen, kept } => {
                calls.invalidate(scopes, *mode, *seen, Kept(*kept)).into()
            }
            Outgoing::Sync { worker, number } => calls.sync(*worker, *number).into(),
            Outgoing::Known { worker, number } => calls.known(*worker, *number).into(),
            Outgoing::Ping => crate::redis::Command::new(b"PING").into(),
        };
        (None, one)
    }
}

/// Tickets of the two commands of one call: for a body, and for the rest.
const fn tickets(id: OutgoingId) -> [Ticket; 2] {
    [Ticket(id.0 << 1), Ticket(id.0 << 1 | 1)]
}

impl Worker {
    /// Sends what the keeper has to say.
    pub(super) fn say_to_store(&mut self, now: Now) {
        while let Some(store) = &mut self.store
            && let Some((id, outgoing)) = self.keeper.poll_outgoing()
        {
            let (body, request) = store.request(&outgoing);
            let [of_body, of_request] = tickets(id);
            let mut sent = Ok(());
            if let Some(body) = body {
                sent = store.client.submit(now.mono, body, of_body);
            }
            if sent.is_ok() {
                sent = store.client.submit(now.mono, request, of_request);
            }
            if sent.is_err() {
                self.keeper.on_said(now, id, Said::Nothing);
            }
        }
    }

    pub(super) fn transmit_to_store(&mut self) {
        if let Some(bytes) = self.store.as_mut().and_then(|store| store.client.poll_transmit()) {
            self.effects.push_back(Effect::Send(LinkId::Cache, bytes));
        }
    }

    /// Takes all that the client of the cache has to say.
    pub(super) fn after_store(&mut self, now: Now, shared: &mut dyn SharedData) {
        while let Some(event) = self.store.as_mut().and_then(|store| store.client.poll_event()) {
            match event {
                Event::Connect => self.root_effects.push_back(Effect::OpenStream(LinkId::Cache)),
                Event::Disconnect => self.root_effects.push_back(Effect::DropStream(LinkId::Cache)),
                Event::Ready { subscribed } => {
                    self.store_is_ready = Some(subscribed);
                    self.join_store(now);
                }
                Event::Lost { cause } => {
                    if self.store_is_ready.take().is_some() && self.serves {
                        let line = format!("cache: lost Redis ({cause}); requests go past it");
                        self.effects.push_back(Effect::Warn(line));
                    }
                    self.keeper.on_lost(now);
                    if let Some(store) = &mut self.store {
                        store.halves.clear();
                    }
                }
                Event::Reply { ticket, value, .. } => {
                    self.on_store_answer(now, ticket, Some(value))
                }
                Event::Failed { ticket, .. } => self.on_store_answer(now, ticket, None),
                Event::Message { payload, .. } => self.keeper.on_message(now, &payload),
                Event::Push(elements) => self.on_store_push(&elements),
            }
        }
        self.after_keeper(now, shared);
        self.transmit_to_store();
    }

    /// The keeper has a store from here on, if this worker serves: who never does need not be told anything.
    pub(super) fn join_store(&mut self, now: Now) {
        if let Some(is_told) = self.store_is_ready
            && self.serves
            && !self.keeper.is_off()
        {
            self.keeper.on_joined(now, is_told);
        }
    }

    fn on_store_answer(&mut self, now: Now, Ticket(ticket): Ticket, answer: Option<Value>) {
        let (id, is_body) = (OutgoingId(ticket >> 1), ticket & 1 == 0);
        let Some(store) = &mut self.store else { return };
        let said = match (self.keeper.expected(id), answer) {
            (Some(Expected::Found(_)), Some(body)) if is_body => {
                store.halves.insert(id.0, body);
                return;
            }
            (Some(Expected::Found(key)), Some(answer)) => {
                let body = store.halves.remove(&id.0);
                body.and_then(|body| found(&answer, key, &body)).unwrap_or(Said::Nothing)
            }
            (Some(expected), Some(answer)) => said(expected, &answer),
            (_, None) | (None, _) => {
                store.halves.remove(&id.0);
                Said::Nothing
            }
        };
        self.keeper.on_said(now, id, said);
    }

    /// `invalidate`, with the names of keys that have changed, or with none: perhaps all.
    fn on_store_push(&mut self, elements: &[Value]) {
        match elements {
            [kind, Value::Array(names)] if kind.as_bytes() == Some(b"invalidate") => {
                let names: Vec<_> =
                    names.iter().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect();
                self.keeper.on_invalidated(Some(&names));
            }
            // What is not understood may have been anything.
            _ => self.keeper.on_invalidated(None),
        }
    }
}

fn found(answer: &Value, key: &[u8], body: &Value) -> Option<Said> {
    let found = store::found(answer, key)?;
    let body = match &found {
        store::Found::Stored { stored, .. } => store::body(body, stored),
        store::Found::Names(_) | store::Found::Missing { .. } => None,
    };
    Some(Said::Found(found, body))
}

fn said(expected: Expected<'_>, answer: &Value) -> Said {
    let number = || {
        if let Value::Integer(number) = answer { u64::try_from(*number).ok() } else { None }
    };
    let said = match expected {
        Expected::Found(_) => None,
        Expected::Lock => store::lock(answer).map(Said::Lock),
        Expected::Put => store::put(answer).map(Said::Put),
        Expected::Epoch => number().map(Said::Epoch),
        Expected::Count => number().map(Said::Count),
        Expected::Anything if matches!(answer, Value::Error(_)) => None,
        Expected::Anything => Some(Said::Anything),
    };
    said.unwrap_or(Said::Nothing)
}
