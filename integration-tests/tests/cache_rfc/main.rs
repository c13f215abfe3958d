//! What RFC 9111 and its companions ask of a cache, through a real replica: the cases are in `cases`, one file for each
//! subject, and what their lines mean is in `script.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected ends here"
)]

mod play;
mod script;

use crate::play::Stage;

/// All cases of a file are played, and all that failed are told of.
fn play(text: &str) {
    let stage = Stage::start();
    let cases = script::read(text);
    assert!(!cases.is_empty());
    let failures: Vec<_> =
        cases.iter().filter_map(|case| Some((case, stage.play(case).err()?))).collect();
    for (case, why) in &failures {
        eprintln!("{} ({}), {why}\n", case.name, case.of);
    }
    stage.assert_no_crash();
    assert!(failures.is_empty(), "{} of {} cases failed", failures.len(), cases.len());
}

#[test]
fn freshness_and_age() {
    play(include_str!("cases/freshness.txt"));
}

#[test]
fn what_is_stored() {
    play(include_str!("cases/storing.txt"));
}

#[test]
fn what_requests_want() {
    play(include_str!("cases/requests.txt"));
}

#[test]
fn validation_and_ranges() {
    play(include_str!("cases/validation.txt"));
}

#[test]
fn messages_to_the_byte() {
    play(include_str!("cases/messages.txt"));
}
