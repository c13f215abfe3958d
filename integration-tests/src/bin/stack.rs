//! Starts and stops meliproxy's native topology; `scripts/up` and `scripts/down` are made of it.

#![allow(rustdoc::bare_urls, reason = "the comments on options are the text of --help")]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use integration_tests::stack::{
    Cancel, Endpoints, Error, LAUNCHER_LOG, Line, Origin, Stack, StackOptions, StateFolder,
    Upstream, render, repository, wait_until,
};
use integration_tests::terminal::{tell, warn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long `down` waits: what parts get to end by themselves, and as much again.
const DOWN_LIMIT: Duration = Duration::from_secs(20);

/// How long a launcher in the background may take: the limits of its parts, one after the other, and more.
const DETACH_LIMIT: Duration = Duration::from_secs(300);

/// What a shell answers for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// meliproxy's native topology: edge, replicas, Redis with Sentinel, stand-in upstream.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Start everything, and stop it on Ctrl-C.
    Up(Up),
    /// Stop what `up` started.
    Down {
        /// Folder of logs and live files.
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Write the rendered Envoy files, with sample ports, to a folder.
    Render {
        /// Where to write them.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        topology: Topology,
    },
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    topology: Topology,
    /// Port of the edge on 127.0.0.1; 0 lets the system choose.
    #[arg(long, value_name = "P", default_value_t = 8080)]
    port: u16,
    /// Return once it serves; `scripts/down` stops it.
    #[arg(long)]
    detach: bool,
    /// Folder of logs and live files [default: .run in the repository].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What `--detach` starts: a session of its own, no summary.
    #[arg(long, hide = true)]
    background: bool,
}

#[derive(Debug, Args)]
struct Topology {
    /// Number of replica Envoys, 1 to 32.
    #[arg(long, value_name = "N", default_value_t = 3)]
    replicas: u32,
    /// Worker threads of each Envoy, 1 to 64.
    #[arg(long, value_name = "W", default_value_t = 1)]
    workers: u32,
    /// Configuration to begin with [default: envoy/meliproxy.json].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A real API instead of the stand-in, such as https://api.example.com.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Certificate authorities (PEM) for --upstream instead of the system's.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_ca: Option<PathBuf>,
    /// Leave Redis out: each process counts for itself.
    #[arg(long)]
    no_redis: bool,
    /// Give each replica Envoy's own HTTP cache, for itself alone.
    #[arg(long)]
    envoy_cache: bool,
}

impl Topology {
    fn options(&self, state: &Path) -> Result<StackOptions, Error> {
        let mut options = StackOptions::new(state)
            .replicas(self.replicas)
            .workers(self.workers)
            .redis(!self.no_redis)
            .envoy_cache(self.envoy_cache);
        if let Some(config) = &self.config {
            options = options.config(config);
        }
        if let Some(url) = &self.upstream {
            let mut origin = Origin::parse(url)?;
            if let Some(authorities) = &self.upstream_ca {
                origin = origin.trusting(authorities);
            }
            options = options.upstream(Upstream::Url(origin));
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Subcommands::Up(up) if up.detach => detach(&up),
        Subcommands::Up(up) => serve(&up),
        Subcommands::Down { state } => down(&state_folder(state.as_deref())),
        Subcommands::Render { out, topology } => rendered(&topology, &out),
    };
    outcome.unwrap_or_else(|error| {
        if matches!(error, Error::Interrupted) {
            tell("stopped");
            return ExitCode::from(INTERRUPTED);
        }
        warn(format_args!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn state_folder(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| repository().join(".run"), Path::to_owned)
}

fn serve(up: &Up) -> Result<ExitCode, Error> {
    if up.background {
        // Fails only for a process that leads a session already.
        let _ = setsid();
    }
    let cancel = Cancel::default();
    let stop = on_signal(cancel.clone())?;
    let options = up.topology.options(&state_folder(up.state.as_deref()))?.edge_port(up.port);
    let stack = Stack::start(options.cancel(cancel).say(|line| match line {
        Line::Progress(text) => tell(text),
        Line::Problem(text) => warn(text),
    }))?;
    if !up.background {
        tell(format_args!("\n{}\n\nCtrl-C stops all of it.", stack.endpoints()));
    }
    // The sender lives in a thread that never ends.
    let _ = stop.recv();
    tell("stopping …");
    drop(stack);
    tell("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Starts this program again in the background, and shows what it says until it serves or fails.
fn detach(up: &Up) -> Result<ExitCode, Error> {
    let state = state_folder(up.state.as_deref());
    if let Some(pid) = StateFolder::holder(&state)? {
        return Err(Error::Running { state, pid });
    }
    let logs = state.join("logs");
    fs::create_dir_all(&logs).map_err(io_error("making the folder", &logs))?;
    let log = logs.join(LAUNCHER_LOG);
    let output = File::create(&log).map_err(io_error("writing", &log))?;
    let error_output = output.try_clone().map_err(io_error("writing", &log))?;
    let mut said = File::open(&log).map_err(io_error("reading", &log))?;
    let program = std::env::current_exe().map_err(io_error("finding", Path::new("stack")))?;
    let cancel = Cancel::default();
    let interrupted = on_signal(cancel)?;
    let mut launcher = Command::new(program)
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--detach"))
        .arg("--background")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(error_output)
        .spawn()
        .map_err(io_error("starting", Path::new("stack")))?;
    let serves = wait_until("the stack to serve", DETACH_LIMIT, || {
        if interrupted.try_recv().is_ok() {
            terminate(&launcher.id().to_string());
        }
        let ended = launcher.try_wait().map_err(|error| error.to_string())?.is_some();
        let endpoints = Endpoints::read(&state).ok();
        show(&mut said);
        match endpoints.filter(|endpoints| endpoints.supervisor == launcher.id()) {
            Some(endpoints) => Ok(Some(endpoints)),
            None if ended => Ok(None),
            None => Err(format!("see {}", log.display())),
        }
    })?;
    let Some(endpoints) = serves else {
        return Ok(ExitCode::FAILURE);
    };
    let state = shell_argument(up.state.as_deref());
    tell(format_args!("\n{endpoints}\n\nIt runs in the background: scripts/down{state} stops it."));
    Ok(ExitCode::SUCCESS)
}

/// Copies what has been added to the launcher's log since the last call.
fn show(log: &mut File) {
    let mut text = Vec::new();
    if log.read_to_end(&mut text).is_ok() {
        // Nobody reads: the stack comes up all the same.
        let _ = io::stdout().write_all(&text);
    }
}

fn shell_argument(state: Option<&Path>) -> String {
    state.map_or_else(String::new, |state| format!(" --state '{}'", state.display()))
}

fn down(state: &Path) -> Result<ExitCode, Error> {
    let Some(pid) = StateFolder::holder(state)? else {
        tell(format_args!("no stack runs in {}", state.display()));
        return Ok(ExitCode::SUCCESS);
    };
    tell(format_args!("stopping the stack of process {pid} …"));
    terminate(&pid);
    wait_until("its end", DOWN_LIMIT, || match StateFolder::holder(state) {
        Ok(None) => Ok(()),
        Ok(Some(pid)) => {
            Err(format!("process {pid} runs; kill -9 {pid} takes all its parts along"))
        }
        Err(error) => Err(error.to_string()),
    })?;
    tell("stopped");
    Ok(ExitCode::SUCCESS)
}

fn rendered(topology: &Topology, out: &Path) -> Result<ExitCode, Error> {
    let folder = std::path::absolute(out).map_err(io_error("finding", out))?;
    render(&topology.options(&folder)?, &folder)?;
    Ok(ExitCode::SUCCESS)
}

fn terminate(pid: &str) {
    if let Ok(pid) = pid.parse() {
        // Fails for a process that has just ended, which is as good.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

fn io_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let what = format!("{doing} {}", path.display());
    |source| Error::Io { what, source }
}

/// A message for the first signal that asks to stop; `cancel` ends a start that is still going on.
fn on_signal(cancel: Cancel) -> Result<mpsc::Receiver<()>, Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|source| Error::Io { what: "listening for signals".into(), source })?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for _ in signals.forever() {
            cancel.cancel();
            // Nobody listens any more: it is stopping already.
            let _ = sender.send(());
        }
    });
    Ok(receiver)
}
