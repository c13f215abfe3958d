//! What becomes of a fetch in the end: a stored response, or a lock that others may take.

use std::rc::Rc;
use std::time::Duration;

use super::outbox::{About, Outgoing, Storing};
use super::series::{Miss, Series};
use super::settle::Finding;
use super::{Fetch, Have, Keeper, USELESS_FOR};
use crate::cache::policy::Policy;
use crate::cache::storable::Refusal;
use crate::cache::store::{Place, Token};
use crate::cache::stored::Stored;
use crate::time::Now;

/// For how long a response that has a validator is kept beyond what it may be used for without validation.
pub const KEPT_TO_VALIDATE: Duration = Duration::from_secs(86_400);

impl Keeper {
    /// For how long anything is kept at most, and so for how long it has to be known what was invalidated.
    pub(super) fn longest_kept(&self) -> Duration {
        let used_for = |policy: &Policy| policy.max_ttl.saturating_add(policy.stale_if_error);
        let longest = self.policies.iter().map(used_for).max();
        longest.unwrap_or_default().saturating_add(KEPT_TO_VALIDATE)
    }

    /// For how long a response is kept: for as long as it may be used for anything, and a little more, so that what was
    /// stored together does not go together; but never for longer than it is known what was invalidated.
    pub(super) fn kept_for(&mut self, policy: &Policy, stored: &Stored) -> Duration {
        let seconds = Duration::from_secs;
        let left = stored.lifetime_s.saturating_sub(stored.initial_age_s);
        let mut after = policy.stale_if_error.max(seconds(stored.stale_while_revalidate_s));
        after = after.max(seconds(stored.stale_if_error_s.unwrap_or_default()));
        if stored.has_validator() {
            after = after.max(KEPT_TO_VALIDATE);
        }
        let kept = seconds(left).saturating_add(after);
        let tenth = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX) / 10;
        let kept = kept.saturating_add(Duration::from_millis(self.rng.up_to(tenth)));
        kept.min(self.longest_kept())
    }

    /// Stores a response: its header alone if the body is the one that is there.
    pub(super) fn put(
        &mut self,
        now: Now,
        fetch: Fetch,
        mut stored: Stored,
        body: Rc<[u8]>,
        with_body: bool,
    ) {
        let Fetch { asking, place: asked, token, epoch, .. } = fetch;
        let Some(policy) = self.policies.get(asking.policy).cloned() else { return };
        let epoch = epoch.unwrap_or_default();
        stored.epoch = epoch;
        let kept = self.kept_for(&policy, &stored);
        let Some(header) = stored.write().filter(|_| self.outbox.is_open()) else {
            self.count(asking.policy, Series::NotStored(Refusal::TooLarge));
            self.end_lock(now, &asked, token, USELESS_FOR, false);
            return;
        };
        self.known.learn(asked.primary, &stored.vary.names());
        let place = Place::with(&asking.key, asked.primary, &stored.vary);
        let is_there = place.object == asked.object;
        let have = Have { stored: Rc::new(stored), body };
        let storing = Storing {
            place: place.clone(),
            stored: Rc::clone(&have.stored),
            header,
            body: with_body.then(|| Rc::clone(&have.body)),
            kept,
            token: token.filter(|_| is_there),
        };
        let (have, miss) = (Some(have), Miss::Stale);
        let finding = Finding { place, have, is_invalid: false, epoch, miss };
        let (finding, locked) = (Box::new(finding), token.map(|_| asked.object));
        let about = About::Put { finding, locked, policy: asking.policy };
        self.outbox.say(Outgoing::Put(Box::new(storing)), about);
        if let Some(token) = token.filter(|_| !is_there) {
            // It varies on something else than was thought when it was locked.
            self.release(&asked, token, Duration::ZERO);
        }
    }

    /// A fetch is over without anything to store: others may try, or for a time everybody asks for themselves.
    pub(super) fn end(&mut self, now: Now, fetch: Fetch, useless_for: Duration) {
        if let Some(number) = fetch.post {
            self.forget_post(number);
        }
        // If the upstream has failed, what there is may answer those who waited too.
        let looks_again = useless_for.is_zero() || fetch.have.is_some();
        self.end_lock(now, &fetch.place, fetch.token, useless_for, looks_again);
    }

    fn end_lock(
        &mut self,
        now: Now,
        place: &Place,
        token: Option<Token>,
        useless_for: Duration,
        looks_again: bool,
    ) {
        let Some(token) = token else { return };
        self.fetching.remove(&place.object);
        self.release(place, token, useless_for);
        for waiter in self.line.take_awaiting(place.object) {
            if looks_again {
                self.look_again(now, waiter);
            } else {
                self.forward_alone(now, waiter, Miss::Useless);
            }
        }
    }

    pub(super) fn release(&mut self, place: &Place, token: Token, useless_for: Duration) {
        let outgoing = Outgoing::Release { place: place.clone(), token, useless_for };
        self.outbox.say(outgoing, About::Other);
    }
}
