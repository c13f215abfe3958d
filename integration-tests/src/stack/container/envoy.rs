//! An Envoy in a container: configured when it starts, told of changed rules while it runs, and taken out of service
//! before it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{ADMIN_PORT, HTTP_PORT, PURGE_PORT, anywhere, here};
use crate::stack::admin;
use crate::stack::config_publisher::{FILTER_FILE, Publisher};
use crate::stack::envoy::{Listener, ReplicaSettings, arguments, render_edge, render_replica};
use crate::stack::error::Error;
use crate::stack::host_port::HostPort;
use crate::stack::options::StackOptions;
use crate::stack::origin::Origin;
use crate::stack::say::Line;
use crate::stack::state::{StateFolder, write_atomically};
use crate::stack::wait::{Cancel, Wait};

/// Time between two looks at Envoy, at the file with the rules, and for a signal.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long the edges may take to notice that a replica leaves: their interval between two health checks, its jitter,
/// and the time one may take (`envoy/edge.yaml`), and some.
const NOTICE: Duration = Duration::from_secs(2);

/// How long requests under way may then take. With [`NOTICE`] below what Docker waits before it kills (10 s).
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long Envoy may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Requests under way, of listeners as `envoy/edge.yaml` and `envoy/replica.yaml` call them.
const ACTIVE: &str = "/stats?filter=^http\\.(edge|replica)\\.downstream_rq_active$";

/// What an Envoy is for.
#[derive(Debug)]
pub enum Role {
    /// Spreads requests over all replicas that a name stands for.
    Edge {
        /// The name.
        replicas: HostPort,
    },
    /// Counts, and asks the upstream.
    Replica {
        /// The API.
        upstream: Origin,
        /// All data nodes, of which one is the primary.
        redis: Vec<HostPort>,
    },
}

/// Runs an Envoy until it ends or a message comes on `stop`; with `options` for the templates, the filter, the file with
/// the rules, which may change, and the folder for what is made of them.
///
/// # Errors
/// [`Error::Config`] for rules that are not valid, and what keeps Envoy from being started.
pub fn serve(role: &Role, options: &StackOptions, stop: &Receiver<()>) -> Result<ExitCode, Error> {
    let state = StateFolder::claim(&options.state)?;
    let name = hostname()?;
    let mut publisher = match role {
        Role::Edge { .. } => None,
        Role::Replica { .. } => Some(published(options, &state)?),
    };
    let access_log = Path::new("/dev/stdout");
    let callout_socket = &state.socket(&name);
    let (http, admin) = (anywhere(HTTP_PORT), anywhere(ADMIN_PORT));
    let purge = here(PURGE_PORT);
    let listener = Listener { name: &name, http, admin, purge, access_log, callout_socket };
    let bootstrap = match role {
        Role::Edge { replicas } => render_edge(options, &listener, slice::from_ref(replicas))?,
        Role::Replica { upstream, redis } => {
            let filter = &state.path(FILTER_FILE);
            let redis = redis.clone();
            let (origin, wasm) = (upstream, &options.wasm);
            let settings = ReplicaSettings { origin, redis, redis_password: None, wasm, filter };
            render_replica(options, &listener, &settings)?
        }
    };
    let file = state.path("envoy.yaml");
    write_atomically(&file, bootstrap.as_bytes(), 0o644)?;
    let mut envoy = Command::new("envoy")
        .args(arguments(&file, &name, options.workers))
        .spawn()
        .map_err(Error::io("starting", Path::new("envoy")))?;
    while stop.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if let Some(status) = envoy.try_wait().map_err(watching)? {
            (options.say)(Line::Problem(&format!("envoy ended: {status}")));
            return Ok(ExitCode::FAILURE);
        }
        if let Some(publisher) = &mut publisher {
            publisher.look();
        }
    }
    leave(options);
    end(&mut envoy)?;
    Ok(ExitCode::SUCCESS)
}

fn published(options: &StackOptions, state: &StateFolder) -> Result<Publisher, Error> {
    let mut publisher = Publisher::of(options.config.clone(), options.wasm.clone(), options, state);
    publisher.begin()?;
    Ok(publisher)
}

/// What Docker calls this container.
fn hostname() -> Result<String, Error> {
    let file = PathBuf::from("/proc/sys/kernel/hostname");
    let name = fs::read_to_string(&file).map_err(Error::io("reading", &file))?;
    Ok(name.trim().to_owned())
}

/// Answers health checks with 503 from now on, which has the edges send nothing more, and lets requests under way end.
fn leave(options: &StackOptions) {
    let say = |text: &str| (options.say)(Line::Progress(text));
    if let Err(error) = admin::post(here(ADMIN_PORT), "/healthcheck/fail") {
        // It does not serve yet, or not any more.
        return say(&format!("stopping at once: {error}"));
    }
    say("leaving: what is under way goes on");
    let begun = Instant::now();
    let ended = || match admin::get(here(ADMIN_PORT), ACTIVE) {
        _ if begun.elapsed() < NOTICE => Err("the edges may not have noticed".to_owned()),
        Ok(stats) if active(&stats) > 0 => Err(format!("{} requests", active(&stats))),
        Ok(_) | Err(_) => Ok(()),
    };
    if let Err(error) = wait("what is under way", NOTICE + DRAIN_LIMIT, ended) {
        say(&error.to_string());
    }
}

fn wait<T>(
    what: &str,
    limit: Duration,
    probe: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    Wait { limit, interval: LOOK_INTERVAL, cancel: &Cancel::default() }.until(what, probe)
}

/// The sum of all values, by Envoy's page `/stats`.
fn active(stats: &str) -> u64 {
    let values = stats.lines().filter_map(|line| line.rsplit_once(": "));
    values.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

fn end(envoy: &mut Child) -> Result<ExitStatus, Error> {
    if let Ok(pid) = i32::try_from(envoy.id()) {
        // Fails for a process that has just ended, which is as good.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let ended = || match envoy.try_wait() {
        Ok(Some(status)) => Ok(Ok(status)),
        Ok(None) => Err("it runs".to_owned()),
        Err(error) => Ok(Err(error)),
    };
    if let Ok(outcome) = wait("envoy to end", STOP_LIMIT, ended) {
        return outcome.map_err(watching);
    }
    envoy.kill().map_err(watching)?;
    envoy.wait().map_err(watching)
}

fn watching(source: io::Error) -> Error {
    Error::Io { what: "watching envoy".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_under_way_are_added_up() {
        let stats = "http.edge.downstream_rq_active: 2\nhttp.replica.downstream_rq_active: 40\n";
        assert_eq!(active(stats), 42);
        assert_eq!(active(""), 0);
    }
}
