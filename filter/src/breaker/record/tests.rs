//! Every pair of state and event against the table of [`Record::on_event`], and each condition at its boundary.

use super::*;
use crate::breaker::evidence::{SETTLE_MS, slot_ms};
use crate::breaker::policy::{PLAIN, ROLLS};

const ME: u64 = 1;
const OTHER: u64 = 2;
/// Some moment, in milliseconds since 1970.
const START_MS: u64 = 1_800_000_000_000;

fn at(ms: u64) -> Context {
    Context { now_us: (START_MS + ms) * 1000, process: ME, live: 1, roll: 0 }
}

/// One of several processes.
fn of(process: u64, ms: u64) -> Context {
    Context { process, live: 3, ..at(ms) }
}

fn failures(count: u64, answered: bool) -> Event {
    let mut report = Report::default();
    (0..count).for_each(|_| report.failure(answered, false, 0));
    Event::Report(report)
}

fn successes(count: u64) -> Event {
    let mut report = Report::default();
    (0..count).for_each(|_| report.success(false, true));
    Event::Report(report)
}

fn slow(slow: u64, calls: u64) -> Event {
    let mut report = Report::default();
    (0..calls).for_each(|number| report.success(number < slow, true));
    Event::Report(report)
}

fn ask(token: u64) -> Event {
    Event::Ask { token: Token(token), lapsed: None }
}

fn result(token: u64, succeeded: Option<bool>) -> Event {
    Event::Result { token: Token(token), succeeded, retry_after_ms: 0 }
}

/// Tells a record of an event about the state that it is in.
fn tell(record: &mut Record, policy: &Policy, context: Context, event: Event) -> Outcome {
    let epoch = record.epoch;
    record.on_event(policy, &context, epoch, event)
}

fn closed() -> Record {
    Record::default()
}

fn open() -> Record {
    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, at(0), failures(5, true)), Outcome::Changed);
    record
}

/// With the permit 7.
fn half_open() -> Record {
    let mut record = open();
    assert_eq!(tell(&mut record, &PLAIN, at(1), ask(7)), Outcome::Granted);
    record
}

fn name(record: &Record) -> &'static str {
    match record.state {
        State::Closed(_) => "closed",
        State::Open { .. } => "open",
        State::HalfOpen { .. } => "half-open",
    }
}

#[test]
fn every_pair_does_what_the_table_says() {
    use Outcome::{Changed, Granted, Ignored, Noted, Refused};
    let take_over = Event::TakeOver { wait_ms: 500 };
    for (record, event, outcome, becomes) in [
        (closed(), failures(4, true), Noted, "closed"),
        (closed(), failures(5, true), Changed, "open"),
        (closed(), ask(8), Ignored, "closed"),
        (closed(), result(7, Some(true)), Ignored, "closed"),
        (closed(), Event::Recovered, Ignored, "closed"),
        (closed(), take_over, Changed, "open"),
        (closed(), Event::GiveWay, Noted, "closed"),
        (open(), failures(9, true), Ignored, "open"),
        (open(), ask(8), Granted, "half-open"),
        (open(), result(7, Some(true)), Ignored, "open"),
        (open(), Event::Recovered, Changed, "closed"),
        (open(), take_over, Ignored, "open"),
        (open(), Event::GiveWay, Changed, "closed"),
        (half_open(), failures(9, true), Ignored, "half-open"),
        (half_open(), ask(8), Refused, "half-open"),
        (half_open(), result(7, Some(true)), Changed, "closed"),
        (half_open(), result(7, Some(false)), Changed, "open"),
        (half_open(), result(7, None), Noted, "half-open"),
        (half_open(), result(8, Some(true)), Ignored, "half-open"),
        (half_open(), Event::Recovered, Changed, "closed"),
        (half_open(), take_over, Ignored, "half-open"),
        (half_open(), Event::GiveWay, Changed, "closed"),
    ] {
        let mut told = record.clone();
        assert_eq!(tell(&mut told, &PLAIN, at(2), event), outcome, "{record:?} {event:?}");
        assert_eq!(name(&told), becomes, "{record:?} {event:?}");
        assert_eq!(told.epoch > record.epoch, name(&told) != name(&record), "{event:?}");
        // About any other state it is ignored.
        for epoch in [Epoch(record.epoch.0 + 1), Epoch(record.epoch.0.wrapping_sub(1))] {
            let mut told = record.clone();
            assert_eq!(told.on_event(&PLAIN, &at(2), epoch, event), Ignored);
            assert_eq!(told, record);
        }
    }
}

#[test]
fn a_row_of_failures_trips_it_and_a_success_begins_it_anew() {
    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, at(0), failures(4, true)), Outcome::Noted);
    assert_eq!(tell(&mut record, &PLAIN, at(1), successes(1)), Outcome::Noted);
    assert_eq!(tell(&mut record, &PLAIN, at(2), failures(4, false)), Outcome::Noted);
    assert_eq!(tell(&mut record, &PLAIN, at(3), failures(1, true)), Outcome::Changed);
    assert_eq!(record.cause, Some(Cause::ConsecutiveFailures));
    assert_eq!(record.against, Against { streak: 5, calls: 10, failures: 9, slow: 0 });
    assert_eq!(record.state, State::Open { wait_ms: PLAIN.open_for_ms });
}

#[test]
fn shares_count_from_the_minimum_on_and_from_their_percent_on() {
    let policy = Policy { consecutive_failures: 0, failure_percent: 50, ..PLAIN };
    for (bad, good, trips) in
        [(10, 9, false), (10, 10, true), (9, 11, false), (19, 0, false), (20, 0, true)]
    {
        let mut record = closed();
        tell(&mut record, &policy, at(0), successes(good));
        tell(&mut record, &policy, at(1), failures(bad, true));
        assert_eq!(name(&record) == "open", trips, "{bad} of {}", bad + good);
        assert!(!trips || record.cause == Some(Cause::FailureRatio));
    }
    let policy = Policy { consecutive_failures: 0, slow_percent: 30, ..PLAIN };
    for (bad, calls, trips) in [(5, 19, false), (5, 20, false), (6, 20, true)] {
        let mut record = closed();
        tell(&mut record, &policy, at(0), slow(bad, calls));
        assert_eq!(name(&record) == "open", trips, "{bad} of {calls}");
        assert!(!trips || record.cause == Some(Cause::SlowCalls));
    }
}

#[test]
fn of_several_reasons_the_first_is_told() {
    let policy = Policy { failure_percent: 1, slow_percent: 1, minimum_calls: 1, ..PLAIN };
    let mut record = closed();
    tell(&mut record, &policy, at(0), failures(5, true));
    assert_eq!(record.cause, Some(Cause::ConsecutiveFailures));
    let mut record = closed();
    tell(&mut record, &policy, at(0), failures(1, true));
    assert_eq!(record.cause, Some(Cause::FailureRatio));
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let policy = Policy { consecutive_failures: 0, failure_percent: 50, ..PLAIN };
    for (later, trips) in [(policy.window_ms - slot_ms(&policy), true), (policy.window_ms, false)] {
        let mut record = closed();
        tell(&mut record, &policy, at(0), failures(19, true));
        tell(&mut record, &policy, at(later), failures(1, true));
        assert_eq!(name(&record) == "open", trips, "{later}");
    }
}

#[test]
fn a_clock_that_jumps_loses_evidence_and_nothing_else() {
    let policy = Policy { consecutive_failures: 0, failure_percent: 50, ..PLAIN };
    for jump in [0, 1, 1_000_000_000_000] {
        let mut record = closed();
        tell(&mut record, &policy, at(1_000_000), failures(19, true));
        let there = Context { now_us: jump * 1000, ..at(0) };
        assert_eq!(tell(&mut record, &policy, there, failures(19, true)), Outcome::Noted);
        assert_eq!(tell(&mut record, &policy, there, failures(1, true)), Outcome::Changed);
        let before = record.epoch;
        assert_eq!(tell(&mut record, &policy, there, ask(1)), Outcome::Granted);
        assert!(record.epoch > before, "epochs only rise");
    }
}

#[test]
fn one_process_that_gets_no_answers_does_not_trip_it_for_the_others() {
    let mut record = closed();
    for ms in 0..100 {
        assert_eq!(
            tell(&mut record, &PLAIN, of(ME, 1000 * ms), failures(50, false)),
            Outcome::Noted
        );
    }
    // Another one has the same.
    assert_eq!(tell(&mut record, &PLAIN, of(OTHER, 100_000), failures(1, false)), Outcome::Changed);
}

#[test]
fn a_process_that_is_alone_is_believed() {
    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, at(0), failures(5, false)), Outcome::Changed);
}

#[test]
fn failures_that_were_answered_wait_for_others_to_object() {
    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, of(ME, 0), failures(5, true)), Outcome::Unsettled);
    let again = Event::Report(Report::default());
    assert_eq!(tell(&mut record, &PLAIN, of(ME, SETTLE_MS - 1), again), Outcome::Unsettled);
    assert_eq!(tell(&mut record, &PLAIN, of(ME, SETTLE_MS), again), Outcome::Changed);

    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, of(ME, 0), failures(5, true)), Outcome::Unsettled);
    assert_eq!(tell(&mut record, &PLAIN, of(OTHER, 30), successes(1)), Outcome::Noted);
    assert_eq!(tell(&mut record, &PLAIN, of(ME, SETTLE_MS), again), Outcome::Noted);
    assert_eq!(name(&record), "closed");

    let mut record = closed();
    assert_eq!(tell(&mut record, &PLAIN, of(ME, 0), failures(4, true)), Outcome::Noted);
    assert_eq!(tell(&mut record, &PLAIN, of(OTHER, 1), failures(1, true)), Outcome::Changed);
}

#[test]
fn of_one_process_only_answered_failures_count_in_a_share() {
    let policy = Policy { consecutive_failures: 0, failure_percent: 50, ..PLAIN };
    let mut record = closed();
    tell(&mut record, &policy, of(ME, 0), failures(9, true));
    tell(&mut record, &policy, of(ME, 100), failures(11, false));
    assert_eq!(name(&record), "closed", "9 of 20 were answered");
    assert_eq!(tell(&mut record, &policy, of(ME, 200), failures(2, true)), Outcome::Changed);
}

#[test]
fn exactly_so_many_trial_requests_at_a_time() {
    let policy = Policy { probes: 3, close_after: 10, ..PLAIN };
    let mut record = open();
    for token in 1..=3 {
        assert_eq!(tell(&mut record, &policy, at(0), ask(token)), Outcome::Granted);
    }
    assert_eq!(tell(&mut record, &policy, at(0), ask(4)), Outcome::Refused);
    assert_eq!(tell(&mut record, &policy, at(0), result(2, Some(true))), Outcome::Noted);
    assert_eq!(tell(&mut record, &policy, at(0), result(2, Some(true))), Outcome::Ignored, "twice");
    assert_eq!(tell(&mut record, &policy, at(0), ask(5)), Outcome::Granted);
    assert_eq!(tell(&mut record, &policy, at(0), ask(6)), Outcome::Refused);
    // One of them has lapsed: its place is taken, and its result comes too late.
    let lapsed = Event::Ask { token: Token(7), lapsed: Some(Token(1)) };
    assert_eq!(tell(&mut record, &policy, at(0), lapsed), Outcome::Granted);
    assert_eq!(tell(&mut record, &policy, at(0), result(1, Some(false))), Outcome::Ignored);
    assert_eq!(name(&record), "half-open");
}

#[test]
fn so_many_successes_close_it_and_one_failure_opens_it() {
    let policy = Policy { close_after: 3, ..PLAIN };
    let mut record = half_open();
    for token in 7..9 {
        assert_eq!(tell(&mut record, &policy, at(0), result(token, Some(true))), Outcome::Noted);
        assert_eq!(tell(&mut record, &policy, at(0), ask(token + 1)), Outcome::Granted);
    }
    let mut failed = record.clone();
    assert_eq!(tell(&mut record, &policy, at(0), result(9, Some(true))), Outcome::Changed);
    assert_eq!((name(&record), record.cause), ("closed", Some(Cause::ProbesSucceeded)));
    assert_eq!(tell(&mut failed, &policy, at(0), result(9, Some(false))), Outcome::Changed);
    assert_eq!((name(&failed), failed.cause), ("open", Some(Cause::ProbeFailed)));
}

#[test]
fn it_stays_open_longer_each_time_until_it_has_closed() {
    let mut record = open();
    let longest = |context: Context| Context { roll: ROLLS, ..context };
    for (token, wait_ms) in [(1, 60_000), (2, 120_000), (3, 240_000), (4, 300_000)] {
        tell(&mut record, &PLAIN, at(0), ask(token));
        tell(&mut record, &PLAIN, longest(at(0)), result(token, Some(false)));
        assert_eq!(record.state, State::Open { wait_ms });
    }
    tell(&mut record, &PLAIN, at(0), ask(5));
    tell(&mut record, &PLAIN, at(0), result(5, Some(true)));
    tell(&mut record, &PLAIN, longest(at(0)), failures(5, true));
    assert_eq!(record.state, State::Open { wait_ms: PLAIN.open_for_ms });
}

#[test]
fn it_stays_open_as_long_as_the_upstream_says() {
    for (said_ms, wait_ms) in [(1_000, 1_000), (100_000, 100_000), (u64::MAX, 300_000)] {
        let mut report = Report::default();
        (0..5).for_each(|_| report.failure(true, false, said_ms));
        let mut record = closed();
        tell(&mut record, &PLAIN, at(0), Event::Report(report));
        assert_eq!(record.state, State::Open { wait_ms });
    }
}

#[test]
fn what_is_taken_over_is_open_for_what_was_left() {
    let mut record = closed();
    tell(&mut record, &PLAIN, at(0), Event::TakeOver { wait_ms: 123 });
    assert_eq!(record.state, State::Open { wait_ms: 123 });
    assert_eq!(record.trips, 1);
}

#[test]
fn who_gives_way_forgets_what_was_against_it() {
    let mut record = closed();
    tell(&mut record, &PLAIN, at(0), failures(4, true));
    tell(&mut record, &PLAIN, at(0), Event::GiveWay);
    assert_eq!(tell(&mut record, &PLAIN, at(0), failures(4, true)), Outcome::Noted);
}
