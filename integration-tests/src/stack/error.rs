//! What can go wrong while a stack starts or is driven, said so that a person knows what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a stack could not be started or driven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is outside what is allowed.
    #[error("{option}: {found}; {allowed}")]
    Option {
        /// The option as a user writes it, such as `--replicas`.
        option: &'static str,
        /// What was given.
        found: String,
        /// What would be accepted.
        allowed: String,
    },
    /// A file that something else has to bring is not there.
    #[error("{what} is missing: {}\n  try: {remedy}", path.display())]
    Missing {
        /// What the file is.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The command that brings it.
        remedy: String,
    },
    /// A template holds a placeholder nobody fills, or its sections do not match up.
    #[error("template {template}, line {line}: {problem}")]
    Template {
        /// The template's file name.
        template: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The live configuration is not valid; nothing was published.
    #[error("{}", problems.join("\n"))]
    Config {
        /// Every problem, each with the file, the path of the field, what was found and what is allowed.
        problems: Vec<String>,
    },
    /// Another launcher holds the state folder.
    #[error(
        "{} is in use by the stack of process {pid}\n  try: scripts/down --state '{}', or another folder with --state",
        state.display(), state.display()
    )]
    Running {
        /// The state folder.
        state: PathBuf,
        /// The process that holds it.
        pid: String,
    },
    /// A part did not come up.
    #[error(transparent)]
    Part(Box<PartFailure>),
    /// A condition did not come true in time.
    #[error("waited {limit:?} for {what}; last seen: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What the last look saw instead.
        last: String,
    },
    /// A request to a part (Envoy's admin page, a Redis command) failed.
    #[error("{what}: {cause}")]
    Request {
        /// What was asked, of whom.
        what: String,
        /// What came back instead of an answer.
        cause: String,
    },
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The user asked to stop while the stack was starting.
    #[error("interrupted")]
    Interrupted,
}

/// A part that did not come up, with all that is needed to find out why.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} did not come up: {reason}\n  command: {command}\n  log: {}{}\n  try: {remedy}",
    log.display(), quoted(log_tail)
)]
pub struct PartFailure {
    /// The part, such as `replica-1`.
    pub name: String,
    /// The command line, to repeat it by hand.
    pub command: String,
    /// What was seen: an exit status, or the last state before the limit.
    pub reason: String,
    /// The part's log file.
    pub log: PathBuf,
    /// The last lines of that file.
    pub log_tail: String,
    /// What to do about it.
    pub remedy: String,
}

impl Error {
    /// A closure for `map_err` that says what was being done to which file.
    pub(crate) fn io<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { what: format!("{doing} {}", path.display()), source }
    }

    /// Whether a part failed because its port was taken between being chosen and being bound.
    pub(crate) fn is_port_clash(&self) -> bool {
        matches!(self, Self::Part(failure) if failure.log_tail.contains(PORT_CLASH))
    }
}

/// What Envoy, Redis and the stand-in upstream all write when bind(2) answers EADDRINUSE.
pub(crate) const PORT_CLASH: &str = "Address already in use";

fn quoted(log_tail: &str) -> String {
    if log_tail.is_empty() {
        return " (empty)".to_owned();
    }
    log_tail.lines().fold(", its last lines:".to_owned(), |text, line| text + "\n    | " + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(log_tail: &str) -> Error {
        Error::Part(Box::new(PartFailure {
            name: "replica-1".into(),
            command: "envoy -c x.yaml".into(),
            reason: "exited with status 1".into(),
            log: "/s/logs/replica-1.log".into(),
            log_tail: log_tail.into(),
            remedy: "look".into(),
        }))
    }

    #[test]
    fn a_part_s_error_names_everything_needed_to_act() {
        assert_eq!(
            failure("first\nsecond").to_string(),
            "replica-1 did not come up: exited with status 1\n  command: envoy -c x.yaml\n  \
             log: /s/logs/replica-1.log, its last lines:\n    | first\n    | second\n  try: look"
        );
        assert!(failure("").to_string().contains("replica-1.log (empty)"));
    }

    #[test]
    fn a_port_clash_is_known_by_the_log() {
        assert!(failure("cannot bind '127.0.0.1:1': Address already in use").is_port_clash());
        assert!(!failure("cannot bind '127.0.0.1:1': Permission denied").is_port_clash());
        assert!(!Error::Interrupted.is_port_clash());
    }
}
