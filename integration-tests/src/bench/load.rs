//! The load: wrk, a closed loop of connections that each send the next request when the last one is
//! answered.
//!
//! A closed loop finds the throughput of a saturated proxy. Its latencies say how long the line in
//! front of that proxy was (connections / throughput), not how long a request takes on an idle one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::stack::repository;

/// What is asked for: a body of 1.4 KB.
pub const PATH: &str = "/categories/MLA97994";

/// The first of the clients that the load consists of (`load.lua`).
pub(super) const FIRST_CLIENT: &str = "10.0.0.0";

/// How hard and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Threads of wrk.
    pub threads: u32,
    /// Connections, shared by the threads.
    pub connections: u32,
    /// Length of one measured interval.
    pub seconds: u32,
}

/// What came of one interval. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    /// Requests that were answered, with whatever status.
    pub requests: u64,
    /// How long the load ran.
    pub duration: u64,
    /// Median latency.
    pub p50: u64,
    /// 99th percentile of latency.
    pub p99: u64,
    /// Longest latency.
    pub max: u64,
    /// Of the answers, those with a status of 400 or more.
    pub refused: u64,
    /// Connections, reads, writes that failed, and requests that took more than 2 s.
    pub failed: u64,
}

impl Load {
    /// Asks `proxy` for `path` as so many `clients`, in turns.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Load`] if wrk does not do its work.
    pub fn run(
        &self,
        wrk: &Path,
        proxy: SocketAddr,
        path: &str,
        clients: u32,
    ) -> Result<Outcome, Error> {
        let output = Command::new(wrk)
            .args(["--threads", &self.threads.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .arg("--script")
            .arg(script())
            .arg(format!("http://{proxy}{path}"))
            .args(["--", &clients.to_string()])
            .output()
            .map_err(Error::io("running", wrk))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Outcome::parse(&text).ok_or_else(|| Error::Load {
            status: output.status,
            said: format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
        })
    }
}

impl Outcome {
    /// From the last line of what wrk says.
    fn parse(text: &str) -> Option<Self> {
        let outcome: Self = serde_json::from_str(text.lines().last()?).ok()?;
        (outcome.requests > 0 && outcome.duration > 0).then_some(outcome)
    }
}

fn script() -> PathBuf {
    repository().join("integration-tests/src/bench/load.lua")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r#"{"requests": 10, "duration": 2000000, "p50": 3, "p99": 4, "max": 5, "#,
        r#""refused": 6, "failed": 7}"#
    );

    #[test]
    fn the_outcome_is_the_last_line() {
        let outcome = Outcome {
            requests: 10,
            duration: 2_000_000,
            p50: 3,
            p99: 4,
            max: 5,
            refused: 6,
            failed: 7,
        };
        assert_eq!(Outcome::parse(&format!("Running 5s test\n{LINE}\n")), Some(outcome));
        assert_eq!(Outcome::parse(&format!("{LINE}\nunable to connect")), None);
        assert_eq!(Outcome::parse(""), None);
    }

    #[test]
    fn no_answer_at_all_is_no_outcome() {
        assert_eq!(Outcome::parse(&LINE.replace("10", "0")), None);
    }
}
