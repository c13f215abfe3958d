//! Whether Redis can be counted with, and what the log is told of it.

use std::time::Duration;

use super::effect::Effect;
use crate::redis::Value;
use crate::roster::Standing;
use crate::time::Instant;

/// A good answer ends a loss only this long after the last error: if Redis refuses some commands and executes others,
/// every request would change the state and write a line into the log.
const ERRORS_PASS_AFTER: Duration = Duration::from_secs(1);
/// A Redis that has answered nothing in time for this long is lost, though it is connected and answers.
const LATE_FOR: Duration = Duration::from_secs(1);
/// Causes of one loss that the log is told: there are not many, but what Redis answers is part of them.
const MOST_CAUSES: usize = 8;

/// What one worker knows of Redis.
#[derive(Debug, Default)]
pub(super) struct Health {
    standing: Option<Standing>,
    /// Why Redis is lost, as the log has been told.
    causes: Vec<String>,
    last_error_at: Instant,
    /// Since when no answer has come in time, if so.
    late_since: Option<Instant>,
}

impl Health {
    /// What the worker says of itself; `None` before the first connection.
    pub(super) const fn standing(&self) -> Option<Standing> {
        self.standing
    }

    /// The connection is ready. Returns what to write into the log, as all events do.
    pub(super) fn on_ready(&mut self) -> Option<Effect> {
        let was_lost = self.standing.replace(Standing::Connected) == Some(Standing::Degraded);
        self.causes.clear();
        was_lost
            .then(|| Effect::Info("redis is back: counting exactly over all replicas".to_owned()))
    }

    /// The connection was lost, or an attempt to get one failed. Each cause is said once: what is lost because the
    /// server closed stays lost because it then refuses the password, and somebody has to know.
    pub(super) fn on_lost(&mut self, cause: &str) -> Option<Effect> {
        self.standing = Some(Standing::Degraded);
        if self.causes.iter().any(|said| said == cause) || self.causes.len() >= MOST_CAUSES {
            return None;
        }
        let still = if self.causes.is_empty() { "" } else { "still " };
        self.causes.push(cause.to_owned());
        let line = format!("redis is {still}lost ({cause}): counting within this process");
        Some(Effect::Warn(line))
    }

    /// Redis has not answered a question in time.
    pub(super) fn on_late(&mut self, now: Instant) -> Option<Effect> {
        self.last_error_at = now;
        let since = *self.late_since.get_or_insert(now);
        let is_lost = now.saturating_since(since) >= LATE_FOR;
        is_lost.then(|| self.on_lost("no answer in time")).flatten()
    }

    /// Redis has answered a question.
    pub(super) fn on_answer(&mut self, now: Instant) -> Option<Effect> {
        self.late_since = None;
        if self.standing == Some(Standing::Degraded)
            && now.saturating_since(self.last_error_at) >= ERRORS_PASS_AFTER
        {
            return self.on_ready();
        }
        None
    }

    /// Redis has answered with an error, or with what is no answer: connected or not, it does not count.
    pub(super) fn on_error(&mut self, now: Instant, answer: &Value) -> Option<Effect> {
        self.last_error_at = now;
        let cause = if let Value::Error(error) = answer {
            // Its code, such as OOM; the rest may repeat what was asked.
            String::from_utf8_lossy(error.split(|byte| *byte == b' ').next().unwrap_or_default())
        } else {
            "unexpected answer".into()
        };
        self.on_lost(&cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn warned(text: &str) -> Option<Effect> {
        Some(Effect::Warn(format!("redis is {text}: counting within this process")))
    }

    fn back() -> Option<Effect> {
        Some(Effect::Info("redis is back: counting exactly over all replicas".to_owned()))
    }

    fn error(text: &str) -> Value {
        Value::Error(text.as_bytes().to_vec())
    }

    #[test]
    fn the_first_connection_is_nothing_to_talk_about() {
        let mut health = Health::default();
        assert_eq!(health.standing(), None);
        assert_eq!(health.on_ready(), None);
        assert_eq!(health.standing(), Some(Standing::Connected));
    }

    #[test]
    fn each_cause_of_a_loss_is_said_once_and_again_in_the_next_loss() {
        let mut health = Health::default();
        for _ in 0..2 {
            assert_eq!(health.on_lost("closed"), warned("lost (closed)"));
            assert_eq!(health.on_lost("closed"), None);
            assert_eq!(health.on_lost("refused"), warned("still lost (refused)"));
            assert_eq!(health.on_lost("closed"), None);
            assert_eq!(health.standing(), Some(Standing::Degraded));
            assert_eq!(health.on_ready(), back());
            assert_eq!(health.on_ready(), None);
        }
    }

    #[test]
    fn causes_that_never_end_do_not_fill_the_log() {
        let mut health = Health::default();
        let said = (0..100).filter_map(|n| health.on_lost(&n.to_string())).count();
        assert_eq!(said, MOST_CAUSES);
    }

    #[test]
    fn a_redis_that_answers_with_errors_is_lost_until_it_has_done_without_for_a_while() {
        let mut health = Health::default();
        health.on_ready();
        let oom = error("OOM command not allowed when used memory > 'maxmemory'.");
        assert_eq!(health.on_error(at(0), &oom), warned("lost (OOM)"));
        assert_eq!(health.on_error(at(500), &oom), None);
        assert_eq!(health.on_answer(at(1499)), None);
        assert_eq!(health.standing(), Some(Standing::Degraded));
        assert_eq!(health.on_answer(at(1500)), back());
        assert_eq!(health.standing(), Some(Standing::Connected));
        assert_eq!(health.on_answer(at(1501)), None);
    }

    #[test]
    fn a_redis_that_is_always_late_is_lost_and_one_that_is_late_at_times_is_not() {
        let mut health = Health::default();
        health.on_ready();
        for millis in [0, 900, 1800, 2700] {
            assert_eq!(health.on_late(at(millis)), None);
            assert_eq!(health.on_answer(at(millis + 100)), None);
        }
        assert_eq!(health.on_late(at(5000)), None);
        assert_eq!(health.on_late(at(5999)), None);
        assert_eq!(health.standing(), Some(Standing::Connected));
        assert_eq!(health.on_late(at(6000)), warned("lost (no answer in time)"));
        assert_eq!(health.on_late(at(6001)), None);
        assert_eq!(health.standing(), Some(Standing::Degraded));
        assert_eq!(health.on_answer(at(6900)), None);
        assert_eq!(health.on_answer(at(7001)), back());
    }

    #[test]
    fn what_is_no_answer_is_a_cause_too() {
        let mut health = Health::default();
        assert_eq!(health.on_error(at(0), &Value::Null), warned("lost (unexpected answer)"));
        assert_eq!(health.on_error(at(0), &error("")), warned("still lost ()"));
    }
}
