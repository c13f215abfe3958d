//! The report as people read it: a table in Markdown, and what it was measured with.

use std::fmt;

use super::Report;
use super::summary::{Spread, Summary};

/// The name of a column and how it is filled.
type Column = (&'static str, fn(&Summary) -> String);

const COLUMNS: &[Column] = &[
    ("req/s", |it| range(it.throughput, 0)),
    ("× plain", |it| range(it.throughput_ratio, 2)),
    ("CPU µs/req", |it| range(it.cpu, 1)),
    ("× plain", |it| range(it.cpu_ratio, 2)),
    ("Envoy", |it| median(it.proxy_cpu, 1)),
    ("Redis", |it| median(it.redis_cpu, 1)),
    ("Webdis", |it| median(it.webdis_cpu, 1)),
    ("Redis calls/req", |it| median(it.redis_calls, 3)),
    ("p50 ms", |it| median(it.p50, 2)),
    ("p99 ms", |it| median(it.p99, 2)),
    ("max ms", |it| median(it.max, 1)),
    ("local", |it| format!("{:.2} %", 100.0 * it.without_redis.max)),
    ("busy", |it| format!("{:.0} %", 100.0 * it.busy.median)),
    ("waited", |it| format!("{:.0} %", 100.0 * it.waited.median)),
    ("RSS MB", |it| format!("{:.0}", it.resident.median / 1e6)),
];

const LEGEND: &str = "\
× plain: compared with plain Envoy in the same round. CPU µs/req: of the proxy's process, the \
Redis primary and Webdis, the upstream's and wrk's left out. Latency: in a closed loop, so mostly of waiting \
for a busy proxy. local: requests decided without Redis although it has the say, in the worst \
round. busy: share of one core that the proxy used; waited: share of the time in which other \
processes kept it off that core.";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<_> = COLUMNS.iter().map(|(title, _)| *title).collect();
        writeln!(f, "| system | {} |", titles.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(COLUMNS.len()))?;
        for system in &self.systems {
            let fill = |(_, cell): &Column| cell(&system.summary);
            let cells: Vec<_> = COLUMNS.iter().map(fill).collect();
            writeln!(f, "| {} | {} |", system.about, cells.join(" | "))?;
        }
        let (load, machine) = (self.load, &self.machine);
        writeln!(
            f,
            "\nMedian (smallest–largest) of {} rounds of {} s per system, in turns; GET {} with {} \
             connections of {} threads. {LEGEND}",
            self.rounds, load.seconds, self.path, load.connections, load.threads
        )?;
        let cores =
            if self.proxy_has_a_core { "the proxy on one of its own" } else { "not divided" };
        writeln!(
            f,
            "\n{} cores, {cores}, {}, Linux {}",
            machine.cores, machine.cpu, machine.kernel
        )?;
        writeln!(f, "Envoy {}, Redis {}, wrk {}", machine.envoy, machine.redis, machine.wrk)?;
        writeln!(f, "meliproxy {}", machine.commit)
    }
}

fn median(spread: Spread, digits: usize) -> String {
    format!("{:.digits$}", spread.median)
}

fn range(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_their_digits() {
        let spread = Spread { median: 1.25, min: 1.0, max: 10.005 };
        assert_eq!(median(spread, 1), "1.2");
        assert_eq!(range(spread, 2), "1.25 (1.00–10.01)");
        assert_eq!(range(spread, 0), "1 (1–10)");
    }
}
