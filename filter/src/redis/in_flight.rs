//! The commands that were sent, in the order in which their replies come.
//!
//! A command that failed keeps its place, as a tombstone: its reply may still come, and must not be
//! taken for the next one's. Deadlines run in the order of submission, but a command that is sent
//! again keeps its deadline and goes to the end of the line, so each of the two kinds has its own
//! queue of deadlines, in order.

use std::collections::VecDeque;

use super::command::ScriptCall;
use super::event::Ticket;
use crate::time::Instant;

/// One command that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// `None` once it has failed.
    pub(super) ticket: Option<Ticket>,
    pub(super) submitted_at: Instant,
    pub(super) sent_at: Instant,
    pub(super) deadline: Instant,
    /// How many times input had come when it was sent.
    pub(super) inputs_before: u64,
    pub(super) size_bytes: usize,
    /// What to send again should the server have lost the script.
    pub(super) call: Option<ScriptCall>,
}

/// The commands in flight. All of its operations cost a constant amount of time, amortized.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: VecDeque<Sent>,
    /// Number of the oldest command in `sent`; the others follow.
    oldest: u64,
    /// Deadlines of the commands sent for the first time, and their numbers.
    first: VecDeque<(Instant, u64)>,
    /// The same of those sent again.
    again: VecDeque<(Instant, u64)>,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// When the oldest was sent.
    pub(super) fn oldest_sent_at(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.sent_at)
    }

    pub(super) fn push_first(&mut self, sent: Sent) {
        self.first.push_back((sent.deadline, self.next_number()));
        self.sent.push_back(sent);
    }

    pub(super) fn push_again(&mut self, sent: Sent) {
        self.again.push_back((sent.deadline, self.next_number()));
        self.sent.push_back(sent);
    }

    fn next_number(&self) -> u64 {
        self.oldest.saturating_add(self.sent.len() as u64)
    }

    /// Takes the command that the next reply answers.
    pub(super) fn pop(&mut self) -> Option<Sent> {
        let sent = self.sent.pop_front()?;
        self.oldest = self.oldest.saturating_add(1);
        for deadlines in [&mut self.first, &mut self.again] {
            let answered = |(_, number): &mut (Instant, u64)| *number < self.oldest;
            while deadlines.pop_front_if(answered).is_some() {}
        }
        Some(sent)
    }

    /// The next deadline of a command that has not failed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let fronts = [self.first.front(), self.again.front()];
        fronts.into_iter().flatten().map(|(deadline, _)| *deadline).min()
    }

    /// Makes a tombstone of one overdue command: its ticket, and how many times input had come when
    /// it was sent.
    pub(super) fn expire_one(&mut self, now: Instant) -> Option<(Ticket, u64)> {
        let overdue = |(deadline, _): &mut (Instant, u64)| *deadline <= now;
        let (_, number) =
            self.first.pop_front_if(overdue).or_else(|| self.again.pop_front_if(overdue))?;
        let place = usize::try_from(number.saturating_sub(self.oldest)).ok()?;
        let sent = self.sent.get_mut(place)?;
        sent.call = None;
        Some((sent.ticket.take()?, sent.inputs_before))
    }

    /// Forgets everything. The tickets that had not failed, oldest first.
    pub(super) fn take_tickets(&mut self) -> impl Iterator<Item = Ticket> + use<> {
        std::mem::take(self).sent.into_iter().filter_map(|sent| sent.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn sent(ticket: u64, deadline: u64) -> Sent {
        Sent {
            ticket: Some(Ticket(ticket)),
            submitted_at: at(0),
            sent_at: at(ticket),
            deadline: at(deadline),
            inputs_before: ticket * 10,
            size_bytes: 1,
            call: None,
        }
    }

    fn expired(in_flight: &mut InFlight, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| in_flight.expire_one(at(now))).map(|(ticket, _)| ticket.0).collect()
    }

    #[test]
    fn an_expired_command_keeps_its_place_without_its_ticket() {
        let mut in_flight = InFlight::default();
        in_flight.push_first(sent(1, 10));
        in_flight.push_first(sent(2, 20));
        assert_eq!(in_flight.expire_one(at(9)), None);
        assert_eq!(in_flight.expire_one(at(10)), Some((Ticket(1), 10)));
        assert_eq!(in_flight.expire_one(at(10)), None);
        assert_eq!(in_flight.next_deadline(), Some(at(20)));
        assert_eq!(in_flight.len(), 2);
        assert_eq!(in_flight.pop().unwrap().ticket, None);
        assert_eq!(in_flight.pop().unwrap().ticket, Some(Ticket(2)));
        assert!(in_flight.pop().is_none());
        assert_eq!(in_flight.next_deadline(), None);
    }

    #[test]
    fn a_command_sent_again_expires_by_its_first_deadline() {
        let mut in_flight = InFlight::default();
        in_flight.push_first(sent(1, 10));
        in_flight.push_first(sent(2, 20));
        in_flight.push_first(sent(3, 30));
        let lost = in_flight.pop().unwrap();
        in_flight.push_again(lost);
        assert_eq!(in_flight.next_deadline(), Some(at(10)));
        assert_eq!(expired(&mut in_flight, 10), [1]);
        let order: Vec<_> =
            std::iter::from_fn(|| in_flight.pop()).map(|sent| sent.ticket).collect();
        assert_eq!(order, [Some(Ticket(2)), Some(Ticket(3)), None]);
    }

    #[test]
    fn answered_commands_leave_no_deadline() {
        let mut in_flight = InFlight::default();
        for ticket in 0..100 {
            in_flight.push_first(sent(ticket, 2 * ticket));
            in_flight.push_first(sent(ticket, 2 * ticket + 1));
            let again = in_flight.pop().unwrap();
            in_flight.push_again(again);
            assert_eq!(in_flight.next_deadline(), Some(at(2 * ticket)));
            in_flight.pop();
            in_flight.pop();
            assert_eq!(in_flight.next_deadline(), None);
        }
        assert!(in_flight.is_empty() && in_flight.first.is_empty() && in_flight.again.is_empty());
    }

    #[test]
    fn what_is_left_is_named_oldest_first() {
        let mut in_flight = InFlight::default();
        (1..4).for_each(|ticket| in_flight.push_first(sent(ticket, ticket * 10)));
        assert_eq!(expired(&mut in_flight, 10), [1]);
        let left: Vec<_> = in_flight.take_tickets().collect();
        assert_eq!(left, [Ticket(2), Ticket(3)]);
        assert!(in_flight.is_empty());
        assert_eq!(in_flight.next_deadline(), None);
    }
}
