//! What Redis is asked to do about breakers, and what it answers.

use std::fmt::Write as _;

use super::board::{Expected, MOST_KEYS, Op, Outgoing, Said, Terms};
use super::evidence::{self, Report};
use super::policy::{Policy, ROLLS};
use super::record::{Event, Outcome};
use super::told::Told;
use crate::redis::{Command, Request, ScriptCall, ScriptId, Value};
use crate::rng::Rng;

/// The script.
pub const SOURCE: &str = include_str!("lua/breaker.lua");

/// The largest number of a report: sums of them stay exact in the script, which counts in floating point.
const MOST: u64 = 1_000_000_000;

/// The channel on which changes are told: of the same name as the index.
#[must_use]
pub fn channel(namespace: &str) -> String {
    format!("mp:{{{namespace}}}:breakers")
}

/// Writes calls of the script.
#[derive(Debug)]
pub struct Calls {
    script: ScriptId,
    /// Name of the set of all breakers that are not closed, and of the channel.
    index: Vec<u8>,
    /// Name of the sorted set of processes.
    processes: Vec<u8>,
    process: String,
    /// Of each breaker of the configuration.
    policies: Vec<String>,
}

impl Calls {
    /// Of `process`, which shares these breakers under `namespace`; the client knows the script as `script`.
    #[must_use]
    pub fn new(script: ScriptId, namespace: &str, process: u64, breakers: &[Terms]) -> Self {
        Self {
            script,
            index: channel(namespace).into_bytes(),
            processes: format!("mp:{{{namespace}}}:processes").into_bytes(),
            process: format!("{process:016x}"),
            policies: breakers.iter().map(|terms| policy(&terms.policy)).collect(),
        }
    }

    /// What says `outgoing` to Redis.
    pub fn request(&self, rng: &mut Rng, outgoing: &Outgoing) -> Request {
        match outgoing {
            Outgoing::Index => Command::new(b"SMEMBERS").arg(&self.index).into(),
            Outgoing::Ops(ops) => self.call(rng.up_to(ROLLS), ops).into(),
        }
    }

    fn call(&self, roll: u64, ops: &[Op]) -> ScriptCall {
        let mut call = ScriptCall::new(self.script, ops.len().saturating_add(2));
        call.key(&self.index);
        call.key(&self.processes);
        let mut breakers = Vec::new();
        for op in ops {
            call.key(&op.name);
            if !breakers.contains(&op.breaker) {
                breakers.push(op.breaker);
            }
        }
        call.arg(&self.index);
        call.arg(self.process.as_bytes());
        call.arg_u64(roll);
        call.arg_u64(breakers.len() as u64);
        for breaker in &breakers {
            call.arg(self.policies.get(*breaker).map_or(&[][..], String::as_bytes));
        }
        for op in ops {
            let place = breakers.iter().position(|breaker| *breaker == op.breaker).unwrap_or(0);
            call.arg(write(place, op).as_bytes());
        }
        call
    }
}

fn policy(policy: &Policy) -> String {
    let lease_ms = u64::try_from(policy.lease().as_millis()).unwrap_or(u64::MAX);
    let numbers = [
        policy.consecutive_failures,
        policy.failure_percent,
        policy.slow_percent,
        policy.window_ms,
        evidence::slot_ms(policy),
        policy.minimum_calls,
        policy.open_for_ms,
        policy.max_open_for_ms,
        policy.probes,
        policy.close_after,
        lease_ms,
    ];
    numbers.map(|number| number.to_string()).join(" ")
}

/// The words of an op, with its policy at that place.
fn write(policy: usize, op: &Op) -> String {
    let epoch = op.epoch.0;
    match op.event {
        Some(Event::Report(report)) => {
            let mut text = format!("{policy} report {epoch}");
            let Report { calls, failures, answered, slow, streak, streak_answered, .. } = report;
            let counts = [calls, failures, answered, slow, streak, streak_answered];
            let succeeded = u64::from(report.succeeded);
            for number in counts.into_iter().chain([succeeded, report.retry_after_ms]) {
                // Into a text there is nothing that could fail.
                let _ = write!(text, " {}", number.min(MOST));
            }
            text
        }
        Some(Event::Ask { token, lapsed }) => {
            let lapsed = lapsed.map_or_else(|| "-".to_owned(), |lapsed| lapsed.word());
            format!("{policy} ask {epoch} {} {lapsed}", token.word())
        }
        Some(Event::Result { token, succeeded, retry_after_ms }) => {
            let result = match succeeded {
                Some(true) => '+',
                Some(false) => '-',
                None => '0',
            };
            let wait = retry_after_ms.min(MOST);
            format!("{policy} result {epoch} {} {result} {wait}", token.word())
        }
        Some(Event::Recovered) => format!("{policy} recovered {epoch}"),
        // The others are of processes alone.
        Some(Event::TakeOver { .. } | Event::GiveWay) | None => format!("{policy} look {epoch}"),
    }
}

/// What an answer says; nothing if it is none to what was said.
#[must_use]
pub fn said(expected: Expected, answer: &Value) -> Said {
    let (Value::Array(values) | Value::Set(values)) = answer else { return Said::Nothing };
    match expected {
        Expected::Index => {
            let names = values.iter().take(MOST_KEYS).filter_map(Value::as_bytes);
            Said::Index(names.map(<[u8]>::to_vec).collect())
        }
        Expected::Ops(count) if values.len() == count => {
            Said::Ops(values.iter().map(|value| read(value.as_bytes()?)).collect())
        }
        Expected::Ops(_) => Said::Nothing,
    }
}

/// The outcome of an op, and how its breaker stands.
fn read(line: &[u8]) -> Option<(Outcome, Told)> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    let outcome = match line.get(..end)? {
        b"noted" => Outcome::Noted,
        b"ignored" => Outcome::Ignored,
        b"unsettled" => Outcome::Unsettled,
        b"granted" => Outcome::Granted,
        b"refused" => Outcome::Refused,
        b"changed" => Outcome::Changed,
        _ => return None,
    };
    Some((outcome, Told::parse(line.get(end.saturating_add(1)..)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::board::Key;
    use crate::breaker::record::{Epoch, Token};
    use crate::breaker::told::Standing;
    use crate::key::{HashSeed, KeyHash};

    fn words(event: Option<Event>) -> String {
        let name = b"b:key".as_slice();
        let key =
            Key { breaker: 0, hash: KeyHash::of(&HashSeed([7; 16]), name), name: name.into() };
        write(3, &Op::new(&key, Epoch(9), event))
    }

    #[test]
    fn every_event_of_the_fleet_has_its_words() {
        let report = Report { calls: 7, failures: 2, slow: u64::MAX, ..Report::default() };
        let result = |succeeded| Event::Result { token: Token(1), succeeded, retry_after_ms: 5 };
        let (token, lapsed) = (Token(1), Some(Token(255)));
        for (event, expected) in [
            (None, "3 look 9"),
            (Some(Event::Report(report)), "3 report 9 7 2 0 1000000000 0 0 0 0"),
            (Some(Event::Ask { token, lapsed: None }), "3 ask 9 0000000000000001 -"),
            (Some(Event::Ask { token, lapsed }), "3 ask 9 0000000000000001 00000000000000ff"),
            (Some(result(Some(true))), "3 result 9 0000000000000001 + 5"),
            (Some(result(Some(false))), "3 result 9 0000000000000001 - 5"),
            (Some(result(None)), "3 result 9 0000000000000001 0 5"),
            (Some(Event::Recovered), "3 recovered 9"),
            (Some(Event::GiveWay), "3 look 9"),
        ] {
            assert_eq!(words(event), expected);
        }
    }

    #[test]
    fn an_answer_has_one_line_for_each_op() {
        let line = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let answer = Value::Array(vec![line("granted 9 open - 5 0 0 0 0 "), line("nonsense")]);
        let Said::Ops(said) = said(Expected::Ops(2), &answer) else { panic!("no answer") };
        let (outcome, told) = said[0].clone().unwrap();
        assert_eq!((outcome, told.standing), (Outcome::Granted, Standing::Open { wait_ms: 5 }));
        assert_eq!(said[1], None);
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        let two = Value::Array(vec![Value::Null, Value::Null]);
        for answer in [Value::Null, Value::Integer(2), Value::Array(Vec::new()), two] {
            assert_eq!(said(Expected::Ops(1), &answer), Said::Nothing, "{answer:?}");
        }
    }

    #[test]
    fn an_index_is_names_and_has_a_bound() {
        let names = vec![Value::Bulk(b"a".to_vec()); MOST_KEYS + 1];
        let Said::Index(names) = said(Expected::Index, &Value::Set(names)) else {
            panic!("no index")
        };
        assert_eq!(names.len(), MOST_KEYS);
        let others = Value::Array(vec![Value::Null, Value::Bulk(b"b".to_vec())]);
        assert_eq!(said(Expected::Index, &others), Said::Index(vec![b"b".to_vec()]));
    }
}
