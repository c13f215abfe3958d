//! What the cache makes of requests and responses.

use std::collections::HashMap;
use std::time::Duration;

use super::Worker;
use super::calls::Calls;
use super::effect::{ContextId, Effect, Place, Verdict};
use crate::breaker::board::Key;
use crate::breaker::outcome::CallView;
use crate::cache::fields::Fields;
use crate::cache::keeper::{
    Arrival, Asking, Event as News, Fetch, Filling, Header, Look, Mutation, Reply, Series,
};
use crate::cache::purge::{self, Order};
use crate::cache::served;
use crate::exchange::{Conclusion, Fate, Tally};
use crate::http::{self, RequestView, StoredReply};
use crate::metrics::{Metric, Purge};
use crate::shared::SharedData;
use crate::time::Now;

/// Requests that wait for the cache, with what quotas have concluded of them and for how long they had waited then.
pub(super) type Shelved = HashMap<u32, (Conclusion, Duration, Vec<Key>)>;

/// What a request that goes to the upstream has to do with the cache.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// Nothing.
    #[default]
    None,
    /// Its response may be stored, or answered from what is.
    Fetch(Box<Fetch>),
    /// Its response is coming in.
    Filling(Box<Filling>),
    /// It may change what is stored.
    Change(Box<Mutation>),
}

/// A request that goes on to the upstream, from when it passed to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Onward {
    /// The calls that it is to breakers.
    pub calls: Calls,
    /// What it has to do with the cache.
    pub part: Part,
}

/// What becomes of a response whose header has come.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on.
    Pass {
        /// Fields that are taken out of it.
        removed: Vec<Vec<u8>>,
        /// Fields that are written anew.
        rewritten: Vec<(&'static str, Vec<u8>)>,
        /// What is told of it.
        cache_status: Option<String>,
        /// What quotas tell.
        fields: http::Fields,
    },
    /// This goes instead.
    Replace(Box<StoredReply>),
}

impl Onward {
    /// What fetches something for the cache, perhaps.
    pub(super) fn to_fetch(calls: Calls, fetch: Option<Box<Fetch>>) -> Self {
        Self { calls, part: fetch.map_or(Part::None, Part::Fetch) }
    }

    /// Whether nothing has to be told of it any more.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.calls.is_empty() && matches!(self.part, Part::None)
    }

    /// What the upstream is to be asked in addition, and whether that takes the place of what the client asks.
    #[must_use]
    pub fn conditions(&self) -> &[(&'static str, Vec<u8>)] {
        match &self.part {
            Part::Fetch(fetch) => fetch.conditions(),
            Part::None | Part::Filling(_) | Part::Change(_) => &[],
        }
    }
}

impl Worker {
    /// Has the cache look for the answer to a request that quotas let pass; `None` if it waits for that.
    pub(super) fn look(
        &mut self,
        now: Now,
        context: ContextId,
        breakers: Vec<Key>,
        asking: Asking,
        (conclusion, waited): (Conclusion, Duration),
        shared: &mut dyn SharedData,
    ) -> Option<(Conclusion, Onward)> {
        let passed = match self.keeper.look(now, context.0, asking) {
            Look::Reply(reply) => Some((self.serve(conclusion, *reply), Onward::default())),
            Look::Forward(fetch) => {
                self.pass_on(now, context, &breakers, (conclusion, waited), Some(fetch), shared)
            }
            Look::Wait => {
                self.shelved.insert(context.0, (conclusion, waited, breakers));
                None
            }
        };
        self.after_keeper(now, shared);
        passed
    }

    /// Answers a request that would have passed.
    pub(super) fn serve(&mut self, conclusion: Conclusion, reply: Reply) -> Conclusion {
        let Conclusion { fate, entry } = conclusion;
        let quotas = match fate {
            Fate::Pass(fields) => fields,
            fate @ (Fate::Refuse(_) | Fate::Serve(_)) => return Conclusion { fate, entry },
        };
        let stored = self.stored_reply(reply, &quotas);
        Conclusion { fate: Fate::Serve(Box::new(stored)), entry }
    }

    fn stored_reply(&mut self, reply: Reply, quotas: &http::Fields) -> StoredReply {
        let (cache, is_head) = (reply.policy, reply.answer.is_head);
        let stored = served::reply(reply, quotas);
        let bytes = stored.content().map_or(0, <[u8]>::len) as u64;
        if bytes > 0 && !is_head {
            self.counts.add(Metric::CacheServedBytes { cache }, bytes);
        }
        stored
    }

    /// The header of the response to a request that has to do with the cache has come; `fields` are what quotas tell.
    pub fn on_header(
        &mut self,
        now: Now,
        onward: &mut Onward,
        header: &Header,
        fields: http::Fields,
        view: &mut dyn CallView,
    ) -> Outcome {
        let mut cache_status = None;
        onward.part = match std::mem::take(&mut onward.part) {
            Part::Fetch(fetch) => match self.keeper.on_header(now, fetch, header) {
                Arrival::Pass(handling) => {
                    cache_status = Some(handling.member());
                    Part::None
                }
                Arrival::Fill(filling, handling) => {
                    cache_status = Some(handling.member());
                    Part::Filling(filling)
                }
                Arrival::Reply(reply) => {
                    // What goes out instead says nothing of the upstream.
                    onward.calls.remember(view);
                    return Outcome::Replace(Box::new(self.stored_reply(*reply, &fields)));
                }
            },
            Part::Change(mutation) => {
                let filling = self.keeper.on_mutated(now, *mutation, header);
                filling.map_or(Part::None, Part::Filling)
            }
            part @ (Part::None | Part::Filling(_)) => part,
        };
        let (removed, rewritten) = (removed(&header.fields), rewritten(&header.fields));
        Outcome::Pass { removed, rewritten, cache_status, fields }
    }

    /// A part of the body of such a response has come, and perhaps all of it.
    pub fn on_body(&mut self, now: Now, part: &mut Part, bytes: &[u8], is_over: bool) {
        if let Part::Filling(filling) = std::mem::take(part)
            && let Some(filling) = self.keeper.on_body(now, filling, bytes)
        {
            if is_over {
                self.keeper.on_filled(now, filling);
            } else {
                *part = Part::Filling(filling);
            }
        }
    }

    /// Does what the cache wants in a callback of one request.
    pub fn after_response(&mut self, now: Now, shared: &mut dyn SharedData) {
        self.after_keeper(now, shared);
        self.transmit();
    }

    /// Such a request is over, whatever became of it.
    pub(super) fn on_part_done(&mut self, now: Now, part: Part) {
        match part {
            Part::None | Part::Change(_) => {}
            Part::Fetch(fetch) => self.keeper.on_abandoned(now, *fetch),
            Part::Filling(filling) => self.keeper.on_cut(now, filling),
        }
    }

    /// Somebody who may wants something invalidated; an effect will answer.
    ///
    /// # Errors
    /// The answer, if the order is none.
    pub fn on_purge(
        &mut self,
        now: Now,
        context: ContextId,
        lines: &Fields,
        shared: &mut dyn SharedData,
    ) -> Result<Place, Box<StoredReply>> {
        if !self.serves {
            self.begin_to_serve(now);
        }
        let order = Order::read(lines, |path| self.plan.key_options(path));
        let Order { scopes, mode } = order.map_err(purge::refused)?;
        self.purging.insert(context.0);
        self.keeper.purge(now, scopes, mode, context.0);
        self.after_keeper(now, shared);
        self.transmit();
        Ok(Place::NONE)
    }

    /// A request of this worker itself has come back to it: what it was made for goes on as any other, but for quotas.
    /// None if that is over.
    pub fn on_refresh(
        &mut self,
        now: Now,
        context: ContextId,
        ticket: u64,
        view: &mut dyn RequestView,
        shared: &mut dyn SharedData,
    ) -> Option<(Option<Vec<u8>>, Verdict)> {
        let fetch = self.refreshes.remove(&ticket)?;
        let opening = self.plan.open(view);
        let conclusion = Conclusion { fate: Fate::Pass(Vec::new()), entry: None };
        let concluded = (conclusion, Duration::ZERO);
        let passed = self.pass_on(now, context, &opening.breakers, concluded, Some(fetch), shared);
        self.after_board(now, shared);
        self.after_response(now, shared);
        let verdict = match passed {
            Some((conclusion, onward)) => Verdict::Conclude(conclusion, onward),
            None => Verdict::Pause(Place::NONE),
        };
        Some((opening.rewritten_path, verdict))
    }

    /// The call that was to refresh a stored response is over, or could not be made.
    pub fn on_refresh_done(&mut self, now: Now, ticket: u64, shared: &mut dyn SharedData) {
        if let Some(fetch) = self.refreshes.remove(&ticket) {
            self.keeper.on_abandoned(now, *fetch);
            self.after_response(now, shared);
        }
    }

    /// A request that was let go had already left.
    pub fn on_left(&mut self, onward: Onward) {
        self.on_part_done(self.now, onward.part);
    }

    /// Does what the keeper wants, and tells of what has happened.
    pub(super) fn after_keeper(&mut self, now: Now, shared: &mut dyn SharedData) {
        loop {
            self.say_to_store(now);
            let Some(news) = self.keeper.poll_event() else { return };
            match news {
                News::Decided { asker, look } => self.on_decided(now, asker, look, shared),
                News::Refresh(fetch) => {
                    self.last_refresh = self.last_refresh.wrapping_add(1);
                    let ticket = self.last_refresh;
                    self.root_effects.push_back(Effect::Refresh(ticket, fetch.request()));
                    self.refreshes.insert(ticket, fetch);
                }
                News::Invalidated { asker, done } => {
                    let outcome = if done { Purge::Done } else { Purge::Failed };
                    self.counts.count(Metric::CachePurges(outcome));
                    if self.purging.remove(&asker) {
                        let fate = Fate::Serve(purge::answer(done));
                        let conclusion = Conclusion { fate, entry: None };
                        let context = ContextId(asker);
                        let release = Effect::Release(context, conclusion, Onward::default());
                        self.releases.push_back(release);
                    }
                }
                News::Counted { policy: cache, series } => self.count_cache(cache, series),
            }
        }
    }

    pub(super) fn count_cache(&mut self, cache: usize, series: Series) {
        self.counts.count(Metric::Cache { cache, series });
    }

    fn on_decided(&mut self, now: Now, asker: u32, look: Look, shared: &mut dyn SharedData) {
        let Some((conclusion, waited, breakers)) = self.shelved.remove(&asker) else {
            if let Look::Forward(fetch) = look {
                self.keeper.on_abandoned(now, *fetch);
            }
            return;
        };
        let context = ContextId(asker);
        let passed = match look {
            Look::Reply(reply) => Some((self.serve(conclusion, *reply), Onward::default())),
            Look::Forward(fetch) => {
                self.pass_on(now, context, &breakers, (conclusion, waited), Some(fetch), shared)
            }
            Look::Wait => None,
        };
        if let Some((conclusion, onward)) = passed {
            self.releases.push_back(Effect::Release(context, conclusion, onward));
        }
    }
}

/// Envoy has joined several lines of `Cache-Control` by a comma alone, where RFC 9110 §5.3 would have a space behind it.
fn rewritten(fields: &Fields) -> Vec<(&'static str, Vec<u8>)> {
    const NAME: &str = "cache-control";
    fields.spaced(NAME).map(|spaced| (NAME, spaced)).into_iter().collect()
}

/// What does not go on of a response: what is about the connection that it came by, and what is for this cache.
fn removed(fields: &Fields) -> Vec<Vec<u8>> {
    let mut kept = fields.clone();
    kept.leave_connection();
    let is_hidden = |name: &[u8]| served::is_hidden(name);
    let mut removed: Vec<Vec<u8>> = Vec::new();
    for (name, _) in fields.iter() {
        let goes = is_hidden(name) || !kept.iter().any(|(of, _)| of == name);
        // Envoy looks after its own.
        let is_envoys = matches!(
            name,
            b"connection" | b"transfer-encoding" | b"upgrade" | b"te" | b"keep-alive"
        );
        if goes && !is_envoys && !removed.iter().any(|of| of == name) {
            removed.push(name.to_vec());
        }
    }
    removed
}
