//! Others that limit, without anything of meliproxy: filters that Envoy brings, and a gateway to Redis.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Error;
use crate::stack::{
    Cancel, Envoy, Process, Redis, RedisNode, Reply, Spec, StackOptions, free_address, repository,
};

/// Where the filters of a bootstrap end.
const ROUTER: &str = "          - name: envoy.filters.http.router\n";

/// How long Webdis may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts the replica of `folder` again, with the `filter` before its router, and a `cluster` more.
pub(super) fn install(
    folder: &Path,
    replica: &Envoy,
    filter: &str,
    cluster: &str,
) -> Result<(), Error> {
    let file = folder.join(format!("{}.yaml", replica.name()));
    let text = fs::read_to_string(&file).map_err(Error::io("reading", &file))?;
    let text = text.replacen(ROUTER, &format!("{filter}{ROUTER}"), 1) + cluster;
    replica.stop();
    fs::write(&file, text).map_err(Error::io("writing", &file))?;
    Ok(replica.start()?)
}

/// The text of the file `name` beside this one, with `values` filled in.
pub(super) fn text(name: &str, values: &[(&str, &str)]) -> Result<String, Error> {
    let file = path(name);
    let text = fs::read_to_string(&file).map_err(Error::io("reading", &file))?;
    let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    Ok(values.iter().fold(text, fill))
}

pub(super) fn path(name: &str) -> PathBuf {
    repository().join("integration-tests/src/bench/peers").join(name)
}

/// Puts the script of the quota into Redis, and returns what it is called by.
pub(super) fn load_script(primary: &RedisNode) -> Result<String, Error> {
    let reply = primary.ask(&["SCRIPT", "LOAD", &text("webdis.lua", &[])?])?;
    Ok(Reply::text(&reply).unwrap_or_default().to_owned())
}

/// Webdis, in `folder`, before the primary; and where it listens.
pub(super) fn start_webdis(
    folder: &Path,
    redis: &Redis,
    primary: SocketAddr,
) -> Result<(Process, SocketAddr), Error> {
    let address = free_address()?;
    let config = json!({
        "redis_host": primary.ip().to_string(),
        "redis_port": primary.port(),
        "redis_auth": redis.password(),
        "http_host": address.ip().to_string(),
        "http_port": address.port(),
        "threads": 1,
        "pool_size": 10,
        "daemonize": false,
        "database": 0,
        "acl": [],
        "verbosity": 2,
        "logfile": folder.join("webdis.log"),
    });
    let file = folder.join("webdis.json");
    fs::write(&file, config.to_string()).map_err(Error::io("writing", &file))?;
    let process = Process::new(Spec {
        name: "webdis".to_owned(),
        program: StackOptions::new(folder).tool("webdis"),
        args: vec![file.into()],
        env: Vec::new(),
        log: folder.join("webdis.out"),
        prepare: Box::new(|| Ok(())),
        ready: Box::new(move || {
            TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        }),
        limit: START_LIMIT,
        cancel: Cancel::default(),
    });
    process.start()?;
    Ok((process, address))
}
