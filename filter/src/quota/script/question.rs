//! The question: the checks of many requests and the leases of their hot keys in one script call, and what its answer
//! means.

use std::collections::HashMap;
use std::time::Duration;

use super::QUOTA;
use crate::config::{Algorithm, Per};
use crate::key::KeyHash;
use crate::quota::lease::{self, Ahead};
use crate::quota::policy::Policy;
use crate::quota::refusals::Shortage;
use crate::quota::{Check, Decision, Standing};
use crate::redis::{Request, ScriptCall, Value};

/// Most requests in one question. With [`MOST_COUNTERS`] it bounds how long one call keeps Redis from all others.
pub const MOST_REQUESTS: usize = 64;

/// Most counters in one question, and most different costs: a byte names each of them. No request falls on more.
pub const MOST_COUNTERS: usize = 256;

/// What Redis is asked at once: some requests in their order, and the counters they fall on.
///
/// A counter that several requests fall on is asked for, written and told of once.
#[derive(Debug, Default)]
pub struct Question {
    policies: Vec<Policy>,
    /// Units, and whether who lacks them is refused.
    costs: Vec<(u64, bool)>,
    counters: Vec<Asked>,
    /// The checks of each request: places of a counter and of a cost.
    requests: Vec<Vec<(u8, u8)>>,
    leases: Vec<Lease>,
}

/// Units wanted ahead on a counter.
#[derive(Debug)]
struct Lease {
    counter: u8,
    wanted: u64,
    /// The request and the check of it that fell on the counter.
    request: usize,
    check: usize,
}

/// What Redis says to a [`Question`].
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// For each request, in their order.
    pub decisions: Vec<Decision>,
    /// The units that were taken ahead.
    pub grants: Vec<Grant>,
}

/// Units taken ahead on the counter of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which of the requests.
    pub request: usize,
    /// Which of its checks.
    pub check: usize,
    /// How many.
    pub units: u64,
    /// Time until the window ends that they were taken in; zero for a bucket.
    pub window_left: Duration,
    /// That moment by the clock of Redis, in milliseconds since 1970; 0 for a bucket.
    pub window_end_ms: u64,
}

/// A counter that is asked for.
#[derive(Debug)]
struct Asked {
    policy: u8,
    hash: KeyHash,
    enforced: bool,
    /// Whether others may hold units of it that were taken ahead.
    leased: bool,
}

impl Question {
    /// The question for the first of `requests`, as many as fit into one, and the script call that asks it. At least
    /// one fits. Of each counter those units are taken `ahead` as well.
    pub fn of<'c>(
        requests: impl IntoIterator<Item = &'c [Check]>,
        ahead: &mut dyn Ahead,
    ) -> (Self, Request) {
        let mut question = Self::default();
        let (mut names, mut places) = (Vec::new(), HashMap::new());
        for (request, checks) in requests.into_iter().take(MOST_REQUESTS).enumerate() {
            let most = question.counters.len().max(question.costs.len());
            if most.saturating_add(checks.len()) > MOST_COUNTERS {
                break;
            }
            let checks = checks.iter().enumerate().map(|(place, check)| {
                let counter = *places.entry(check.hash).or_insert_with(|| {
                    names.push(check.name.as_slice());
                    let policy = place_of(&mut question.policies, check.policy);
                    let (hash, enforced) = (check.hash, check.enforced);
                    let leased = check.lease_life.is_some();
                    place_at_end(&mut question.counters, Asked { policy, hash, enforced, leased })
                });
                let wanted = ahead.wanted(check);
                if wanted > 0 {
                    question.leases.push(Lease { counter, wanted, request, check: place });
                }
                (counter, place_of(&mut question.costs, (check.cost, check.enforced)))
            });
            let checks = checks.collect();
            question.requests.push(checks);
        }
        let call = question.call(&names, ahead.part());
        (question, call.into())
    }

    /// How many requests it asks for.
    #[must_use]
    pub const fn requests_count(&self) -> usize {
        self.requests.len()
    }

    /// What Redis decided for each request, and took ahead; `None` if its `reply` is none to this question.
    #[must_use]
    pub fn answer(&self, reply: &Value) -> Option<Answer> {
        let Value::Array(values) = reply else { return None };
        let integer = |value: &Value| {
            let Value::Integer(integer) = value else { return None };
            u64::try_from(*integer).ok()
        };
        let mut integers: Vec<u64> = values.iter().map(integer).collect::<Option<_>>()?;
        let leases = integers.split_off(integers.len().checked_sub(3 * self.leases.len())?);
        let grants: Vec<Grant> =
            self.leases.iter().zip(leases.chunks_exact(3)).filter_map(Lease::grant).collect();
        for (lease, grant) in self.leases.iter().zip(leases.chunks_exact(3)) {
            // What was taken ahead is still there for who asked.
            let remaining = integers.get_mut(2 * usize::from(lease.counter))?;
            *remaining = remaining.saturating_add(*grant.first()?);
        }
        let (counters, mut verdicts) = integers.split_at_checked(2 * self.counters.len())?;
        let mut decisions = Vec::with_capacity(self.requests.len());
        for checks in &self.requests {
            let (verdict, rest) = verdicts.split_first()?;
            // 0: refused. 1 and more: passed, with that many shadows less one that had no room.
            let shadowed_count = usize::try_from(verdict.saturating_sub(1)).ok()?;
            let (shadowed, rest) = rest.split_at_checked(shadowed_count)?;
            verdicts = rest;
            decisions.push(self.decision(counters, checks, *verdict > 0, shadowed)?);
        }
        verdicts.is_empty().then_some(Answer { decisions, grants })
    }

    /// The counters of which these decisions, which are the answer, say that they refuse somebody for a while.
    ///
    /// Redis tells of each when it has enough for the dearest of the refused requests that fall on it, or for one unit
    /// if there are none: so that is what it lacks until then.
    pub fn shortages(&self, decisions: &[Decision]) -> impl Iterator<Item = Shortage> {
        let mut told: Vec<Option<(u64, Standing)>> = vec![None; self.counters.len()];
        for (checks, decision) in self.requests.iter().zip(decisions) {
            for ((counter, cost), standing) in checks.iter().zip(decision.standings()) {
                let cost = self.costs.get(usize::from(*cost)).map_or(1, |(units, _)| *units);
                let need = if decision.is_allowed() { 1 } else { cost };
                if let Some(told) = told.get_mut(usize::from(*counter)) {
                    let (most, _) = told.get_or_insert((need, *standing));
                    *most = need.max(*most);
                }
            }
        }
        let lacking = |(counter, told): (&Asked, Option<(u64, Standing)>)| {
            let (cost, standing) = told.filter(|_| counter.enforced)?;
            let lasts = standing.reset_after();
            // What others have taken ahead may come back.
            let known_for = if counter.leased { lasts.min(lease::LIFE) } else { lasts };
            let shortage = Shortage { key: counter.hash, cost, lasts, known_for };
            (standing.remaining() < cost).then_some(shortage)
        };
        self.counters.iter().zip(told).filter_map(lacking)
    }

    fn decision(
        &self,
        counters: &[u64],
        checks: &[(u8, u8)],
        is_allowed: bool,
        shadowed: &[u64],
    ) -> Option<Decision> {
        let (mut standings, mut refuses) = (Vec::with_capacity(checks.len()), false);
        for (index, (counter, cost)) in checks.iter().enumerate() {
            let at = 2 * usize::from(*counter);
            let remaining = *counters.get(at)?;
            let reset_after = Duration::from_millis(*counters.get(at + 1)?);
            let (cost, enforced) = *self.costs.get(usize::from(*cost))?;
            let is_exceeded =
                if is_allowed { shadowed.contains(&(index as u64)) } else { remaining < cost };
            refuses |= is_exceeded && enforced;
            standings.push(if is_exceeded {
                Standing::Exceeded { remaining, reset_after }
            } else {
                Standing::Within { remaining, reset_after }
            });
        }
        (refuses != is_allowed).then(|| Decision::new(is_allowed, standings))
    }

    fn call(&self, names: &[&[u8]], part: u64) -> ScriptCall {
        let mut call = ScriptCall::new(QUOTA, names.len());
        for name in names {
            call.key(name);
        }
        let policies: Vec<u8> = self.counters.iter().map(|counter| counter.policy).collect();
        call.arg(&policies);
        let mut requests = Vec::new();
        for checks in &self.requests {
            // A request has 1 to 256 of them, a byte holds 0 to 255.
            requests.push(byte(checks.len().saturating_sub(1)));
            requests.extend(checks.iter().flat_map(|(counter, cost)| [*counter, *cost]));
        }
        call.arg(&requests);
        call.arg_u64(self.policies.len() as u64);
        call.arg_u64(self.leases.len() as u64);
        for policy in &self.policies {
            let (algorithm, burst) = match policy.algorithm {
                Algorithm::FixedWindow => (0, 0),
                Algorithm::SlidingWindow => (1, 0),
                Algorithm::TokenBucket { burst } => (2, burst.get()),
            };
            let window_ms = match policy.per {
                Per::Span(span) => u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
                Per::Month => 0,
            };
            for number in [algorithm, policy.limit, window_ms, burst] {
                call.arg_u64(number);
            }
        }
        for lease in &self.leases {
            for number in [u64::from(lease.counter), lease.wanted, part] {
                call.arg_u64(number);
            }
        }
        for (units, enforced) in &self.costs {
            let sign = if *enforced { "" } else { "-" };
            call.arg(format!("{sign}{units}").as_bytes());
        }
        call
    }
}

impl Lease {
    fn grant((lease, answered): (&Self, &[u64])) -> Option<Grant> {
        let [units, left_ms, window_end_ms] = *answered else { return None };
        let window_left = Duration::from_millis(left_ms);
        let (request, check) = (lease.request, lease.check);
        Some(Grant { request, check, units, window_left, window_end_ms })
    }
}

/// The place of `item` among the `known` ones, where it is put at the end if it is new.
fn place_of<T: PartialEq>(known: &mut Vec<T>, item: T) -> u8 {
    match known.iter().position(|other| *other == item) {
        Some(place) => byte(place),
        None => place_at_end(known, item),
    }
}

fn place_at_end<T>(known: &mut Vec<T>, item: T) -> u8 {
    known.push(item);
    byte(known.len() - 1)
}

/// A place below [`MOST_COUNTERS`].
fn byte(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyHash;
    use crate::quota::lease::Exact;

    const RESET_AFTER: Duration = Duration::from_millis(500);

    fn check(name: usize, limit: u64) -> Check {
        let policy = Policy { algorithm: Algorithm::FixedWindow, limit, per: Per::Month };
        let hash = KeyHash::from_parts(name as u64, 0);
        Check {
            rule: 0,
            policy,
            cost: 1,
            name: name.to_string().into_bytes(),
            hash,
            enforced: true,
            lease_life: None,
        }
    }

    /// The question for requests that fall on the counters named.
    fn question(limit: u64, requests: &[&[usize]]) -> Question {
        let checks = |names: &&[usize]| names.iter().map(|name| check(*name, limit)).collect();
        let requests: Vec<Vec<Check>> = requests.iter().map(checks).collect();
        Question::of(requests.iter().map(Vec::as_slice), &mut Exact).0
    }

    fn integers(values: &[i64]) -> Value {
        Value::Array(values.iter().map(|value| Value::Integer(*value)).collect())
    }

    const fn within(remaining: u64) -> Standing {
        Standing::Within { remaining, reset_after: RESET_AFTER }
    }

    const EXCEEDED: Standing = Standing::Exceeded { remaining: 0, reset_after: RESET_AFTER };

    fn standings(question: &Question, answer: &[i64]) -> Option<Vec<Vec<Standing>>> {
        let answer = question.answer(&integers(answer))?;
        Some(answer.decisions.iter().map(|decision| decision.standings().to_vec()).collect())
    }

    #[test]
    fn the_last_place_passes_and_the_next_request_does_not() {
        let one = question(10, &[&[1]]);
        assert_eq!(standings(&one, &[1, 500, 1]), Some(vec![vec![within(1)]]));
        assert_eq!(standings(&one, &[0, 500, 1]), Some(vec![vec![within(0)]]));
        assert_eq!(standings(&one, &[0, 500, 0]), Some(vec![vec![EXCEEDED]]));
        let two = question(10, &[&[1], &[1]]);
        assert_eq!(standings(&two, &[0, 500, 1, 0]), Some(vec![vec![within(0)], vec![EXCEEDED]]));
    }

    #[test]
    fn a_counter_beside_a_full_one_has_what_is_left_of_it() {
        let expected = vec![vec![within(6), EXCEEDED]];
        assert_eq!(standings(&question(10, &[&[1, 2]]), &[6, 500, 0, 500, 0]), Some(expected));
    }

    #[test]
    fn what_costs_more_than_is_left_is_exceeded() {
        let mut dear = check(1, 10);
        dear.cost = 5;
        let (question, _) = Question::of([[check(1, 10)].as_slice(), &[dear]], &mut Exact);
        let expected = Standing::Exceeded { remaining: 4, reset_after: RESET_AFTER };
        let answer = [4, 500, 1, 0];
        assert_eq!(standings(&question, &answer), Some(vec![vec![within(4)], vec![expected]]));
    }

    #[test]
    fn any_other_shape_is_no_decision() {
        let question = question(10, &[&[1], &[2]]);
        assert!(standings(&question, &[1, 500, 1, 500, 1, 1]).is_some());
        assert_eq!(standings(&question, &[1, 500, 1, 500, 1]), None);
        assert_eq!(standings(&question, &[1, 500, 1, 500, 1, 1, 1]), None);
        assert_eq!(standings(&question, &[1, 500, -1, 500, 1, 1]), None);
        // Refused without any limit that is reached.
        assert_eq!(standings(&question, &[1, 500, 1, 500, 1, 0]), None);
        assert_eq!(question.answer(&Value::Null), None);
        assert_eq!(question.answer(&Value::Error(b"READONLY".to_vec())), None);
    }

    #[test]
    fn what_is_taken_ahead_is_told_as_remaining_to_who_asked() {
        /// Wants five units ahead on the second counter.
        struct OnSecond;
        impl Ahead for OnSecond {
            fn wanted(&mut self, check: &Check) -> u64 {
                if check.name == b"2" { 5 } else { 0 }
            }
            fn part(&self) -> u64 {
                4
            }
        }
        let requests = [[check(1, 10)], [check(2, 50)]];
        let (question, _) = Question::of(requests.iter().map(<[_; 1]>::as_slice), &mut OnSecond);
        let reply = integers(&[9, 500, 45, 500, 1, 1, 4, 500, 1_800_000_000_000]);
        let answer = question.answer(&reply).unwrap();
        let told = answer.decisions.iter().map(|decision| decision.standings().to_vec());
        assert_eq!(told.collect::<Vec<_>>(), [vec![within(9)], vec![within(49)]]);
        let grant = Grant {
            request: 1,
            check: 0,
            units: 4,
            window_left: RESET_AFTER,
            window_end_ms: 1_800_000_000_000,
        };
        assert_eq!(answer.grants, [grant]);
        assert_eq!(question.answer(&integers(&[9, 500, 45, 500, 1, 1])), None);
    }

    #[test]
    fn a_question_holds_as_many_requests_as_its_bounds_allow() {
        let count = |checks_each: usize, requests: usize, shared: bool| {
            let name = |request, n| if shared { n } else { request * checks_each + n };
            let checks = |request| (0..checks_each).map(|n| check(name(request, n), 1)).collect();
            let requests: Vec<Vec<Check>> = (0..requests).map(checks).collect();
            Question::of(requests.iter().map(Vec::as_slice), &mut Exact).0.requests_count()
        };
        assert_eq!(count(1, 100, false), MOST_REQUESTS);
        assert_eq!(count(1, 100, true), MOST_REQUESTS);
        assert_eq!(count(16, 100, false), 16);
        assert_eq!(count(17, 100, false), 15);
        assert_eq!(count(256, 2, false), 1);
        assert_eq!(count(3, 2, false), 2);
    }
}
