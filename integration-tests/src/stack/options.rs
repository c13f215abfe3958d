//! What a stack consists of: every knob with its default, checked before anything starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::origin::Upstream;
use super::places::{programs_folder, repository};
use super::say::{Line, Say};
use super::wait::Cancel;

/// Replicas one launcher starts at most: beyond this a machine measures its scheduler, not the proxy.
pub const MAX_REPLICAS: u32 = 32;

/// Workers per Envoy at most, for the same reason.
pub const MAX_WORKERS: u32 = 64;

/// What to start. Each setter takes the value that replaces the default.
#[derive(Clone)]
pub struct StackOptions {
    pub(crate) replicas: u32,
    pub(crate) workers: u32,
    pub(crate) edge_port: u16,
    pub(crate) config: PathBuf,
    pub(crate) upstream: Upstream,
    pub(crate) redis: bool,
    pub(crate) state: PathBuf,
    pub(crate) tools: PathBuf,
    pub(crate) wasm: PathBuf,
    pub(crate) templates: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) plain: bool,
    pub(crate) envoy_cache: bool,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) say: Say,
    pub(crate) cancel: Cancel,
}

impl StackOptions {
    /// Three replicas of one worker behind an edge on port 8080, with Redis, the stand-in upstream and the
    /// configuration in `envoy/meliproxy.json`. Logs and live files go to `state`.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        let programs = programs_folder();
        let target = programs.parent().unwrap_or(&programs);
        Self {
            replicas: 3,
            workers: 1,
            edge_port: 8080,
            config: repository().join("envoy/meliproxy.json"),
            upstream: Upstream::StandIn,
            redis: true,
            state: state.to_owned(),
            tools: std::env::var_os("MELIPROXY_TOOLS")
                .map_or_else(|| repository().join(".tools"), PathBuf::from),
            wasm: target.join("wasm32-wasip1/release/meliproxy.wasm"),
            templates: repository().join("envoy"),
            programs,
            plain: false,
            envoy_cache: false,
            env: Vec::new(),
            say: Arc::new(|_| ()),
            cancel: Cancel::default(),
        }
    }

    /// Number of replica Envoys, 1 to [`MAX_REPLICAS`] (3).
    #[must_use]
    pub fn replicas(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    /// Envoy's `--concurrency`, for each replica and the edge, 1 to [`MAX_WORKERS`] (1).
    #[must_use]
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// The edge's port on 127.0.0.1 (8080); 0 lets the system choose.
    #[must_use]
    pub fn edge_port(self, edge_port: u16) -> Self {
        Self { edge_port, ..self }
    }

    /// The configuration to begin with; it is copied, and the copy is what can be edited.
    #[must_use]
    pub fn config(self, config: &Path) -> Self {
        Self { config: config.to_owned(), ..self }
    }

    /// What the replicas send requests to ([`Upstream::StandIn`]).
    #[must_use]
    pub fn upstream(self, upstream: Upstream) -> Self {
        Self { upstream, ..self }
    }

    /// Whether to start Redis and Sentinel (yes). Without, the configuration's `redis` section is left out.
    #[must_use]
    pub fn redis(self, redis: bool) -> Self {
        Self { redis, ..self }
    }

    /// The folder whose `bin` holds `envoy` and `redis-server` (the environment's `MELIPROXY_TOOLS`, else `.tools`).
    #[must_use]
    pub fn tools(self, tools: &Path) -> Self {
        Self { tools: tools.to_owned(), ..self }
    }

    /// The filter (`target/wasm32-wasip1/release/meliproxy.wasm`).
    #[must_use]
    pub fn wasm(self, wasm: &Path) -> Self {
        Self { wasm: wasm.to_owned(), ..self }
    }

    /// The folder of Envoy's templates (`envoy` in the repository).
    #[must_use]
    pub fn templates(self, templates: &Path) -> Self {
        Self { templates: templates.to_owned(), ..self }
    }

    /// Whether to leave the filter out, so that the replicas are ordinary Envoys to compare with (no).
    #[must_use]
    pub fn plain(self, plain: bool) -> Self {
        Self { plain, ..self }
    }

    /// Whether each replica has Envoy's own HTTP cache, for itself alone, beside the filter (no).
    #[must_use]
    pub fn envoy_cache(self, envoy_cache: bool) -> Self {
        Self { envoy_cache, ..self }
    }

    /// One more environment variable for the replicas.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where progress and problems are said (nowhere).
    #[must_use]
    pub fn say(self, say: impl Fn(Line<'_>) + Send + Sync + 'static) -> Self {
        Self { say: Arc::new(say), ..self }
    }

    /// A flag that ends a start early.
    #[must_use]
    pub fn cancel(self, cancel: Cancel) -> Self {
        Self { cancel, ..self }
    }

    /// Checks what can be checked before anything is started or written.
    ///
    /// # Errors
    /// [`Error::Option`] with the option, what was given and what is allowed; [`Error::Missing`] for files.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_topology()?;
        present("Envoy", &self.tool("envoy"), "scripts/setup")?;
        if self.redis {
            present("Redis", &self.tool("redis-server"), "scripts/setup")?;
        }
        if matches!(self.upstream, Upstream::StandIn) {
            let remedy = "cargo build --locked --profile tools -p integration-tests --bins";
            present("the stand-in upstream", &self.stand_in(), remedy)?;
        }
        if !self.plain {
            let remedy = "cargo build --locked --release --target wasm32-wasip1 -p meliproxy --lib";
            present("the filter", &self.wasm, remedy)?;
        }
        Ok(())
    }

    /// The part of [`Self::validate`] that templates depend on.
    pub(crate) fn validate_topology(&self) -> Result<(), Error> {
        within("--replicas", self.replicas, MAX_REPLICAS)?;
        within("--workers", self.workers, MAX_WORKERS)?;
        present("the configuration", &self.config, "another file with --config")?;
        if let Upstream::Url(origin) = &self.upstream
            && let Some(authorities) = origin.authorities()
        {
            let remedy = "install the package ca-certificates, or name a file with --upstream-ca";
            present("the file of certificate authorities", authorities, remedy)?;
        }
        Ok(())
    }

    /// The program `name` of the tools.
    #[must_use]
    pub fn tool(&self, name: &str) -> PathBuf {
        self.tools.join("bin").join(name)
    }

    /// The template `name`.
    pub(crate) fn template(&self, name: &str) -> PathBuf {
        self.templates.join(name)
    }

    pub(crate) fn stand_in(&self) -> PathBuf {
        self.programs.join("upstream")
    }
}

impl fmt::Debug for StackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackOptions").field("state", &self.state).finish_non_exhaustive()
    }
}

fn within(option: &'static str, found: u32, max: u32) -> Result<(), Error> {
    if (1..=max).contains(&found) {
        return Ok(());
    }
    Err(Error::Option {
        option,
        found: found.to_string(),
        allowed: format!("allowed are 1 to {max}"),
    })
}

fn present(what: &str, path: &Path, remedy: &str) -> Result<(), Error> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::Missing { what: what.into(), path: path.to_owned(), remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(options: &StackOptions) -> String {
        options.validate().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn counts_are_within_their_limits() {
        let options = StackOptions::new(Path::new("/s"));
        for (replicas, refused) in [(0, true), (1, false), (32, false), (33, true)] {
            let text = complaint(&options.clone().replicas(replicas));
            assert_eq!(text.starts_with("--replicas: "), refused, "{replicas}: {text}");
        }
        for (workers, refused) in [(0, true), (1, false), (64, false), (65, true)] {
            let text = complaint(&options.clone().workers(workers));
            assert_eq!(text.starts_with("--workers: "), refused, "{workers}: {text}");
        }
        assert_eq!(complaint(&options.replicas(33)), "--replicas: 33; allowed are 1 to 32");
    }

    #[test]
    fn missing_files_are_named_with_what_brings_them() {
        let options = StackOptions::new(Path::new("/s"));
        let text = complaint(&options.clone().config(Path::new("/no/such.json")));
        assert!(text.contains("/no/such.json") && text.contains("--config"), "{text}");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let text = complaint(&options.config(&manifest).tools(Path::new("/no")));
        assert!(text.contains("/no/bin/envoy") && text.contains("scripts/setup"), "{text}");
    }
}
