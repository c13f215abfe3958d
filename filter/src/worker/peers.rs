//! The processes that count together: how many there are, for the time in which each must count for itself.
//!
//! Every worker renews the lease of its process in one sorted set in Redis, by the clock of Redis, and learns how many
//! leases there are. The last number it has learnt is what counts while Redis is lost.

use std::time::Duration;

use crate::redis::{Command, Request, Ticket, Value};
use crate::time::Instant;

/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long a process counts after its last renewal: two may be lost.
const LEASE: Duration = Duration::from_secs(3);

/// Asks for the clock of Redis, by which leases go.
const CLOCK: Ticket = Ticket(1);
/// Renews the lease.
const RENEWAL: Ticket = Ticket(2);
/// Counts the leases.
const COUNT: Ticket = Ticket(3);

/// What a worker knows of the other processes.
#[derive(Debug)]
pub(super) struct Peers {
    key: Vec<u8>,
    process: u64,
    live: u64,
    asked_at: Option<Instant>,
}

impl Peers {
    /// Of `process`, which counts under `namespace` with others.
    pub(super) fn new(namespace: &str, process: u64) -> Self {
        let key = format!("mp:{{{namespace}}}:processes").into_bytes();
        Self { key, process, live: 1, asked_at: None }
    }

    /// How many processes there are, this one included, as far as is known.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    /// The lease is to be renewed at the next occasion.
    pub(super) const fn on_ready(&mut self) {
        self.asked_at = None;
    }

    /// What to ask Redis now, if it is time to.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Ticket, Request)> {
        if self.asked_at.is_some_and(|at| now.saturating_since(at) < RENEW_EVERY) {
            return None;
        }
        self.asked_at = Some(now);
        Some((CLOCK, Command::new(b"TIME").into()))
    }

    /// Redis has answered; returns what to ask it next. What is no answer is left for the next time.
    pub(super) fn on_answer(&mut self, ticket: Ticket, answer: &Value) -> Vec<(Ticket, Request)> {
        match (ticket, answer) {
            (CLOCK, Value::Array(parts)) => self.renew(parts).unwrap_or_default(),
            (COUNT, Value::Integer(count)) => {
                self.live = u64::try_from(*count).unwrap_or_default().max(1);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn renew(&self, time: &[Value]) -> Option<Vec<(Ticket, Request)>> {
        let [seconds, micros] = time else { return None };
        let number = |value: &Value| -> Option<u64> {
            std::str::from_utf8(value.as_bytes()?).ok()?.parse().ok()
        };
        let now_ms = number(seconds)?.saturating_mul(1000).saturating_add(number(micros)? / 1000);
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let command = |name: &[u8]| Command::new(name).arg(&self.key);
        let process = format!("{:016x}", self.process);
        let over = command(b"ZREMRANGEBYSCORE").arg(b"-inf").arg_u64(now_ms);
        let ends_at_ms = now_ms.saturating_add(lease_ms);
        let renewal = command(b"ZADD").arg_u64(ends_at_ms).arg(process.as_bytes());
        Some(vec![
            (RENEWAL, over.into()),
            (RENEWAL, renewal.into()),
            (RENEWAL, command(b"PEXPIRE").arg_u64(lease_ms).into()),
            (COUNT, command(b"ZCARD").into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: &str, micros: &str) -> Value {
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        Value::Array(vec![bulk(seconds), bulk(micros)])
    }

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    #[test]
    fn the_lease_is_renewed_every_second_and_with_each_connection() {
        let mut peers = Peers::new("meli", 1);
        assert_eq!(peers.due(at(5)).unwrap().1, Command::new(b"TIME").into());
        assert!(peers.due(at(5)).is_none());
        assert!(peers.due(at(6)).is_some());
        peers.on_ready();
        assert!(peers.due(at(6)).is_some());
    }

    #[test]
    fn leases_end_by_the_clock_of_redis() {
        let mut peers = Peers::new("meli", 0xab);
        let asked: Vec<_> =
            peers.on_answer(CLOCK, &time("1800000000", "5999")).into_iter().collect();
        let command = |name: &[u8]| Command::new(name).arg(b"mp:{meli}:processes");
        let expected = [
            (RENEWAL, command(b"ZREMRANGEBYSCORE").arg(b"-inf").arg(b"1800000000005").into()),
            (RENEWAL, command(b"ZADD").arg(b"1800000003005").arg(b"00000000000000ab").into()),
            (RENEWAL, command(b"PEXPIRE").arg(b"3000").into()),
            (COUNT, command(b"ZCARD").into()),
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn the_last_known_number_counts_and_is_never_zero() {
        let mut peers = Peers::new("meli", 1);
        assert_eq!(peers.live(), 1);
        for (answer, live) in [
            (Value::Integer(3), 3),
            (Value::Error(b"LOADING".to_vec()), 3),
            (Value::Null, 3),
            (Value::Integer(0), 1),
            (Value::Integer(-1), 1),
        ] {
            assert!(peers.on_answer(COUNT, &answer).is_empty());
            assert_eq!(peers.live(), live, "{answer:?}");
        }
    }

    #[test]
    fn a_clock_that_is_none_renews_nothing() {
        let mut peers = Peers::new("meli", 1);
        for answer in [time("now", "0"), Value::Array(Vec::new()), Value::Error(b"NOPERM".to_vec())]
        {
            assert!(peers.on_answer(CLOCK, &answer).is_empty(), "{answer:?}");
        }
    }
}
