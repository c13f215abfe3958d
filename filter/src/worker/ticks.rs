//! How often the host is to call back, by what is going on.

use std::time::Duration;

use super::effect::Effect;

/// While nothing waits: often enough to renew the roster.
const IDLE: Duration = Duration::from_millis(100);
/// While something is due soon: the grain of command deadlines.
const WAITING: Duration = Duration::from_millis(5);
/// While requests wait to be let go in the next callback, and before the first connection.
const SOON: Duration = Duration::from_millis(1);

/// The period that the host was told last.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    period: Option<Duration>,
    in_tick: bool,
}

impl Ticks {
    /// A callback has begun.
    pub(super) const fn on_callback(&mut self) {
        self.in_tick = false;
    }

    /// It is a tick.
    pub(super) const fn on_tick(&mut self) {
        self.in_tick = true;
    }

    /// Asks for another period if the present one does not fit: from idle to busy at once, from busy to idle only at a
    /// tick, so that under load it costs no call of the host.
    pub(super) fn adapt(&mut self, releases: bool, due_after: Option<Duration>) -> Option<Effect> {
        let wanted = if releases || self.period.is_none() {
            SOON
        } else if due_after.is_some_and(|after| after < IDLE) {
            WAITING
        } else {
            IDLE
        };
        let changes = match self.period {
            Some(period) if self.in_tick => wanted != period,
            Some(period) => wanted < period,
            None => true,
        };
        changes.then(|| {
            self.period = Some(wanted);
            Effect::TickEvery(wanted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_at_once_and_idle_only_at_a_tick() {
        let mut ticks = Ticks::default();
        assert_eq!(ticks.adapt(false, None), Some(Effect::TickEvery(SOON)));
        assert_eq!(ticks.adapt(false, None), None);
        ticks.on_tick();
        assert_eq!(ticks.adapt(false, None), Some(Effect::TickEvery(IDLE)));
        ticks.on_callback();
        assert_eq!(ticks.adapt(false, Some(IDLE)), None);
        assert_eq!(ticks.adapt(false, Some(Duration::ZERO)), Some(Effect::TickEvery(WAITING)));
        assert_eq!(ticks.adapt(true, None), Some(Effect::TickEvery(SOON)));
        assert_eq!(ticks.adapt(false, None), None);
        ticks.on_tick();
        assert_eq!(ticks.adapt(false, None), Some(Effect::TickEvery(IDLE)));
    }
}
