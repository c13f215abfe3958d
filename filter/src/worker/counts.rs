//! What one callback has counted, added up: the host is told once of each counter, however many requests it was for.

use super::effect::Effect;
use crate::exchange::Tally;
use crate::metrics::Metric;

/// Counters with what is to be added to them. There are only a few in one callback.
#[derive(Debug, Default)]
pub(super) struct Counts(Vec<(Metric, u64)>);

impl Counts {
    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.0.pop().map(|(metric, amount)| Effect::Add(metric, amount))
    }

    pub(super) fn add(&mut self, metric: Metric, amount: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => self.0.push((metric, amount)),
        }
    }
}

impl Tally for Counts {
    fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_told_once() {
        let mut counts = Counts::default();
        counts.count(Metric::RedisConnects);
        counts.count(Metric::RedisDisconnects);
        counts.count(Metric::RedisConnects);
        let mut told: Vec<_> = std::iter::from_fn(|| counts.pop()).collect();
        told.sort_by_key(|effect| format!("{effect:?}"));
        let add = Effect::Add;
        assert_eq!(told, [add(Metric::RedisConnects, 2), add(Metric::RedisDisconnects, 1)]);
        assert_eq!(counts.pop(), None);
    }
}
