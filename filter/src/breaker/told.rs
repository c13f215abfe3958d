//! What a record tells of itself, and how Redis says so: in its answers, and in messages to all workers.
//!
//! One line of words: `<epoch> <state> <cause> <wait> <streak> <calls> <failures> <slow> <permits>`, the permits with
//! commas between them. Anything else is told by nobody, and ignored.

use super::evidence::Against;
use super::policy::Policy;
use super::record::{Cause, Epoch, Record, State, Token};

/// Most permits in one line: the most that a configuration allows at a time.
pub const MOST_PERMITS: usize = 100;

/// What is told of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of the last transition.
    pub epoch: Epoch,
    /// Why that was.
    pub cause: Option<Cause>,
    /// What it tripped on last; while it is closed, only its failures in a row now.
    pub against: Against,
    /// What it is now.
    pub standing: Standing,
}

/// What a breaker is, as far as workers have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Closed. Whoever has calls is to report them if it is `suspect`: there are failures in its window. If there are
    /// some in a row, whoever has a success is to report it at any time.
    Closed {
        /// Whether there are failures in its window.
        suspect: bool,
    },
    /// Open for so long, in milliseconds since it was learnt.
    Open {
        /// In milliseconds.
        wait_ms: u64,
    },
    /// Half-open, with these trial requests under way.
    HalfOpen {
        /// Their permits.
        permits: Vec<Token>,
    },
}

impl Told {
    /// What a record tells at a time, in milliseconds by the clock that its window goes by.
    #[must_use]
    pub fn of(record: &Record, policy: &Policy, now_ms: u64) -> Self {
        let mut against = record.against;
        let standing = match &record.state {
            State::Closed(evidence) => {
                against = Against { streak: evidence.streak, ..Against::default() };
                let told_ago_ms = now_ms.checked_sub(evidence.suspect_ms);
                let suspect =
                    evidence.suspect_ms > 0 && told_ago_ms.is_some_and(|ms| ms < policy.window_ms);
                Standing::Closed { suspect }
            }
            State::Open { wait_ms } => Standing::Open { wait_ms: *wait_ms },
            State::HalfOpen { permits, .. } => Standing::HalfOpen { permits: permits.clone() },
        };
        Self { epoch: record.epoch, cause: record.cause, against, standing }
    }

    /// Reads a line.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.split(' ');
        let epoch = Epoch(words.next()?.parse().ok()?);
        let state = words.next()?;
        let cause = words.next()?;
        let cause = if cause == NO_CAUSE { None } else { Some(Cause::parse(cause)?) };
        let mut number = || words.next()?.parse::<u64>().ok();
        let (wait_ms, streak, calls, failures, slow) =
            (number()?, number()?, number()?, number()?, number()?);
        let permits = words.next()?;
        let standing = match state {
            CLOSED => Standing::Closed { suspect: false },
            SUSPECT => Standing::Closed { suspect: true },
            OPEN => Standing::Open { wait_ms },
            HALF_OPEN => Standing::HalfOpen { permits: parse_permits(permits)? },
            _ => return None,
        };
        let against = Against { streak, calls, failures, slow };
        words.next().is_none().then_some(Self { epoch, cause, against, standing })
    }

    /// Writes the line, as the script does.
    #[must_use]
    pub fn line(&self) -> String {
        let (state, wait_ms, permits) = match &self.standing {
            Standing::Closed { suspect: false } => (CLOSED, 0, String::new()),
            Standing::Closed { suspect: true } => (SUSPECT, 0, String::new()),
            Standing::Open { wait_ms } => (OPEN, *wait_ms, String::new()),
            Standing::HalfOpen { permits } => {
                let permits: Vec<_> = permits.iter().map(|token| token.word()).collect();
                (HALF_OPEN, 0, permits.join(","))
            }
        };
        let cause = self.cause.map_or(NO_CAUSE, Cause::word);
        let Against { streak, calls, failures, slow } = self.against;
        let epoch = self.epoch.0;
        format!("{epoch} {state} {cause} {wait_ms} {streak} {calls} {failures} {slow} {permits}")
    }
}

const CLOSED: &str = "closed";
const SUSPECT: &str = "suspect";
const OPEN: &str = "open";
const HALF_OPEN: &str = "half-open";
/// Before the first transition.
const NO_CAUSE: &str = "-";

fn parse_permits(list: &str) -> Option<Vec<Token>> {
    let words = list.split(',').filter(|word| !word.is_empty());
    words.take(MOST_PERMITS).map(Token::parse).collect()
}

impl Token {
    /// How it is written: text, since the numbers of scripts are exact to 53 bits only.
    #[must_use]
    pub fn word(self) -> String {
        format!("{:016x}", self.0)
    }

    fn parse(word: &str) -> Option<Self> {
        u64::from_str_radix(word, 16).ok().map(Self)
    }
}

const CAUSES: [(Cause, &str); 9] = [
    (Cause::ConsecutiveFailures, "consecutive_failures"),
    (Cause::FailureRatio, "failure_ratio"),
    (Cause::SlowCalls, "slow_calls"),
    (Cause::ProbeFailed, "probe_failed"),
    (Cause::WaitOver, "wait_over"),
    (Cause::ProbesSucceeded, "probes_succeeded"),
    (Cause::Recovered, "recovered"),
    (Cause::TakenOver, "taken_over"),
    (Cause::GivenWay, "given_way"),
];

impl Cause {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 9] = {
        let mut all = [Self::GivenWay; 9];
        let mut at = 0;
        while at < CAUSES.len() {
            #[allow(clippy::indexing_slicing, reason = "worked out by the compiler")]
            {
                all[at] = CAUSES[at].0;
            }
            at += 1;
        }
        all
    };

    /// How it is written: in Redis, as a label of metrics, in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        CAUSES.iter().find(|(cause, _)| *cause == self).map_or("", |(_, word)| word)
    }

    fn parse(text: &str) -> Option<Self> {
        CAUSES.iter().find(|(_, word)| *word == text).map(|(cause, _)| *cause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::breaker::policy::PLAIN;

    fn told(standing: Standing) -> Told {
        let against = Against { streak: 5, calls: 60, failures: 7, slow: 1 };
        Told { epoch: Epoch(7), cause: Some(Cause::SlowCalls), against, standing }
    }

    #[test]
    fn a_line_says_all() {
        let permits = vec![Token(1), Token(u64::MAX)];
        for (standing, line) in [
            (Standing::Closed { suspect: false }, "7 closed slow_calls 0 5 60 7 1 "),
            (Standing::Closed { suspect: true }, "7 suspect slow_calls 0 5 60 7 1 "),
            (Standing::Open { wait_ms: 30_000 }, "7 open slow_calls 30000 5 60 7 1 "),
            (
                Standing::HalfOpen { permits },
                "7 half-open slow_calls 0 5 60 7 1 0000000000000001,ffffffffffffffff",
            ),
        ] {
            let told = told(standing);
            assert_eq!(told.line(), line);
            assert_eq!(Told::parse(line.as_bytes()), Some(told));
        }
        let fresh = Told::of(&Record::default(), &PLAIN, 0);
        assert_eq!(fresh.line(), "0 closed - 0 0 0 0 0 ");
        assert_eq!(Told::parse(fresh.line().as_bytes()), Some(fresh));
    }

    #[test]
    fn what_is_no_line_is_ignored() {
        for line in [
            "",
            "closed",
            "7 ajar - 0 0 0 0 0 ",
            "7 closed whim 0 0 0 0 0 ",
            "-1 closed - 0 0 0 0 0 ",
            "7 closed - 0 0 0 0 0",
            "7 closed - 0 0 0 0 0  ",
            "7 half-open - 0 0 0 0 0 x",
            "18446744073709551616 closed - 0 0 0 0 0 ",
        ] {
            assert_eq!(Told::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn every_cause_can_be_read_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.word()), Some(cause));
        }
        assert_eq!(Cause::parse(""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(told) = Told::parse(&bytes) {
                prop_assert!(Told::parse(told.line().as_bytes()).is_some());
            }
        }
    }
}
