//! The live configuration: a file anybody may edit, checked, and handed to all replicas at once.
//!
//! Envoy watches for a rename onto its own file and takes in whatever appears there. So people edit another file, in any
//! way their editor does it; only what is valid and has stopped changing is published.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meliproxy::config::{Config, Transport};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::live_config;
use super::options::StackOptions;
use super::say::{Line, Say};
use super::state::{StateFolder, write_atomically};
use super::template::{self, Sections};

/// What became of the last configuration that was looked at (`config-status.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Whether the replicas were given it.
    pub state: ConfigState,
    /// Which one it was, see [`version`].
    pub version: String,
    /// What is wrong with it, each with the path of the field; empty if published.
    pub problems: Vec<String>,
}

/// Whether a configuration was handed to the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigState {
    /// The replicas were given it.
    Published,
    /// It is not valid; what was published before stays.
    Refused,
}

/// Looks at the live file, and publishes it.
pub(crate) struct Publisher {
    live: PathBuf,
    pub(crate) filter: PathBuf,
    pub(crate) wasm: PathBuf,
    template: PathBuf,
    status: PathBuf,
    log: PathBuf,
    say: Say,
    /// What the last look saw, if it had not been judged: judged once the next look sees the same.
    seen: Option<Vec<u8>>,
    /// What was published or refused last.
    judged: Vec<u8>,
}

impl Publisher {
    /// Of the stack in `state`: puts the configuration given in `options` where it can be edited, and the code it is
    /// published with where no build changes it.
    pub(crate) fn new(options: &StackOptions, state: &StateFolder) -> Result<Self, Error> {
        let live = state.path(LIVE_FILE);
        live_config::prepare(&options.config, &live, options.redis)?;
        let wasm =
            if options.plain { options.wasm.clone() } else { copy_wasm(&options.wasm, state)? };
        Ok(Self::of(live, wasm, options, state))
    }

    /// Publishes what stands in `live`, which is not copied first, for a filter whose code is in `wasm`.
    pub(crate) fn of(
        live: PathBuf,
        wasm: PathBuf,
        options: &StackOptions,
        state: &StateFolder,
    ) -> Self {
        Self {
            live,
            wasm,
            template: options.template(FILTER_FILE),
            filter: state.path(FILTER_FILE),
            status: state.path(STATUS_FILE),
            log: state.log("config"),
            say: Arc::clone(&options.say),
            seen: None,
            judged: Vec::new(),
        }
    }

    /// Whether workers show a connection to Redis before their first request, by what was published last.
    pub(crate) fn shows_connections(&self) -> bool {
        let redis = Config::parse(&self.judged).ok().and_then(|config| config.redis);
        redis.is_some_and(|redis| redis.transport == Transport::Stream)
    }

    /// Publishes what the live file holds now.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not valid: there are no older rules that could stay.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        self.judged = fs::read(&self.live).map_err(Error::io("reading", &self.live))?;
        let status = self.judge()?;
        if status.state == ConfigState::Published {
            self.tell(&status)?;
            return self.note(&status);
        }
        self.note(&status)?;
        Err(Error::Config { problems: status.problems })
    }

    /// To be called again and again: publishes a changed file once two looks have seen the same.
    pub(crate) fn look(&mut self) {
        let Ok(content) = fs::read(&self.live) else {
            // In the middle of a rename, or gone: the rules in force stay either way.
            self.seen = None;
            return;
        };
        if content == self.judged {
            self.seen = None;
        } else if self.seen.as_ref() == Some(&content) {
            self.seen = None;
            self.judged = content;
            if let Err(error) = self.judge_aloud() {
                (self.say)(Line::Problem(&error.to_string()));
            }
        } else {
            self.seen = Some(content);
        }
    }

    fn judge_aloud(&self) -> Result<(), Error> {
        let status = self.judge()?;
        self.tell(&status)?;
        self.note(&status)
    }

    /// Checks what stands in `judged`, and publishes it if it is valid.
    fn judge(&self) -> Result<ConfigStatus, Error> {
        let version = version(&self.judged);
        let text = match check(&self.judged) {
            Ok(text) => text,
            Err(problems) => {
                return Ok(ConfigStatus { state: ConfigState::Refused, version, problems });
            }
        };
        let filter = render_filter(&self.template, text, &self.wasm)?;
        write_atomically(&self.filter, filter.as_bytes(), 0o644)?;
        Ok(ConfigStatus { state: ConfigState::Published, version, problems: Vec::new() })
    }

    /// Says the outcome aloud, and in the log.
    fn tell(&self, status: &ConfigStatus) -> Result<(), Error> {
        let mut lines = status.problems.clone();
        let verdict = match status.state {
            ConfigState::Published => format!("config: published version {}", status.version),
            ConfigState::Refused => "config: refused; the rules in force stay".to_owned(),
        };
        lines.push(verdict);
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io("opening", &self.log))?;
        for line in &lines {
            (self.say)(match status.state {
                ConfigState::Published => Line::Progress(line),
                ConfigState::Refused => Line::Problem(line),
            });
            writeln!(log, "{line}").map_err(Error::io("writing", &self.log))?;
        }
        Ok(())
    }

    /// Notes the outcome where programs look. Last: who waits for it finds everything else done.
    fn note(&self, status: &ConfigStatus) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(status).unwrap_or_default();
        write_atomically(&self.status, &text, 0o644)
    }
}

/// Copies the filter to a name that says which build it is: Envoy loads code by name, and a build that goes on while
/// the stack runs must not change what a restarted replica loads.
fn copy_wasm(wasm: &Path, state: &StateFolder) -> Result<PathBuf, Error> {
    let code = fs::read(wasm).map_err(Error::io("reading", wasm))?;
    let copy = state.path(&format!("meliproxy-{}.wasm", version(&code)));
    write_atomically(&copy, &code, 0o644)?;
    Ok(copy)
}

/// Names a configuration: the first 12 hex digits of the SHA-256 of its bytes.
#[must_use]
pub fn version(content: &[u8]) -> String {
    Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The filter as Envoy takes it in, with the rules in `config`, from the file `path`.
pub(crate) fn render_filter(path: &Path, config: &str, wasm: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let values = [
        ("VERSION", template::quoted(version(config.as_bytes()))),
        ("WASM_FILE", template::quoted(wasm)),
        ("CONFIG", template::quoted(config)),
    ];
    let sections = Sections { meliproxy: true, envoy_cache: false };
    template::render(FILTER_FILE, &text, sections, &values)
}

/// The text of a valid configuration, or everything that is wrong with it.
fn check(content: &[u8]) -> Result<&str, Vec<String>> {
    let named = |problem: &dyn fmt::Display| format!("{LIVE_FILE}: {problem}");
    if let Err(errors) = Config::parse(content) {
        return Err(errors.to_string().lines().map(|problem| named(&problem)).collect());
    }
    std::str::from_utf8(content).map_err(|error| vec![named(&error)])
}

/// Name of the live configuration file in the state folder.
pub(crate) const LIVE_FILE: &str = "meliproxy.json";

/// Name of the file that says what became of it.
pub(crate) const STATUS_FILE: &str = "config-status.json";

/// Name of the file that Envoy watches.
pub(crate) const FILTER_FILE: &str = "filter.yaml";
