//! A Redis node or a Sentinel in a container. They know each other by name: a container that comes back may have another
//! address. What they write into their configurations themselves lasts as long as the container.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{REDIS_PORT, SENTINEL_PORT, anywhere, password};
use crate::stack::error::Error;
use crate::stack::host_port::HostPort;
use crate::stack::redis::elected_primary;
use crate::stack::redis_config;
use crate::stack::redis_start::take_elected_role;
use crate::stack::state::write_atomically;

/// A data node.
#[derive(Debug)]
pub struct Node {
    /// How the others reach it.
    pub own: HostPort,
    /// Whose replica it is if no Sentinel says otherwise; `None`: it is the primary.
    pub primary: Option<HostPort>,
    /// All Sentinels, by the one name they have.
    pub sentinels: HostPort,
}

/// Becomes a Redis node, in the role that the Sentinels say if there are any; its files are in `folder`.
///
/// # Errors
/// [`Error::Option`] without a password, [`Error::Io`] if it cannot be started.
pub fn become_node(node: &Node, folder: &Path) -> Result<Infallible, Error> {
    let password = password()?;
    let config = folder.join("redis.conf");
    let text = || {
        let text = redis_config::server(anywhere(REDIS_PORT), folder, &password)
            + &redis_config::node(&password)
            + &redis_config::announced_as(&node.own);
        redis_config::with_role(&text, node.primary.as_ref())
    };
    write_unless_there(&config, text)?;
    take_elected_role(&addresses(&node.sentinels), &password, &config, &node.own)?;
    become_server(&config, &[])
}

/// Becomes a Sentinel that watches what the others take for the primary, or else `primary`; its files are in `folder`.
///
/// # Errors
/// As [`become_node`].
pub fn become_sentinel(
    primary: &HostPort,
    sentinels: &HostPort,
    folder: &Path,
) -> Result<Infallible, Error> {
    let password = password()?;
    let config = folder.join("sentinel.conf");
    let text = || {
        let elected = elected_primary(&addresses(sentinels), &password);
        redis_config::server(anywhere(SENTINEL_PORT), folder, &password)
            + redis_config::BY_NAME
            + &redis_config::sentinel(&password, elected.as_ref().unwrap_or(primary))
    };
    write_unless_there(&config, text)?;
    become_server(&config, &["--sentinel".as_ref()])
}

/// What a container wrote before it was restarted has the roles of then, which no new file would have.
fn write_unless_there(config: &PathBuf, text: impl FnOnce() -> String) -> Result<(), Error> {
    if fs::exists(config).map_err(Error::io("looking for", config))? {
        return Ok(());
    }
    write_atomically(config, text().as_bytes(), 0o600)
}

/// All addresses a name has now; none if nobody has it.
fn addresses(name: &HostPort) -> Vec<SocketAddr> {
    (name.host(), name.port()).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
}

fn become_server(config: &Path, options: &[&OsStr]) -> Result<Infallible, Error> {
    let program = Path::new("redis-server");
    Err(Error::io("starting", program)(Command::new(program).arg(config).args(options).exec()))
}
