//! meliproxy's topology as processes of this machine: one edge Envoy, replicas, Redis with Sentinel, and an upstream.
//!
//! One implementation for `scripts/up`, the integration tests and the benchmark, so that what is tested is what people
//! start. Everything listens on 127.0.0.1 and on ports the system chooses, except the edge. A part starts when the parts
//! it needs to know have their addresses: Redis, upstream, replicas, edge. Nothing outlives the launcher.

mod admin;
mod config_publisher;
pub mod container;
mod endpoints;
mod envoy;
mod error;
mod host_port;
mod live_config;
mod options;
mod origin;
mod places;
mod ports;
mod process;
mod readiness;
mod redis;
mod redis_config;
mod redis_connection;
mod redis_start;
mod rendering;
mod say;
mod shell;
mod spawner;
mod stand_in;
mod state;
mod supervisor;
mod template;
mod wait;

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

pub use self::config_publisher::{ConfigState, ConfigStatus, version};
pub use self::endpoints::{Endpoints, EnvoyEndpoint, RedisEndpoint};
pub use self::envoy::Envoy;
pub use self::error::{Error, PartFailure};
pub use self::host_port::HostPort;
pub use self::options::{MAX_REPLICAS, MAX_WORKERS, StackOptions};
pub use self::origin::{Origin, Upstream};
pub use self::places::repository;
pub(crate) use self::ports::free_address;
pub use self::process::Process;
pub(crate) use self::process::Spec;
pub use self::redis::{PRIMARY_NAME, Redis, RedisNode};
pub use self::redis_connection::Reply;
pub use self::rendering::render;
pub use self::say::{Line, Say};
pub use self::stand_in::StandIn;
pub use self::state::{LAUNCHER_LOG, StateFolder};
pub use self::wait::{Cancel, wait_until};

use self::config_publisher::{LIVE_FILE, Publisher, STATUS_FILE};
use self::envoy::{ReplicaSettings, start_edge, start_replicas};
use self::state::{ENDPOINTS, write_atomically};
use self::supervisor::{Supervisor, Watch};

/// How long a written configuration may wait to be looked at: some looks of the publisher.
const PUBLISH_LIMIT: Duration = Duration::from_secs(5);

/// A running stack. Dropping it stops everything.
pub struct Stack {
    // Dropped in this order: nothing is said about what then stops on purpose.
    _watch: Watch,
    supervisor: Arc<Supervisor>,
    edge: Envoy,
    replicas: Vec<Envoy>,
    redis: Option<Redis>,
    stand_in: Option<StandIn>,
    origin: Origin,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

/// What every part's start needs.
pub(crate) struct Context {
    pub(crate) options: StackOptions,
    supervisor: Arc<Supervisor>,
}

impl Context {
    pub(crate) fn state(&self) -> &StateFolder {
        self.supervisor.state()
    }

    pub(crate) fn launch(&self, what: &str, spec: Spec) -> Result<Arc<Process>, Error> {
        self.supervisor.launch(what, spec)
    }
}

impl Stack {
    /// Starts everything and returns once the edge takes all replicas for healthy and all workers reach Redis, as far as
    /// that can be seen before the first request.
    ///
    /// # Errors
    /// The first part that fails, see [`Error`]; what had been started is stopped.
    pub fn start(options: StackOptions) -> Result<Self, Error> {
        options.validate()?;
        let state = StateFolder::claim(&options.state)?;
        if options.edge_port != 0 {
            ports::ensure_free(options.edge_port)?;
        }
        let supervisor = Arc::new(Supervisor::new(state, Arc::clone(&options.say)));
        let context = Context { options, supervisor };
        let options = &context.options;
        let state = context.state();

        let mut publisher = Publisher::new(options, state)?;
        publisher.begin()?;
        let redis = options.redis.then(|| redis_start::start(&context)).transpose()?;
        let (stand_in, origin) = match &options.upstream {
            Upstream::StandIn => {
                let stand_in = StandIn::start(&context)?;
                let origin = Origin::plain(stand_in.http());
                (Some(stand_in), origin)
            }
            Upstream::Url(origin) => (None, origin.clone()),
        };
        let settings = ReplicaSettings {
            origin: &origin,
            redis: redis.iter().flat_map(Redis::nodes).map(|node| node.address().into()).collect(),
            redis_password: redis.as_ref().map(Redis::password),
            wasm: &publisher.wasm,
            filter: &publisher.filter,
        };
        let replicas = start_replicas(&context, &settings)?;
        let edge = start_edge(&context, &replicas)?;
        let connects = options.redis && !options.plain && publisher.shows_connections();
        let stack = Self {
            _watch: Watch::start(Arc::clone(&context.supervisor), publisher),
            supervisor: Arc::clone(&context.supervisor),
            edge,
            replicas,
            redis,
            stand_in,
            origin,
        };
        stack.wait_until_ready(options, connects)?;
        let endpoints = serde_json::to_vec_pretty(&stack.endpoints()).unwrap_or_default();
        write_atomically(&state.path(ENDPOINTS), &endpoints, 0o644)?;
        Ok(stack)
    }

    /// What clients talk to.
    #[must_use]
    pub fn edge(&self) -> &Envoy {
        &self.edge
    }

    /// Replica `index`, from 0.
    ///
    /// # Panics
    /// If there is no such replica.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "documented; the caller chose how many there are")]
    pub fn replica(&self, index: usize) -> &Envoy {
        &self.replicas[index]
    }

    /// All replicas.
    #[must_use]
    pub fn replicas(&self) -> &[Envoy] {
        &self.replicas
    }

    /// Redis and Sentinel, if the stack has them.
    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// The stand-in upstream, unless a real one is used.
    #[must_use]
    pub fn stand_in(&self) -> Option<&StandIn> {
        self.stand_in.as_ref()
    }

    /// Where everything listens now; `endpoints.json` says it for the time the stack came up.
    #[must_use]
    pub fn endpoints(&self) -> Endpoints {
        Endpoints::of(self)
    }

    /// What became of the last live configuration that was looked at.
    ///
    /// # Errors
    /// [`Error::Io`] if the status file cannot be read.
    pub fn config_status(&self) -> Result<ConfigStatus, Error> {
        let path = self.supervisor.state().path(STATUS_FILE);
        let bytes = fs::read(&path).map_err(Error::io("reading", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::io("reading", &path)(error.into()))
    }

    /// Writes the live configuration and waits until it was published or refused.
    ///
    /// The replicas take it over a moment after it was published.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it was not looked at within 5 s.
    pub fn write_config(&self, text: &str) -> Result<ConfigStatus, Error> {
        let path = self.supervisor.state().path(LIVE_FILE);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
        let wanted = version(text.as_bytes());
        wait_until("the configuration to be looked at", PUBLISH_LIMIT, || {
            let status = self.config_status().map_err(|error| error.to_string())?;
            if status.version == wanted { Ok(status) } else { Err(format!("{status:?}")) }
        })
    }
}
