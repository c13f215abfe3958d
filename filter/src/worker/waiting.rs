//! The exchanges that wait for Redis: some have been asked about, the rest stand in line for the next question.
//!
//! One question is on its way at a time, and all that arrive meanwhile go into the next one: the clock is the answer of
//! Redis, as it is the acknowledgement in Nagle's algorithm (RFC 896). Who comes to an idle worker is asked about at
//! once; under load one message and one script call carry many requests.

use std::collections::VecDeque;

use slab::Slab;

use super::effect::{ContextId, Place};
use crate::breaker::board::Key;
use crate::cache::wanted::Wanted;
use crate::exchange::Exchange;
use crate::metrics::Failure;
use crate::quota::lease::Ahead;
use crate::quota::script::{MOST_REQUESTS, Question};
use crate::redis::Request;
use crate::time::Instant;

/// Most exchanges that wait at once; further ones are decided without Redis. Several times what one worker of Envoy
/// takes in within a command's deadline.
pub const MOST_WAITING: usize = 4096;

/// An exchange, and the request that waits for it.
#[derive(Debug)]
pub(super) struct Waiter {
    /// None once its client has gone, but what was asked for counts.
    pub(super) context: Option<ContextId>,
    pub(super) exchange: Exchange,
    /// What it meets after its rules.
    pub(super) way: Way,
}

/// What a request meets on its way to the upstream, after its rules.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The breakers that it falls under.
    pub(super) breakers: Vec<Key>,
    /// What it wants of the cache.
    pub(super) cache: Option<Wanted>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Slab<Waiter>,
    line: VecDeque<usize>,
    /// The question on its way, and who waits for its answer.
    asked: Option<(Question, Vec<usize>)>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Why nobody else may wait, if so.
    pub(super) fn refuses(&self) -> Option<Failure> {
        (self.waiters.len() >= MOST_WAITING).then_some(Failure::Overloaded)
    }

    /// Puts an exchange at the end of the line.
    pub(super) fn join(&mut self, context: ContextId, exchange: Exchange, way: Way) -> Place {
        let place = self.waiters.insert(Waiter { context: Some(context), exchange, way });
        self.line.push_back(place);
        Place(place)
    }

    /// Whoever waited at `place` has gone.
    pub(super) fn leave(&mut self, context: ContextId, place: Place) {
        // By now the place may be another's.
        if let Some(waiter) =
            self.waiters.get_mut(place.0).filter(|waiter| waiter.context == Some(context))
        {
            waiter.context = None;
        }
    }

    /// What to send next, if it is time for a question, and since when its oldest exchange has waited. It takes units
    /// `ahead` as well.
    pub(super) fn next_question(&mut self, ahead: &mut dyn Ahead) -> Option<(Request, Instant)> {
        if self.asked.is_some() {
            return None;
        }
        self.forget_the_gone();
        let head = self
            .line
            .iter()
            .take(MOST_REQUESTS)
            .filter_map(|place| Some(&self.waiters.get(*place)?.exchange));
        let since = head.clone().next()?.began_at();
        let (question, request) = Question::of(head.map(Exchange::checks), ahead);
        let members = self.line.drain(..question.requests_count()).collect();
        self.asked = Some((question, members));
        Some((request, since))
    }

    /// The question that was on its way, and who waits for its answer.
    pub(super) fn take(&mut self) -> Option<(Question, Vec<Waiter>)> {
        let (question, members) = self.asked.take()?;
        let waiters = members.into_iter().filter_map(|place| self.waiters.try_remove(place));
        Some((question, waiters.collect()))
    }

    /// Nothing is asked for those who have gone, so that nothing is counted for them.
    fn forget_the_gone(&mut self) {
        let waiters = &mut self.waiters;
        self.line.retain(|place| {
            let stays = waiters.get(*place).is_some_and(|waiter| waiter.context.is_some());
            if !stays {
                waiters.try_remove(*place);
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::lease::Exact;
    use crate::time::{Now, UnixTime};

    fn exchange(began_at: u64) -> Exchange {
        let now = Now { mono: Instant::from_micros(began_at), unix: UnixTime::from_micros(0) };
        Exchange::new(now, Vec::new(), None)
    }

    fn contexts(waiters: &[Waiter]) -> Vec<Option<u32>> {
        waiters.iter().map(|waiter| waiter.context.map(|context| context.0)).collect()
    }

    #[test]
    fn what_comes_while_a_question_is_on_its_way_goes_into_the_next() {
        let mut waiting = Waiting::default();
        assert!(waiting.next_question(&mut Exact).is_none());
        waiting.join(ContextId(1), exchange(1), Way::default());
        assert!(
            waiting
                .next_question(&mut Exact)
                .is_some_and(|(_, since)| since == Instant::from_micros(1))
        );
        waiting.join(ContextId(2), exchange(2), Way::default());
        waiting.join(ContextId(3), exchange(3), Way::default());
        assert!(waiting.next_question(&mut Exact).is_none());
        let (question, waiters) = waiting.take().unwrap();
        assert_eq!((question.requests_count(), contexts(&waiters)), (1, vec![Some(1)]));
        assert!(
            waiting
                .next_question(&mut Exact)
                .is_some_and(|(_, since)| since == Instant::from_micros(2))
        );
        let (question, waiters) = waiting.take().unwrap();
        assert_eq!((question.requests_count(), contexts(&waiters)), (2, vec![Some(2), Some(3)]));
        assert!(waiting.take().is_none());
        assert_eq!(waiting.len(), 0);
    }

    #[test]
    fn who_has_gone_is_not_asked_about_but_keeps_the_place_if_already_asked() {
        let mut waiting = Waiting::default();
        let first = waiting.join(ContextId(1), exchange(1), Way::default());
        assert!(waiting.next_question(&mut Exact).is_some());
        let second = waiting.join(ContextId(2), exchange(2), Way::default());
        waiting.join(ContextId(3), exchange(3), Way::default());
        waiting.leave(ContextId(1), first);
        waiting.leave(ContextId(2), second);
        assert_eq!(contexts(&waiting.take().unwrap().1), [None]);
        assert!(waiting.next_question(&mut Exact).is_some());
        assert_eq!(contexts(&waiting.take().unwrap().1), [Some(3)]);
        assert_eq!(waiting.len(), 0);
        // The place is another's by now.
        let again = waiting.join(ContextId(4), exchange(4), Way::default());
        waiting.leave(ContextId(1), again);
        assert!(waiting.next_question(&mut Exact).is_some());
        assert_eq!(contexts(&waiting.take().unwrap().1), [Some(4)]);
    }

    #[test]
    fn a_line_that_is_too_long_takes_nobody_else() {
        let mut waiting = Waiting::default();
        for _ in 0..MOST_WAITING {
            assert_eq!(waiting.refuses(), None);
            waiting.join(ContextId(1), exchange(0), Way::default());
        }
        assert_eq!(waiting.refuses(), Some(Failure::Overloaded));
        assert!(waiting.next_question(&mut Exact).is_some());
        assert_eq!(waiting.take().unwrap().1.len(), MOST_REQUESTS);
        assert_eq!(waiting.refuses(), None);
    }
}
