//! `endpoints.json`: where everything of a running stack listens, for people and for programs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Stack;
use super::config_publisher::{LIVE_FILE, STATUS_FILE};
use super::envoy::Envoy;
use super::error::Error;
use super::redis::{Redis, RedisNode};
use super::redis_start::PASSWORD_FILE;
use super::shell::shell_word;
use super::state::ENDPOINTS;

/// Addresses are `host:port`, files are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// What clients talk to.
    pub edge: EnvoyEndpoint,
    /// The replicas behind it.
    pub replicas: Vec<EnvoyEndpoint>,
    /// The Redis data nodes, the first primary first; empty without Redis.
    pub redis: Vec<RedisEndpoint>,
    /// The Sentinels.
    pub sentinels: Vec<String>,
    /// What the replicas send requests to.
    pub upstream: String,
    /// The same as a URL.
    pub upstream_url: String,
    /// Where the stand-in upstream is told how to behave; absent for a real one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_control: Option<String>,
    /// Process id of the stand-in upstream, if it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_pid: Option<u32>,
    /// The live configuration: edit it, and the replicas follow.
    pub config: PathBuf,
    /// What became of the last edit.
    pub config_status: PathBuf,
    /// Holds the password of Redis and Sentinel; absent without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_password: Option<PathBuf>,
    /// The folder of all logs.
    pub logs: PathBuf,
    /// Process id of the launcher: SIGTERM stops everything.
    pub supervisor: u32,
}

/// One Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvoyEndpoint {
    /// Such as `replica-1`.
    pub name: String,
    /// Process id, 0 if it does not run.
    pub pid: u32,
    /// Where it serves.
    pub http: String,
    /// Its admin page.
    pub admin: String,
    /// Where a replica is told what to invalidate (`PURGE`); the edge has no such place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purge: Option<String>,
}

/// One Redis node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisEndpoint {
    /// Such as `redis-1`.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Process id, 0 if it does not run.
    pub pid: u32,
    /// Its configuration file: `redis-server` with it starts the node again.
    pub config: PathBuf,
}

impl Endpoints {
    /// Of a stack as it runs now.
    pub(crate) fn of(stack: &Stack) -> Self {
        let state = stack.supervisor.state();
        let nodes = |nodes: fn(&Redis) -> &[RedisNode]| stack.redis.iter().flat_map(nodes);
        Self {
            edge: EnvoyEndpoint::of(&stack.edge),
            replicas: stack.replicas.iter().map(EnvoyEndpoint::of_replica).collect(),
            redis: nodes(Redis::nodes).map(RedisEndpoint::of).collect(),
            sentinels: nodes(Redis::sentinels).map(|node| node.address().to_string()).collect(),
            upstream: stack.origin.address(),
            upstream_url: stack.origin.to_string(),
            upstream_control: stack.stand_in.as_ref().map(|it| it.control().to_string()),
            upstream_pid: stack.stand_in.as_ref().and_then(|it| it.pid()),
            config: state.path(LIVE_FILE),
            config_status: state.path(STATUS_FILE),
            redis_password: stack.redis.is_some().then(|| state.path(PASSWORD_FILE)),
            logs: state.path("logs"),
            supervisor: std::process::id(),
        }
    }

    /// Reads what the stack in the folder `state` wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none, or it is not what this version writes.
    pub fn read(state: &Path) -> Result<Self, Error> {
        let path = state.join(ENDPOINTS);
        let bytes = std::fs::read(&path).map_err(Error::io("reading", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::io("reading", &path)(error.into()))
    }
}

impl EnvoyEndpoint {
    fn of(envoy: &Envoy) -> Self {
        Self {
            name: envoy.name().to_owned(),
            pid: envoy.pid().unwrap_or_default(),
            http: envoy.http().to_string(),
            admin: envoy.admin().to_string(),
            purge: None,
        }
    }

    fn of_replica(envoy: &Envoy) -> Self {
        Self { purge: Some(envoy.purge().to_string()), ..Self::of(envoy) }
    }
}

impl RedisEndpoint {
    fn of(node: &RedisNode) -> Self {
        Self {
            name: node.name().to_owned(),
            address: node.address().to_string(),
            pid: node.pid().unwrap_or_default(),
            config: node.config().to_owned(),
        }
    }
}

/// What to look at first.
impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "edge        http://{}  (admin http://{})", self.edge.http, self.edge.admin)?;
        for replica in &self.replicas {
            let EnvoyEndpoint { name, http, admin, .. } = replica;
            writeln!(f, "{name:<11} http://{http}  (metrics http://{admin}/stats/prometheus)")?;
        }
        for node in &self.redis {
            writeln!(f, "{:<11} {}", node.name, node.address)?;
        }
        writeln!(f, "upstream    {}", self.upstream_url)?;
        writeln!(f, "rules       {}  (edit it: the replicas follow)", self.config.display())?;
        writeln!(f, "logs        {}", self.logs.display())?;
        let curl = format!("http://{}/categories/MLA97994", self.edge.http);
        write!(f, "\ntry: curl -i {}", shell_word(&curl))
    }
}
