//! Redis as a fleet needs it: a primary, a replica, and three Sentinels that agree on which is which.
//!
//! Each node has a folder with its own complete `redis.conf`, so that it can be restarted by hand. Nothing is written to
//! disk: the counters live for minutes. Sentinel rewrites these files when roles change.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::host_port::HostPort;
use super::process::Process;
use super::redis_connection::{Reply, ask};

/// The name the Sentinels watch the primary under.
pub const PRIMARY_NAME: &str = "meli";

/// Sentinels in a stack: the fewest of which one may be lost.
pub(crate) const SENTINELS: usize = 3;

/// How many of them must agree that the primary is gone.
pub(crate) const QUORUM: usize = 2;

/// The nodes and who watches them.
#[derive(Debug)]
pub struct Redis {
    pub(crate) nodes: Vec<RedisNode>,
    pub(crate) sentinels: Vec<RedisNode>,
    pub(crate) password: Arc<str>,
}

/// One `redis-server`: a data node or a Sentinel.
#[derive(Debug)]
pub struct RedisNode {
    pub(crate) process: Arc<Process>,
    pub(crate) address: SocketAddr,
    pub(crate) config: PathBuf,
    pub(crate) password: Arc<str>,
}

impl Redis {
    /// Data node `index`: 0 began as the primary, 1 as its replica.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "documented; the caller knows that there are two")]
    pub fn node(&self, index: usize) -> &RedisNode {
        &self.nodes[index]
    }

    /// All data nodes.
    #[must_use]
    pub fn nodes(&self) -> &[RedisNode] {
        &self.nodes
    }

    /// All Sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisNode] {
        &self.sentinels
    }

    /// The password of nodes and Sentinels, user `default`.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The data node that most Sentinels take for the primary now.
    #[must_use]
    pub fn primary(&self) -> Option<&RedisNode> {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.address).collect();
        let primary = elected_primary(&sentinels, &self.password)?;
        self.nodes.iter().find(|node| HostPort::from(node.address) == primary)
    }

    /// Whether a failover would succeed: each Sentinel talks to the replica and to the other Sentinels.
    pub(crate) fn watched(&self) -> Result<(), (&Process, String)> {
        self.sentinels.iter().try_for_each(|sentinel| {
            let lacking = |lacking| (&**sentinel, format!("{} {lacking}", sentinel.name()));
            watches(sentinel.address, &self.password).map_err(lacking)
        })
    }
}

impl RedisNode {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Sends one command over a connection of its own and returns the reply; at most 2 s per step.
    ///
    /// # Errors
    /// [`Error::Request`] with what the node or the system said.
    pub fn ask(&self, command: &[&str]) -> Result<Reply, Error> {
        ask(self.address, &self.password, command).map_err(|cause| Error::Request {
            what: format!("{} to {}", command.join(" "), self.name()),
            cause: cause.to_string(),
        })
    }
}

impl Deref for RedisNode {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// Whether a Sentinel talks to the replica and to the other Sentinels; `Err` says to how many.
pub(crate) fn watches(sentinel: SocketAddr, password: &str) -> Result<(), String> {
    let known =
        |what| ask(sentinel, password, &["SENTINEL", what, PRIMARY_NAME]).unwrap_or(Reply::Null);
    let replicas = known("REPLICAS").count("master-link-status", "ok");
    let others = known("SENTINELS").count("flags", "sentinel");
    if (replicas, others) == (1, SENTINELS - 1) {
        return Ok(());
    }
    Err(format!("talks to {replicas} replicas and {others} sentinels"))
}

/// What most of `sentinels` take for the primary now.
pub(crate) fn elected_primary(sentinels: &[SocketAddr], password: &str) -> Option<HostPort> {
    let vote = |sentinel: &SocketAddr| -> Option<HostPort> {
        let command = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME];
        let Reply::Array(parts) = ask(*sentinel, password, &command).ok()? else {
            return None;
        };
        let [host, port] = &parts[..] else {
            return None;
        };
        Some(HostPort::new(host.text()?, port.text()?.parse().ok()?))
    };
    let votes: Vec<_> = sentinels.iter().filter_map(vote).collect();
    let agreed =
        |primary: &&HostPort| votes.iter().filter(|vote| vote == primary).count() >= QUORUM;
    votes.iter().find(agreed).cloned()
}
