//! What a benchmark ran on and with: numbers mean little without it.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::stack::{StackOptions, repository};

/// The machine and the versions of all that took part. `unknown` is what could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Cores that may be used.
    pub cores: usize,
    /// As the kernel names it.
    pub cpu: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Version of Envoy.
    pub envoy: String,
    /// Version of Redis.
    pub redis: String,
    /// Version of wrk.
    pub wrk: String,
    /// The repository's commit; `-dirty` with changes that are not committed.
    pub commit: String,
}

impl Machine {
    /// This one, and the programs of `tools`.
    pub(super) fn look(tools: &StackOptions) -> Self {
        let version = |name: &str, option: &str| {
            let text = said(Command::new(tools.tool(name)).arg(option));
            version_number(&text)
        };
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
        let commit = said(Command::new("git").current_dir(repository()).args(describe));
        Self {
            cores: thread::available_parallelism().map_or(1, Into::into),
            cpu: known(model(&cpu_info)),
            kernel: known(fs::read_to_string("/proc/sys/kernel/osrelease").ok()),
            envoy: known(version("envoy", "--version")),
            redis: known(version("redis-server", "--version")),
            wrk: known(version("wrk", "-v")),
            commit: known(Some(commit)),
        }
    }
}

/// What a command writes; nothing if it fails. wrk -v ends with status 1 all the same.
fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

/// The first number with a dot in it, after `version:` if that is there: before it stands Envoy's
/// path.
fn version_number(text: &str) -> Option<String> {
    let text = text.split_once("version:").map_or(text, |(_, rest)| rest);
    let mut words = text.split(|c: char| c != '.' && !c.is_ascii_digit());
    words.find(|word| word.trim_matches('.').contains('.')).map(str::to_owned)
}

fn model(cpu_info: &str) -> Option<String> {
    let line = cpu_info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.to_owned())
}

fn known(found: Option<String>) -> String {
    match found.as_deref().map(str::trim) {
        None | Some("") => "unknown".to_owned(),
        Some(text) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_model_of_the_first_core() {
        let text =
            "processor\t: 0\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n";
        assert_eq!(known(model(text)), "AMD EPYC");
        assert_eq!(known(model("processor\t: 0\n")), "unknown");
    }

    #[test]
    fn versions_as_programs_write_them() {
        let number = |text| known(version_number(text));
        let envoy = "\n/opt/v1.2/envoy  version: 9e5580933739/1.40.0/Clean/RELEASE/BoringSSL\n";
        assert_eq!(number(envoy), "1.40.0");
        assert_eq!(number("Redis server v=7.0.15 sha=00000000:0 bits=64"), "7.0.15");
        assert_eq!(number("wrk debian/4.1.0-3+b2 [epoll]\n  --version  Print version\n"), "4.1.0");
        assert_eq!(number("not found."), "unknown");
    }

    #[test]
    fn what_cannot_be_found_is_said_to_be_unknown() {
        let nowhere = Path::new("/nowhere");
        let machine = Machine::look(&StackOptions::new(nowhere).tools(nowhere));
        assert_eq!((machine.envoy.as_str(), machine.wrk.as_str()), ("unknown", "unknown"));
        assert!(machine.cores > 0);
    }
}
