//! How much may be in flight, from both sides of each bound.

use super::rig::{READY, Rig, overdue, pong};
use crate::redis::{
    COMMAND_TIMEOUT, Command, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES, Request, SubmitError, Ticket,
};

const MOST: u64 = MAX_IN_FLIGHT as u64;

/// Submits as many commands as may be in flight.
fn fill(rig: &mut Rig) {
    (0..MOST).for_each(|ticket| rig.submit(ticket).unwrap());
}

#[test]
fn the_number_of_commands_in_flight_is_bounded() {
    let mut rig = Rig::ready();
    fill(&mut rig);
    assert_eq!(rig.submit(MOST), Err(SubmitError::Overloaded));
    assert_eq!(rig.input("+PONG\r\n"), [pong(0)]);
    assert_eq!((rig.submit(MOST), rig.submit(MOST + 1)), (Ok(()), Err(SubmitError::Overloaded)));
}

#[test]
fn commands_that_failed_count_until_their_reply_comes() {
    let mut rig = Rig::ready();
    fill(&mut rig);
    assert_eq!(rig.ticks(COMMAND_TIMEOUT).len(), MAX_IN_FLIGHT);
    assert_eq!(rig.input("+"), []);
    assert_eq!(rig.submit(MOST), Err(SubmitError::Overloaded));
    assert_eq!(rig.input("PONG\r\n"), []);
    assert_eq!(rig.submit(MOST), Ok(()));
}

#[test]
fn commands_that_wait_for_the_handshake_are_bounded_too() {
    let mut rig = Rig::new();
    fill(&mut rig);
    assert_eq!(rig.submit(MOST), Err(SubmitError::Overloaded));
}

/// A command that is charged with exactly this many bytes, of a size with seven digits.
fn of_size(size: usize) -> Request {
    let overhead = Command::new(b"").size_bytes();
    // `$1000000` in place of `$0`.
    let command = Command::new(&vec![b'x'; size - overhead - 6]);
    assert_eq!(command.size_bytes(), size);
    command.into()
}

#[test]
fn the_bytes_in_flight_are_bounded() {
    let mut rig = Rig::ready();
    let mut submit = |command, ticket| rig.client.submit(rig.now, command, Ticket(ticket));
    assert_eq!(submit(of_size(MAX_IN_FLIGHT_BYTES + 1), 1), Err(SubmitError::Overloaded));
    assert_eq!(submit(of_size(MAX_IN_FLIGHT_BYTES), 2), Ok(()));
    assert_eq!(submit(Command::new(b"").into(), 3), Err(SubmitError::Overloaded));
    assert_eq!(rig.input("+PONG\r\n"), [pong(2)]);
    assert_eq!(rig.submit(4), Ok(()));
}

#[test]
fn the_bytes_of_commands_that_wait_for_the_handshake_are_bounded_until_they_fail() {
    let mut rig = Rig::new();
    rig.tick();
    rig.client.submit(rig.now, of_size(MAX_IN_FLIGHT_BYTES), Ticket(1)).unwrap();
    assert_eq!(rig.submit(2), Err(SubmitError::Overloaded));
    assert_eq!(rig.ticks(COMMAND_TIMEOUT), [overdue(1)]);
    assert_eq!(rig.shake_hands().1, [READY]);
    assert_eq!(rig.submit(3), Ok(()));
}

#[test]
fn a_loss_empties_the_line() {
    let mut rig = Rig::ready();
    fill(&mut rig);
    assert_eq!(rig.closed().len(), MAX_IN_FLIGHT + 1);
    rig.reconnect();
    assert_eq!(rig.client.size_bytes, 0);
    fill(&mut rig);
}
