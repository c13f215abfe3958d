//! Deadlines that pass, and a server that says nothing.

use super::rig::{Rig, TICK, lost, overdue, pong};
use crate::redis::{COMMAND_TIMEOUT, DEAD_AFTER, Event, LostCause, SubmitError};

#[test]
fn silence_past_a_deadline_refuses_commands_until_any_byte_comes() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    rig.pass(TICK);
    rig.submit(2).unwrap();
    assert_eq!(rig.ticks(COMMAND_TIMEOUT - TICK), [overdue(1)]);
    assert_eq!(rig.submit(3), Err(SubmitError::Unavailable));
    assert_eq!(rig.ticks(TICK), [overdue(2)]);
    assert_eq!(rig.submit(4), Err(SubmitError::Unavailable));
    assert_eq!(rig.input("+"), []);
    assert_eq!(rig.submit(5), Ok(()));
}

#[test]
fn a_missed_deadline_without_silence_does_not_refuse_commands() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.input("+"), []);
    assert_eq!(rig.ticks(COMMAND_TIMEOUT), [overdue(1)]);
    assert_eq!(rig.submit(2), Ok(()));
}

#[test]
fn what_came_just_before_a_command_does_not_break_its_silence() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.input("+PONG\r\n"), [pong(1)]);
    rig.submit(2).unwrap();
    assert_eq!(rig.ticks(COMMAND_TIMEOUT), [overdue(2)]);
    assert_eq!(rig.submit(3), Err(SubmitError::Unavailable));
}

#[test]
fn a_connection_that_owes_replies_in_silence_is_given_up() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    let given_up = rig.now.saturating_add(DEAD_AFTER);
    assert_eq!(rig.ticks(DEAD_AFTER - TICK), [overdue(1)]);
    assert_eq!(rig.due, Some(given_up));
    assert_eq!(rig.ticks(TICK), [Event::Disconnect, lost(LostCause::Dead)]);
}

#[test]
fn any_byte_puts_the_end_of_a_silent_connection_off() {
    let mut rig = Rig::ready();
    rig.submit(1).unwrap();
    assert_eq!(rig.ticks(DEAD_AFTER - TICK), [overdue(1)]);
    assert_eq!(rig.input("+"), []);
    assert_eq!(rig.ticks(DEAD_AFTER - TICK), []);
    assert_eq!(rig.ticks(TICK), [Event::Disconnect, lost(LostCause::Dead)]);
}

#[test]
fn a_connection_that_owes_nothing_may_be_silent_for_ever() {
    let mut rig = Rig::ready();
    assert_eq!(rig.ticks(DEAD_AFTER * 3), []);
    assert_eq!(rig.due, None);
    assert_eq!(rig.submit(1), Ok(()));
}
