//! The breakers' script in a real Redis, held against the record that it is written after: whatever happens, in whatever
//! order and at whatever time, both come to the same.
//!
//! `SEED=n` repeats a history.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::arithmetic_side_effects,
    reason = "a test that meets the unexpected ends here"
)]

mod hostile;
mod same;
#[path = "../quota_script/server.rs"]
mod server;
mod subscriber;

use meliproxy::breaker::board::{Key, Op, Outgoing, Terms};
use meliproxy::breaker::policy::Policy;
use meliproxy::breaker::record::{Epoch, Event};
use meliproxy::breaker::script::{Calls, SOURCE};
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::redis::{Command, Request, ScriptId};
use meliproxy::rng::Rng;

/// What all names begin with.
const NAMESPACE: &str = "test";
const INDEX: &[u8] = b"mp:{test}:breakers";
const PROCESSES: &[u8] = b"mp:{test}:processes";

/// The script on a clock that the test sets, in microseconds.
fn script_on_made_clock() -> &'static [&'static str] {
    let parts: Vec<&str> = SOURCE.split("redis.call('TIME')").collect();
    assert_eq!(parts.len(), 2, "the script looks at the clock once");
    let made = format!("{}{{0, tonumber(redis.call('GET', 'clock'))}}{}", parts[0], parts[1]);
    let source: &'static str = Box::leak(made.into_boxed_str());
    Box::leak(Box::new([source]))
}

fn set_clock(now_us: u64) -> Request {
    Command::new(b"SET").arg(b"clock").arg_u64(now_us).into()
}

fn terms(policy: Policy) -> Terms {
    Terms { policy, is_fleet: true, is_shadow: false, forced: None, prefix: Vec::new() }
}

fn key(breaker: usize, number: u64) -> Key {
    let name = format!("mp:{{{NAMESPACE}}}:breaker:1:b{breaker}:{number}").into_bytes();
    Key { breaker, hash: KeyHash::of(&HashSeed([7; 16]), &name), name: name.into() }
}

fn calls(process: u64, terms: &[Terms]) -> Calls {
    Calls::new(ScriptId(0), NAMESPACE, process, terms)
}

fn say(calls: &Calls, rng: &mut Rng, ops: Vec<(Key, Epoch, Option<Event>)>) -> Request {
    let op = |(key, epoch, event): (Key, Epoch, Option<Event>)| Op::new(&key, epoch, event);
    calls.request(rng, &Outgoing::Ops(ops.into_iter().map(op).collect()))
}
