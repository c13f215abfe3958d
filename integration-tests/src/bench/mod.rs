//! The benchmark: what meliproxy costs beside plain Envoy, measured side by side.
//!
//! A small machine that does other things too gives no number twice, so nothing is compared across
//! runs: all systems are up at once, every round drives each of them in turn, and each is compared
//! with plain Envoy *of the same round*. What is compared first is CPU time per request, which
//! other processes disturb far less than they do throughput.
//!
//! Rounds are many and short, because noise comes in spells of seconds: on two cores shared with
//! compilers, the ratio of three exact rules to plain Envoy came out as 2.35 with a standard error
//! of 0.14 from 5 rounds of 5 s, and as 1.96 with one of 0.04 from 25 rounds of 1 s, in the same
//! time.
//!
//! Each system is one Envoy with one worker, driven directly and not through an edge, in front of
//! the same stand-in upstream, which runs in this process. The proxy has a core for itself
//! (`cores`).

mod cores;
mod load;
mod machine;
mod measure;
mod peer;
mod summary;
mod system;
mod table;
mod usage;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use serde::Serialize;

use self::cores::Cores;
pub use self::load::{Load, Outcome, PATH};
pub use self::machine::Machine;
pub use self::measure::Sample;
use self::measure::measure;
pub use self::summary::{Spread, Summary};
use self::system::Running;
pub use self::system::{SYSTEMS, System};
pub use self::usage::resident_bytes;
use crate::{stack, upstream};

/// Length of the intervals that come before the first round and are not counted, in seconds.
const WARM_UP_SECONDS: u32 = 2;

/// What to measure and how thoroughly.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is compared; the first is what the others are compared with.
    pub systems: Vec<System>,
    /// How often each system is measured.
    pub rounds: u32,
    /// How each is driven.
    pub load: Load,
    /// Holds the folders of the systems, with their logs.
    pub folder: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it ran on.
    pub machine: Machine,
    /// The path that was asked for.
    pub path: &'static str,
    /// [`Options::rounds`].
    pub rounds: u32,
    /// [`Options::load`].
    pub load: Load,
    /// Whether the proxy under test had a core for itself; not so on a machine with one.
    pub proxy_has_a_core: bool,
    /// [`Options::systems`].
    pub systems: Vec<SystemReport>,
}

/// What came of one system.
#[derive(Debug, Clone, Serialize)]
pub struct SystemReport {
    /// [`System::name`].
    pub name: &'static str,
    /// [`System::about`].
    pub about: &'static str,
    /// All rounds together.
    pub summary: Summary,
    /// Each round.
    pub samples: Vec<Sample>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system could not be started or asked.
    #[error(transparent)]
    Stack(#[from] stack::Error),
    /// The stand-in upstream could not be started.
    #[error(transparent)]
    Upstream(#[from] upstream::StartError),
    /// A system did what it should not: whatever was measured is not what was meant.
    #[error("{system}: {problem}")]
    System {
        /// [`System::name`].
        system: &'static str,
        /// What was seen, and what was expected.
        problem: String,
    },
    /// wrk did not do its work.
    #[error("wrk ended with {status} and without a report; it said: {said}")]
    Load {
        /// How it ended.
        status: ExitStatus,
        /// All it said.
        said: String,
    },
    /// The kernel refused to divide the cores.
    #[error("dividing the cores: {0}")]
    Cores(io::Error),
    /// A file or a program could not be used.
    #[error("{what}: {cause}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
}

impl Error {
    /// A closure for `map_err` that says what was being done to which file.
    fn io<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |cause| Self::Io { what: format!("{doing} {}", path.display()), cause }
    }
}

/// Starts all systems, measures them, and stops them. Progress goes to `say`.
///
/// The calling thread keeps off the proxy's core from then on.
///
/// # Errors
/// [`Error`], among them any answer that a system should not have given.
pub fn run(options: &Options, say: impl Fn(&str)) -> Result<Report, Error> {
    let tools = stack::StackOptions::new(&options.folder);
    let machine = Machine::look(&tools);
    let cores = Cores::split()?;
    if let Some(cores) = &cores {
        cores.leave_the_proxy_s()?;
    }
    let upstream = upstream::Upstream::start(&upstream_options())?;
    let start = |system: &System| -> Result<Running, Error> {
        say(&format!("starting {} ({}) …", system.name, system.about));
        let running = system.start(&options.folder, upstream.address())?;
        if let Some(cores) = &cores {
            cores.give_the_proxy_s(running.proxy()?)?;
        }
        Ok(running)
    };
    let running: Vec<_> = options.systems.iter().map(start).collect::<Result<_, _>>()?;

    let wrk = tools.tool("wrk");
    let warm_up = Load { seconds: options.load.seconds.min(WARM_UP_SECONDS), ..options.load };
    for system in &running {
        measure(system, &wrk, &warm_up)?;
        say(&format!("warm-up  {}", system.system.name));
    }
    let mut samples = vec![Vec::new(); running.len()];
    for round in 0..options.rounds {
        for (system, samples) in in_turn(round, running.iter().zip(&mut samples)) {
            let sample = measure(system, &wrk, &options.load)?;
            say(&format!(
                "round {}/{}  {:<14} {:>7.0} req/s {:>7.1} µs CPU/req",
                round + 1,
                options.rounds,
                system.system.name,
                sample.throughput,
                sample.cpu(),
            ));
            samples.push(sample);
        }
    }
    let plain = samples.first().cloned().unwrap_or_default();
    let system_report = |(system, samples): (&System, Vec<Sample>)| SystemReport {
        name: system.name,
        about: system.about,
        summary: Summary::new(&samples, &plain),
        samples,
    };
    Ok(Report {
        machine,
        path: PATH,
        rounds: options.rounds,
        load: options.load,
        proxy_has_a_core: cores.is_some(),
        systems: options.systems.iter().zip(samples).map(system_report).collect(),
    })
}

/// The order of a round: each begins with another one, and every second goes backwards, so that no
/// system always comes after the same.
fn in_turn<T>(round: u32, all: impl Iterator<Item = T>) -> Vec<T> {
    let mut order: Vec<_> = all.collect();
    if !order.is_empty() {
        let first = round as usize % order.len();
        order.rotate_left(first);
    }
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn upstream_options() -> upstream::Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    upstream::Options { listen: any, control: any, tls: None, threads: NonZeroUsize::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_in_another_order() {
        let order = |round| in_turn(round, ["a", "b", "c"].into_iter()).concat();
        assert_eq!([order(0), order(1), order(2), order(3)], ["abc", "acb", "cab", "cba"]);
        assert!(in_turn(5, [(); 0].into_iter()).is_empty());
    }

    #[test]
    fn names_of_systems_are_unique_and_the_first_is_plain() {
        let mut names: Vec<_> = SYSTEMS.iter().map(|system| system.name).collect();
        assert_eq!(names.first(), Some(&"plain"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SYSTEMS.len());
    }
}
