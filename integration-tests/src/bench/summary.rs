//! What many intervals of one system come to.

use serde::Serialize;

use super::measure::Sample;

/// Middle and ends of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// One system over all rounds; fields as in [`Sample`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "they are documented there")]
pub struct Summary {
    pub throughput: Spread,
    /// Throughput divided by that of plain Envoy in the same round: noise of the machine hits both.
    pub throughput_ratio: Spread,
    pub proxy_cpu: Spread,
    pub redis_cpu: Spread,
    pub webdis_cpu: Spread,
    /// CPU time of proxy, Redis primary and Webdis.
    pub cpu: Spread,
    /// The same divided by that of plain Envoy in the same round.
    pub cpu_ratio: Spread,
    pub redis_calls: Spread,
    pub without_redis: Spread,
    pub busy: Spread,
    pub waited: Spread,
    pub p50: Spread,
    pub p99: Spread,
    pub max: Spread,
    pub resident: Spread,
}

impl Summary {
    /// Of `samples`, each compared with the one of `plain` at the same place.
    pub(super) fn new(samples: &[Sample], plain: &[Sample]) -> Self {
        let spread = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        let ratio = |value: fn(&Sample) -> f64| {
            let pairs = samples.iter().zip(plain);
            Spread::of(pairs.map(|(sample, plain)| value(sample) / value(plain)))
        };
        Self {
            throughput: spread(|it| it.throughput),
            throughput_ratio: ratio(|it| it.throughput),
            proxy_cpu: spread(|it| it.proxy_cpu),
            redis_cpu: spread(|it| it.redis_cpu),
            webdis_cpu: spread(|it| it.webdis_cpu),
            cpu: spread(Sample::cpu),
            cpu_ratio: ratio(Sample::cpu),
            redis_calls: spread(|it| it.redis_calls),
            without_redis: spread(|it| it.without_redis),
            busy: spread(|it| it.busy),
            waited: spread(|it| it.waited),
            p50: spread(|it| it.p50),
            p99: spread(|it| it.p99),
            max: spread(|it| it.max),
            resident: spread(|it| it.resident),
        }
    }
}

impl Spread {
    /// All zero without values.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            min: at(0),
            max: at(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = |values: &[f64]| {
            let it = Spread::of(values.iter().copied());
            (it.median, it.min, it.max)
        };
        assert_eq!(spread(&[3.0, 1.0, 9.0]), (3.0, 1.0, 9.0));
        assert_eq!(spread(&[4.0, 1.0, 9.0, 2.0]), (3.0, 1.0, 9.0));
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let sample = |throughput: f64, proxy_cpu: f64| Sample {
            throughput,
            proxy_cpu,
            redis_cpu: 10.0,
            webdis_cpu: 0.0,
            redis_calls: 1.0,
            without_redis: 0.0,
            busy: 1.0,
            waited: 0.0,
            p50: 1.0,
            p99: 2.0,
            max: 3.0,
            resident: 1.0,
        };
        // The machine is twice as slow in the second round: the ratios stay.
        let plain = [sample(100.0, 90.0), sample(50.0, 190.0)];
        let other = [sample(50.0, 190.0), sample(25.0, 390.0)];
        let summary = Summary::new(&other, &plain);
        assert_eq!(summary.throughput_ratio.min, 0.5);
        assert_eq!(summary.throughput_ratio.max, 0.5);
        assert_eq!((summary.cpu_ratio.min, summary.cpu_ratio.max), (2.0, 2.0));
        assert_eq!(summary.throughput.median, 37.5);
        assert_eq!((summary.cpu.min, summary.cpu.max), (200.0, 400.0));
    }
}
