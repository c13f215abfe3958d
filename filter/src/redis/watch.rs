//! Tells a stall of our own from one of Redis.
//!
//! Envoy's thread may stand still: a burst of TLS handshakes, a machine that is overcommitted. When
//! it goes on, every command looks overdue, though the replies may lie in the socket. So the first
//! look at the clock after a gap fails nothing; what is overdue gets [`GRACE`], once, so that what
//! has arrived is read first.

use std::time::Duration;

use crate::time::Instant;

/// A gap of this length between two looks at the clock, while something is owed, is a stall of our
/// own: three times the interval at which the driver promises to look.
pub const OWN_STALL: Duration = Duration::from_millis(15);
/// More time for what is overdue after a stall of our own: a turn of the event loop, on a busy
/// machine.
pub const GRACE: Duration = Duration::from_millis(5);

/// When the clock was looked at last, and whether what is overdue has been given more time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    looked_at: Instant,
    grace_until: Option<Instant>,
}

impl Watch {
    /// From `now` on something is owed, after a time when nothing was.
    pub(super) const fn starting(now: Instant) -> Self {
        Self { looked_at: now, grace_until: None }
    }

    /// Looks at the clock. Whether what is overdue may be failed now.
    ///
    /// Never twice in a row `false` for one gap and the next: however often this process stalls,
    /// each second look that is [`GRACE`] later answers `true`.
    pub(super) fn may_fail(&mut self, now: Instant) -> bool {
        let gap = now.saturating_since(self.looked_at);
        self.looked_at = now;
        match self.grace_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.grace_until = None;
                true
            }
            None if gap > OWN_STALL => {
                self.grace_until = Some(now.saturating_add(GRACE));
                false
            }
            None => true,
        }
    }

    /// When something that is due at `due` may be failed, as far as is known.
    pub(super) fn not_before(&self, due: Instant) -> Instant {
        self.grace_until.map_or(due, |until| until.max(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn looks(times: &[u64]) -> Vec<bool> {
        let mut watch = Watch::starting(ms(0));
        times.iter().map(|time| watch.may_fail(ms(*time))).collect()
    }

    #[test]
    fn who_looks_often_enough_gets_no_grace() {
        assert_eq!(looks(&[5, 10, 15, 30, 45]), [true; 5]);
    }

    #[test]
    fn a_longer_gap_than_allowed_gives_grace_once() {
        assert_eq!(looks(&[15, 20]), [true, true]);
        assert_eq!(looks(&[16, 17, 20, 21, 22]), [false, false, false, true, true]);
    }

    #[test]
    fn repeated_stalls_do_not_give_grace_for_ever() {
        assert_eq!(looks(&[20, 40, 60, 80]), [false, true, false, true]);
        assert_eq!(looks(&[20, 21, 41, 42]), [false, false, true, true]);
    }

    #[test]
    fn grace_moves_what_is_due() {
        let mut watch = Watch::starting(ms(0));
        assert_eq!(watch.not_before(ms(1)), ms(1));
        watch.may_fail(ms(100));
        assert_eq!(watch.not_before(ms(1)), ms(105));
        assert_eq!(watch.not_before(ms(200)), ms(200));
    }
}
