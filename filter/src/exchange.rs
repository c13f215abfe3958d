//! One HTTP exchange: what a request is held against, and what becomes of it.
//!
//! The order is that of what costs least: what is known here, then Redis, and without Redis the counters of this
//! process. Each step either concludes the exchange or leaves it to the next.

use std::time::Duration;

use crate::access_log::Entry;
use crate::config::OnStoreFailure;
use crate::http::{Fields, LocalReply, StoredReply};
use crate::metrics::{Metric, Outcome};
use crate::plan::{Opening, Plan};
use crate::quota::lease::Leases;
use crate::quota::refusals::Refusals;
use crate::quota::script::Grant;
use crate::quota::{Check, Decision, Standing, fields, process};
use crate::shared::SharedData;
use crate::time::{Instant, Now};

/// When those may come again whom a rule refuses for want of Redis.
const RETRY_WITHOUT_STORE: Duration = Duration::from_secs(1);

/// Concludes a request that the configuration refuses by some rules, whatever was counted; none if there are none.
/// Nothing tells such a client when to come again.
pub fn conclude_by_config(
    opening: &Opening,
    plan: &Plan,
    tally: &mut dyn Tally,
) -> Option<Conclusion> {
    let outcomes = [
        (&opening.refused_by, Outcome::DeniedByConfig),
        (&opening.would_refuse, Outcome::ShadowedByConfig),
    ];
    for (rules, outcome) in outcomes {
        for rule in rules {
            tally.count(Metric::Decisions { rule: *rule, outcome });
        }
    }
    let rule = opening.refused_by.first()?;
    let fate = Fate::Refuse(plan.refuse_by_config(&opening.refused_by));
    let entry = entry(plan, *rule, Outcome::DeniedByConfig, None, Duration::ZERO);
    Some(Conclusion { fate, entry })
}

/// A request that has met its rules and is not concluded.
#[derive(Debug)]
pub struct Exchange {
    checks: Vec<Check>,
    /// A rule that would refuse it by an override, were it enforced.
    would_refuse: Option<usize>,
    began_at: Instant,
}

/// What is concluded of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// What becomes of it.
    pub fate: Fate,
    /// What the access log tells of it ([`crate::access_log`]); nothing if no rule applied to it.
    pub entry: Option<String>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on to the upstream; the response gets these fields.
    Pass(Fields),
    /// It is refused.
    Refuse(LocalReply),
    /// It is answered, out of a store or about one.
    Serve(Box<StoredReply>),
}

/// Where an exchange leaves its counts.
pub trait Tally {
    /// Adds one to a counter.
    fn count(&mut self, metric: Metric);
}

impl Exchange {
    /// An exchange for a request that is held against `checks`, and that another rule `would_refuse`.
    #[must_use]
    pub const fn new(now: Now, checks: Vec<Check>, would_refuse: Option<usize>) -> Self {
        Self { checks, would_refuse, began_at: now.mono }
    }

    /// Concludes a request that is held against nothing, one that was paid for ahead, or one that is known to be
    /// refused.
    pub fn conclude_here(
        &self,
        now: Now,
        plan: &Plan,
        leases: &mut Leases,
        refusals: &mut Refusals,
        tally: &mut dyn Tally,
    ) -> Option<Conclusion> {
        if self.checks.is_empty() {
            return Some(self.pass(now, plan, Fields::new(), None));
        }
        if let Some(standings) = leases.pay(now.mono, &self.checks) {
            let outcomes = [Outcome::AllowedByLease; 3];
            return Some(self.conclude(
                now,
                &Decision::new(true, standings),
                outcomes,
                plan,
                tally,
            ));
        }
        let mut exceeded = Vec::new();
        for check in self.checks.iter().filter(|check| check.enforced) {
            if let Some(reset_after) = refusals.refuses(now.mono, check) {
                tally.count(decision(check, Outcome::DeniedFromMemory));
                exceeded.push((check, Standing::Exceeded { remaining: 0, reset_after }));
            }
        }
        let refuse = || self.refuse(now, plan, &exceeded, Outcome::DeniedFromMemory);
        (!exceeded.is_empty()).then(refuse)
    }

    /// What Redis has to be asked for.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// When it began.
    #[must_use]
    pub const fn began_at(&self) -> Instant {
        self.began_at
    }

    /// Concludes by what Redis has decided.
    pub fn conclude_by_redis(
        &self,
        now: Now,
        decision: &Decision,
        plan: &Plan,
        tally: &mut dyn Tally,
    ) -> Conclusion {
        let outcomes = [Outcome::DeniedByRedis, Outcome::AllowedByRedis, Outcome::ShadowedByRedis];
        self.conclude(now, decision, outcomes, plan, tally)
    }

    /// Puts in what was taken ahead on one of its checks.
    pub fn take_lease(&self, grant: &Grant, decision: &Decision, leases: &mut Leases) {
        let (check, standing) =
            (self.checks.get(grant.check), decision.standings().get(grant.check));
        if let (Some(check), Some(standing)) = (check, standing) {
            leases.put(self.began_at, check, standing, grant);
        }
    }

    /// Concludes by what this process has counted itself.
    pub fn conclude_by_process(
        &self,
        now: Now,
        plan: &Plan,
        shared: &mut dyn SharedData,
        tally: &mut dyn Tally,
    ) -> Conclusion {
        let decision = process::take(shared, &self.checks, now.unix);
        let outcomes =
            [Outcome::DeniedByProcess, Outcome::AllowedByProcess, Outcome::ShadowedByProcess];
        self.conclude(now, &decision, outcomes, plan, tally)
    }

    /// Concludes without Redis that should have decided: each rule says itself what then decides. What this process
    /// counts itself is held against its share of the limit, as one of `live` processes.
    pub fn conclude_without_store(
        mut self,
        now: Now,
        live: u64,
        plan: &Plan,
        shared: &mut dyn SharedData,
        tally: &mut dyn Tally,
    ) -> Conclusion {
        let is = |check: &Check, wanted| plan.on_store_failure(check.rule) == wanted;
        let refused = Standing::Exceeded { remaining: 0, reset_after: RETRY_WITHOUT_STORE };
        let denies = |check: &&Check| check.enforced && is(check, OnStoreFailure::Deny);
        let denied: Vec<_> =
            self.checks.iter().filter(denies).map(|check| (check, refused)).collect();
        if !denied.is_empty() {
            for (check, _) in &denied {
                tally.count(decision(check, Outcome::DeniedByProcess));
            }
            return self.refuse(now, plan, &denied, Outcome::DeniedByProcess);
        }
        let waived = self.checks.first().map(|check| check.rule);
        self.checks.retain(|check| is(check, OnStoreFailure::Local));
        if self.checks.is_empty() {
            let allowed = waived.map(|rule| (rule, Outcome::AllowedByProcess, None));
            return self.pass(now, plan, Fields::new(), allowed);
        }
        for check in &mut self.checks {
            check.policy = check.policy.shared_by(live);
        }
        self.conclude_by_process(now, plan, shared, tally)
    }

    fn conclude(
        &self,
        now: Now,
        decided: &Decision,
        [denied, allowed, shadowed]: [Outcome; 3],
        plan: &Plan,
        tally: &mut dyn Tally,
    ) -> Conclusion {
        let passes = decided.is_allowed();
        let refused = if passes { shadowed } else { denied };
        let standings = self.checks.iter().zip(decided.standings().iter().copied());
        let mut exceeded = Vec::new();
        for (check, standing) in standings.clone() {
            if standing.is_exceeded() && (passes || check.enforced) {
                tally.count(decision(check, refused));
                exceeded.push((check, standing));
            } else if passes {
                tally.count(decision(check, allowed));
            }
        }
        if !passes {
            return self.refuse(now, plan, &exceeded, denied);
        }
        let told = fields::tightest(exceeded.iter().copied()).map(|told| (told, shadowed));
        let told = told.or_else(|| Some((fields::tightest(standings.clone())?, allowed)));
        let told = told.map(|((check, standing), outcome)| {
            (check.rule, outcome, Some(fields::remaining(standing)))
        });
        self.pass(now, plan, plan.announce(&self.checks, standings), told)
    }

    /// Lets the request pass; `told` is the rule the log tells of, unless there is one that would refuse always.
    fn pass(
        &self,
        now: Now,
        plan: &Plan,
        fields: Fields,
        told: Option<(usize, Outcome, Option<u64>)>,
    ) -> Conclusion {
        let would_refuse = self.would_refuse.map(|rule| (rule, Outcome::ShadowedByConfig, None));
        let entry = would_refuse.or(told).and_then(|(rule, outcome, remaining)| {
            entry(plan, rule, outcome, remaining, self.waited(now))
        });
        Conclusion { fate: Fate::Pass(fields), entry }
    }

    fn refuse(
        &self,
        now: Now,
        plan: &Plan,
        exceeded: &[(&Check, Standing)],
        denied: Outcome,
    ) -> Conclusion {
        let entry = fields::tightest(exceeded.iter().copied()).and_then(|(check, standing)| {
            let remaining = fields::remaining(standing);
            entry(plan, check.rule, denied, Some(remaining), self.waited(now))
        });
        Conclusion { fate: Fate::Refuse(plan.refuse(&self.checks, exceeded)), entry }
    }

    /// How long it has waited for Redis: it is held for nothing else.
    #[must_use]
    pub fn waited(&self, now: Now) -> Duration {
        now.mono.saturating_since(self.began_at)
    }
}

const fn decision(check: &Check, outcome: Outcome) -> Metric {
    Metric::Decisions { rule: check.rule, outcome }
}

fn entry(
    plan: &Plan,
    rule: usize,
    outcome: Outcome,
    remaining: Option<u64>,
    waited: Duration,
) -> Option<String> {
    let rule = plan.config().rules.get(rule)?.name.as_str();
    Some(Entry { rule, words: outcome.words(), remaining, waited }.line())
}

#[cfg(test)]
mod tests;
