//! The life of the connection as a state machine: when to connect, whether to accept commands, how
//! to come back.

use std::time::Duration;

use super::backoff::Backoff;
use crate::rng::Rng;
use crate::time::Instant;

/// Time for connecting and the handshake: a TCP connection within a data centre, and a
/// retransmission.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was ready this long has proved itself, even if nothing was asked of it. As
/// long as the longest wait, so that a server which accepts and drops is not asked more often than
/// one that refuses.
const PROVEN_AFTER: Duration = super::backoff::CAP;

/// Where the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing was tried yet.
    Idle,
    /// The stream was opened, the handshake is under way. `hopeful`: nothing speaks against the
    /// server yet, so that commands may wait for it.
    Handshaking { hopeful: bool, until: Instant },
    /// Commands are answered.
    Ready { since: Instant },
    /// A deadline passed in silence: commands are refused until anything comes.
    Stalled { since: Instant },
    /// Lost, or never had.
    BackingOff { until: Instant },
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    /// [`Connection::due`] has passed.
    Due,
    /// The handshake is complete.
    Established,
    /// Bytes came.
    Input,
    /// A command missed its deadline, and no byte came since it was sent.
    Silence,
    /// A command was answered, and not by an error.
    Success,
    /// The stream is gone, or the server of no use.
    Lost,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    None,
    /// Open the stream and begin the handshake.
    Connect,
    /// Give the handshake up: it took too long.
    GiveUp,
}

/// What becomes of a command that is submitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It waits for the handshake.
    Wait,
    /// It is sent.
    Send,
    /// It is refused.
    Refuse,
}

/// The state machine.
///
/// |               | due        | established | input   | silence    | success | lost          |
/// |---------------|------------|-------------|---------|------------|---------|---------------|
/// | idle          | → hopeful ¹| –           | –       | –          | –       | –             |
/// | hopeful ²     | give up    | → ready     | –       | → hopeless | –       | → backing off |
/// | hopeless ²    | give up    | → ready     | –       | –          | –       | → backing off |
/// | ready         | –          | –           | –       | → stalled  | proven ³| → backing off |
/// | stalled       | –          | –           | → ready | –          | –       | → backing off |
/// | backing off   | → hopeless ¹| –          | –       | –          | –       | –             |
///
/// ¹ and connect. ² handshaking. ³ the next wait is a short one. A dash: nothing happens, the pair is
/// impossible or without meaning.
#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    backoff: Backoff,
}

impl Connection {
    pub(super) const fn new(rng: Rng) -> Self {
        Self { state: State::Idle, backoff: Backoff::new(rng) }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Whether a stream is open.
    pub(super) const fn is_open(&self) -> bool {
        match self.state {
            State::Handshaking { .. } | State::Ready { .. } | State::Stalled { .. } => true,
            State::Idle | State::BackingOff { .. } => false,
        }
    }

    /// When [`Incident::Due`] has to be told.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Idle => Some(Instant::from_micros(0)),
            State::Handshaking { until, .. } | State::BackingOff { until } => Some(until),
            State::Ready { .. } | State::Stalled { .. } => None,
        }
    }

    pub(super) const fn admission(&self) -> Admission {
        match self.state {
            State::Idle | State::Handshaking { hopeful: true, .. } => Admission::Wait,
            State::Ready { .. } => Admission::Send,
            State::Handshaking { hopeful: false, .. }
            | State::Stalled { .. }
            | State::BackingOff { .. } => Admission::Refuse,
        }
    }

    /// Tells it what happened.
    pub(super) fn on_incident(&mut self, now: Instant, incident: Incident) -> Outcome {
        match (self.state, incident) {
            (State::Idle, Incident::Due) => {
                self.state = Self::handshaking(now, true);
                Outcome::Connect
            }
            (State::BackingOff { .. }, Incident::Due) => {
                self.state = Self::handshaking(now, false);
                Outcome::Connect
            }
            (State::Handshaking { .. }, Incident::Due) => Outcome::GiveUp,
            (State::Handshaking { .. }, Incident::Established) => {
                self.state = State::Ready { since: now };
                Outcome::None
            }
            (State::Handshaking { until, .. }, Incident::Silence) => {
                self.state = State::Handshaking { hopeful: false, until };
                Outcome::None
            }
            (State::Ready { since }, Incident::Silence) => {
                self.state = State::Stalled { since };
                Outcome::None
            }
            (State::Stalled { since }, Incident::Input) => {
                self.state = State::Ready { since };
                Outcome::None
            }
            (State::Ready { .. }, Incident::Success) => {
                self.backoff.reset();
                Outcome::None
            }
            (State::Ready { since } | State::Stalled { since }, Incident::Lost) => {
                if now.saturating_since(since) >= PROVEN_AFTER {
                    self.backoff.reset();
                }
                self.back_off(now)
            }
            (State::Handshaking { .. }, Incident::Lost) => self.back_off(now),
            (
                State::Idle | State::BackingOff { .. },
                Incident::Established
                | Incident::Input
                | Incident::Silence
                | Incident::Success
                | Incident::Lost,
            )
            | (State::Handshaking { .. }, Incident::Input | Incident::Success)
            | (State::Ready { .. }, Incident::Due | Incident::Established | Incident::Input)
            | (
                State::Stalled { .. },
                Incident::Due | Incident::Established | Incident::Silence | Incident::Success,
            ) => Outcome::None,
        }
    }

    fn handshaking(now: Instant, hopeful: bool) -> State {
        State::Handshaking { hopeful, until: now.saturating_add(HANDSHAKE_TIMEOUT) }
    }

    fn back_off(&mut self, now: Instant) -> Outcome {
        self.state = State::BackingOff { until: now.saturating_add(self.backoff.next_wait()) };
        Outcome::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_micros(5_000_000);
    const LATER: Instant = Instant::from_micros(9_000_000);

    fn in_state(state: State) -> Connection {
        Connection { state, ..Connection::new(Rng::with_seed(1)) }
    }

    #[test]
    fn every_pair_of_state_and_incident_is_as_the_table_says() {
        use Incident::{Due, Established, Input, Lost, Silence, Success};
        let hopeful = State::Handshaking { hopeful: true, until: LATER };
        let hopeless = State::Handshaking { hopeful: false, until: LATER };
        let (ready, stalled) = (State::Ready { since: NOW }, State::Stalled { since: NOW });
        let backing_off = State::BackingOff { until: LATER };
        let states = [State::Idle, hopeful, hopeless, ready, stalled, backing_off];
        let incidents = [Due, Established, Input, Silence, Success, Lost];
        let connecting = |hopeful| (Connection::handshaking(NOW, hopeful), Outcome::Connect);
        for state in states {
            for incident in incidents {
                let expected = match (state, incident) {
                    (State::Idle, Due) => connecting(true),
                    (State::BackingOff { .. }, Due) => connecting(false),
                    (State::Handshaking { .. }, Due) => (state, Outcome::GiveUp),
                    (State::Handshaking { .. }, Established) => (ready, Outcome::None),
                    (State::Handshaking { .. }, Silence) => (hopeless, Outcome::None),
                    (State::Ready { .. }, Silence) => (stalled, Outcome::None),
                    (State::Stalled { .. }, Input) => (ready, Outcome::None),
                    (_, Lost) if in_state(state).is_open() => {
                        let mut connection = in_state(state);
                        assert_eq!(connection.on_incident(NOW, Lost), Outcome::None);
                        assert!(matches!(connection.state, State::BackingOff { until }
                            if until >= NOW && until < LATER));
                        continue;
                    }
                    _ => (state, Outcome::None),
                };
                let mut connection = in_state(state);
                let outcome = connection.on_incident(NOW, incident);
                assert_eq!((connection.state, outcome), expected, "{state:?} {incident:?}");
            }
        }
    }

    #[test]
    fn commands_wait_only_while_nothing_speaks_against_the_server() {
        let mut connection = Connection::new(Rng::with_seed(1));
        let mut after = |incident| {
            connection.on_incident(NOW, incident);
            connection.admission()
        };
        assert_eq!(after(Incident::Input), Admission::Wait);
        assert_eq!(after(Incident::Due), Admission::Wait);
        assert_eq!(after(Incident::Silence), Admission::Refuse);
        assert_eq!(after(Incident::Established), Admission::Send);
        assert_eq!(after(Incident::Silence), Admission::Refuse);
        assert_eq!(after(Incident::Input), Admission::Send);
        assert_eq!(after(Incident::Lost), Admission::Refuse);
        assert_eq!(after(Incident::Due), Admission::Refuse);
        assert_eq!(after(Incident::Established), Admission::Send);
    }

    /// The longest wait of the tenth loss in a row, each after `ready_for` of being ready, over
    /// many seeds.
    fn tenth_wait(ready_for: Duration, succeeds: bool) -> Duration {
        let wait = |seed| {
            let mut connection = Connection::new(Rng::with_seed(seed));
            let mut wait = Duration::ZERO;
            for _ in 0..10 {
                connection.on_incident(NOW, Incident::Due);
                connection.on_incident(NOW, Incident::Established);
                if succeeds {
                    connection.on_incident(NOW, Incident::Success);
                }
                let end = NOW.saturating_add(ready_for);
                connection.on_incident(end, Incident::Lost);
                wait = connection.due().unwrap().saturating_since(end);
            }
            wait
        };
        (0..100).map(wait).max().unwrap()
    }

    #[test]
    fn a_server_that_accepts_and_drops_is_asked_ever_less_often() {
        let just_below = PROVEN_AFTER - Duration::from_micros(1);
        assert!(tenth_wait(Duration::ZERO, false) > Duration::from_millis(500));
        assert!(tenth_wait(just_below, false) > Duration::from_millis(500));
    }

    #[test]
    fn a_connection_that_served_or_lasted_comes_back_quickly() {
        assert!(tenth_wait(PROVEN_AFTER, false) <= super::super::backoff::FIRST);
        assert!(tenth_wait(Duration::ZERO, true) <= super::super::backoff::FIRST);
    }
}
