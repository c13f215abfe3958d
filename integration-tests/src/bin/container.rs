//! What the containers of `compose/` run: Envoy and Redis, configured as `scripts/up` does it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use clap::{Args, Parser, Subcommand, ValueEnum};
use integration_tests::stack::container::{
    Node, Part, Role, become_node, become_sentinel, healthy, serve,
};
use integration_tests::stack::{Error, HostPort, Line, Origin, StackOptions};
use integration_tests::terminal::{tell, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Starts what one container of the demo is for, and tells whether it serves.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
    /// Folder of what is made at the start, such as Envoy's configuration.
    #[arg(long, value_name = "DIR", default_value = "/run/meliproxy", global = true)]
    state: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run an Envoy that spreads requests over the replicas.
    Edge {
        /// The name of all replicas.
        #[arg(long, value_name = "HOST:PORT")]
        replicas: HostPort,
        #[command(flatten)]
        envoy: Envoy,
    },
    /// Run an Envoy with the filter.
    Replica {
        /// The API: http://HOST or https://HOST, or either with :PORT.
        #[arg(long, value_name = "URL")]
        upstream: String,
        /// A Redis node; once for each.
        #[arg(long, value_name = "HOST:PORT", required = true)]
        redis: Vec<HostPort>,
        /// The live rules: the replica follows when the file changes, and keeps its rules if it is not valid.
        #[arg(long, value_name = "FILE", default_value = "/etc/meliproxy/meliproxy.json")]
        config: PathBuf,
        #[command(flatten)]
        envoy: Envoy,
    },
    /// Become a Redis node; the password is in MELIPROXY_REDIS_PASSWORD.
    Redis {
        /// How the others reach it.
        #[arg(long, value_name = "HOST:PORT")]
        name: HostPort,
        /// Whose replica it is, unless the Sentinels say otherwise.
        #[arg(long, value_name = "HOST:PORT")]
        replica_of: Option<HostPort>,
        /// The name of all Sentinels.
        #[arg(long, value_name = "HOST:PORT")]
        sentinels: HostPort,
    },
    /// Become a Sentinel; the password is in MELIPROXY_REDIS_PASSWORD.
    Sentinel {
        /// Which node is the primary, unless the other Sentinels say otherwise.
        #[arg(long, value_name = "HOST:PORT")]
        primary: HostPort,
        /// The name of all Sentinels.
        #[arg(long, value_name = "HOST:PORT")]
        sentinels: HostPort,
    },
    /// Tell by the exit status whether the part in this container serves.
    Healthy {
        /// Which part it is.
        part: PartName,
    },
}

#[derive(Debug, Args)]
struct Envoy {
    /// Worker threads.
    #[arg(long, value_name = "W", default_value_t = 1)]
    workers: u32,
    /// Folder of Envoy's templates.
    #[arg(long, value_name = "DIR", default_value = "/usr/share/meliproxy/envoy")]
    templates: PathBuf,
    /// The filter.
    #[arg(long, value_name = "FILE", default_value = "/usr/share/meliproxy/meliproxy.wasm")]
    wasm: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PartName {
    Envoy,
    Redis,
    Sentinel,
    Upstream,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Envoy => Self::Envoy,
            PartName::Redis => Self::Redis,
            PartName::Sentinel => Self::Sentinel,
            PartName::Upstream => Self::Upstream,
        }
    }
}

fn main() -> ExitCode {
    run(Arguments::parse()).unwrap_or_else(|error| {
        warn(format_args!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let state = &arguments.state;
    let options = |envoy: &Envoy| {
        StackOptions::new(state)
            .workers(envoy.workers)
            .templates(&envoy.templates)
            .wasm(&envoy.wasm)
            .say(|line| match line {
                Line::Progress(text) => tell(text),
                Line::Problem(text) => warn(text),
            })
    };
    match arguments.command {
        Subcommands::Edge { replicas, envoy } => {
            serve(&Role::Edge { replicas }, &options(&envoy), &on_signal()?)
        }
        Subcommands::Replica { upstream, redis, config, envoy } => {
            let role = Role::Replica { upstream: Origin::parse(&upstream)?, redis };
            serve(&role, &options(&envoy).config(&config), &on_signal()?)
        }
        Subcommands::Redis { name, replica_of, sentinels } => {
            let node = Node { own: name, primary: replica_of, sentinels };
            become_node(&node, state).map(|never| match never {})
        }
        Subcommands::Sentinel { primary, sentinels } => {
            become_sentinel(&primary, &sentinels, state).map(|never| match never {})
        }
        Subcommands::Healthy { part } => healthy(part.into()).map(|()| ExitCode::SUCCESS),
    }
}

/// A message for the first signal that asks to stop.
fn on_signal() -> Result<mpsc::Receiver<()>, Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|source| Error::Io { what: "listening for signals".into(), source })?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for _ in signals.forever() {
            // Nobody listens any more: it is stopping already.
            let _ = sender.send(());
        }
    });
    Ok(receiver)
}
