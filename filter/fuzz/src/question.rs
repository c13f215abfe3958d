//! Questions: whatever Redis answers, it is a decision for each request that was asked for, or none at all.

use std::collections::HashSet;
use std::time::Duration;

use meliproxy::config::{Algorithm, Per};
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::quota::Check;
use meliproxy::quota::lease::Ahead;
use meliproxy::quota::policy::Policy;
use meliproxy::quota::script::{Answer, MOST_COUNTERS, MOST_REQUESTS, Question};
use meliproxy::redis::{Decoder, Value};

use crate::input::Input;

/// Requests, some more than fit into a question, and an answer: nearly one to this question, or any RESP.
pub fn question(data: &[u8]) {
    let mut input = Input::new(data);
    let is_large = input.up_to(7) == 0;
    let (requests, counters) = if is_large { (100, 255) } else { (4, 5) };
    let requests: Vec<Vec<Check>> = (0..=input.up_to(requests))
        .map(|_| {
            let checks = 1 + input.up_to(4);
            (0..checks).map(|_| check(&mut input, counters)).collect()
        })
        .collect();
    let mut ahead = OnSome { of: input.up_to(3), wanted: 0 };
    let (question, _) = Question::of(requests.iter().map(Vec::as_slice), &mut ahead);
    let asked = question.requests_count();
    assert!(asked >= 1 && asked <= MOST_REQUESTS.min(requests.len()));
    let requests = &requests[..asked];
    let names: HashSet<&[u8]> =
        requests.iter().flatten().map(|check| check.name.as_slice()).collect();
    assert!(names.len() <= MOST_COUNTERS);

    let answer = if input.up_to(3) == 0 {
        let mut decoder = Decoder::default();
        decoder.feed(input.rest());
        decoder.poll_value().ok().flatten().unwrap_or(Value::Null)
    } else {
        nearly_an_answer(names.len(), asked, ahead.wanted, &mut input)
    };
    let Some(Answer { decisions, grants }) = question.answer(&answer) else { return };
    assert_eq!(grants.len(), ahead.wanted);
    for grant in grants {
        assert!(requests[grant.request].get(grant.check).is_some(), "{grant:?}");
    }
    assert_eq!(decisions.len(), asked);
    for (decision, checks) in decisions.iter().zip(requests) {
        assert_eq!(decision.standings().len(), checks.len());
        let mut standings = decision.standings().iter().zip(checks);
        let refuses = standings.any(|(standing, check)| check.enforced && standing.is_exceeded());
        assert_eq!(decision.is_allowed(), !refuses, "{decision:?} of {checks:?}");
    }
}

/// Wants a unit ahead on the counters whose names leave nothing when divided by one more than this.
struct OnSome {
    of: u8,
    wanted: usize,
}

impl Ahead for OnSome {
    fn wanted(&mut self, check: &Check) -> u64 {
        let wants = check.name[0].is_multiple_of(self.of + 1) && self.of > 0;
        self.wanted += usize::from(wants);
        u64::from(wants)
    }

    fn part(&self) -> u64 {
        1
    }
}

fn check(input: &mut Input<'_>, counters: u8) -> Check {
    let name = vec![input.up_to(counters)];
    let per = Per::Span(Duration::from_secs(u64::from(name[0]) + 1));
    let policy = Policy { algorithm: Algorithm::FixedWindow, limit: 10, per };
    let hash = KeyHash::of(&HashSeed([7; 16]), &name);
    let terms = input.byte();
    Check {
        rule: 0,
        policy,
        cost: u64::from(terms >> 1),
        name,
        hash,
        enforced: terms & 1 == 0,
        lease_life: None,
    }
}

/// What the script gives back: of each counter what is left and for how long, of each request whether it passed and
/// which shadows had no room, of each lease what was taken, for how long and until when.
fn nearly_an_answer(
    counters: usize,
    requests: usize,
    leases: usize,
    input: &mut Input<'_>,
) -> Value {
    let mut integers = Vec::new();
    let some = |input: &mut Input<'_>| input.any_number().cast_signed();
    for _ in 0..counters {
        integers.extend([some(input), i64::from(input.byte())]);
    }
    for _ in 0..requests {
        let verdict = i64::from(input.up_to(4));
        integers.push(if verdict == 4 { some(input) } else { verdict });
        integers.extend((1..verdict).map(|_| i64::from(input.up_to(6))));
    }
    for _ in 0..leases {
        integers.extend([some(input), some(input), some(input)]);
    }
    integers.truncate(integers.len() - usize::from(input.up_to(9) == 9));
    Value::Array(integers.into_iter().map(Value::Integer).collect())
}
