//! Measures meliproxy beside plain Envoy; `scripts/bench` is made of it.

use std::error::Error;
use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::value_parser;
use integration_tests::bench::{Load, Options, SYSTEMS, System, run};
use integration_tests::stack::repository;
use integration_tests::terminal::{tell, warn};

/// Throughput, CPU per request and latency of meliproxy beside plain Envoy, measured in turns in
/// one run.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How often each system is measured.
    #[arg(long, value_name = "R", default_value_t = 25, value_parser = within(1..=1000))]
    rounds: u32,
    /// Length of one measurement, in seconds.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = within(1..=600))]
    seconds: u32,
    /// Five rounds of one second: enough to see whether it works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Connections of the load.
    #[arg(long, value_name = "C", default_value_t = 32, value_parser = within(1..=10_000))]
    connections: u32,
    /// Threads of the load.
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = within(1..=64))]
    threads: u32,
    /// Only these systems beside plain Envoy, with commas between them.
    #[arg(long, value_name = "SYSTEMS", value_delimiter = ',', value_parser = system_parser())]
    systems: Vec<System>,
    /// Where all numbers go [default: target/bench/latest.json].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let folder = repository().join("target/bench");
    let json = arguments.json.clone().unwrap_or_else(|| folder.join("latest.json"));
    if let Some(folder) = json.parent() {
        // Now rather than after minutes of measuring.
        fs::create_dir_all(folder)
            .map_err(|error| format!("making the folder {}: {error}", folder.display()))?;
    }
    let report = run(&arguments.options(folder), |line| warn(line))?;
    tell(&report);
    let text = serde_json::to_string_pretty(&report)? + "\n";
    fs::write(&json, text).map_err(|error| format!("writing {}: {error}", json.display()))?;
    warn(format_args!("all numbers: {}", json.display()));
    Ok(())
}

impl Arguments {
    fn options(&self, folder: PathBuf) -> Options {
        let wanted = |(index, system): &(usize, &System)| {
            *index == 0
                || self.systems.is_empty()
                || self.systems.iter().any(|it| it.name == system.name)
        };
        let systems = SYSTEMS.iter().enumerate().filter(wanted);
        let (rounds, seconds) = if self.quick { (5, 1) } else { (self.rounds, self.seconds) };
        Options {
            systems: systems.map(|(_, system)| *system).collect(),
            rounds,
            load: Load { threads: self.threads, connections: self.connections, seconds },
            folder,
        }
    }
}

fn within(range: RangeInclusive<i64>) -> impl TypedValueParser<Value = u32> {
    value_parser!(u32).range(range)
}

fn system_parser() -> impl TypedValueParser<Value = System> {
    PossibleValuesParser::new(SYSTEMS.iter().map(|system| system.name)).try_map(|name| {
        let found = SYSTEMS.iter().find(|system| system.name == name);
        found.copied().ok_or("no such system")
    })
}
