//! The texts of `redis.conf` and `sentinel.conf`.

use std::net::SocketAddr;
use std::path::Path;

use super::host_port::HostPort;
use super::redis::{PRIMARY_NAME, QUORUM};

/// One Sentinel as the others know it. Left alone they find each other, but that takes them seconds.
pub(crate) struct Identity {
    pub(crate) address: SocketAddr,
    /// 40 hex digits, like Redis' run ids.
    pub(crate) id: String,
}

/// What nodes and Sentinels have in common.
pub(crate) fn server(address: SocketAddr, folder: &Path, password: &str) -> String {
    format!(
        r#"bind {ip}
port {port}
dir "{folder}"
daemonize no
# Empty: the standard output.
logfile ""
requirepass {password}
"#,
        ip = address.ip(),
        port = address.port(),
        folder = folder.to_string_lossy().replace('\\', r"\\").replace('"', r#"\""#),
    )
}

/// What makes a data node; its role is in [`replica_of`].
pub(crate) fn node(password: &str) -> String {
    format!(
        r#"masterauth {password}
# Counters live for minutes: nothing goes to disk.
save ""
appendonly no
# A counter must not be thrown away to make room.
maxmemory-policy noeviction
# For Envoy's health check: a user that may ask for the role and nothing else, so it needs no secret.
user health on nopass -@all +role
# A replica takes the primary's data from the socket: a file would come back after a crash, with old counters.
repl-diskless-load swapdb
# A demo, and a failover in a test, should not wait for timers made for large data.
repl-diskless-sync-delay 0
repl-ping-replica-period 1
"#
    )
}

/// Which primary a Sentinel watches.
pub(crate) fn sentinel(password: &str, primary: &HostPort) -> String {
    format!(
        r#"sentinel sentinel-pass {password}
sentinel monitor {PRIMARY_NAME} {host} {port} {QUORUM}
sentinel auth-pass {PRIMARY_NAME} {password}
sentinel down-after-milliseconds {PRIMARY_NAME} 1000
sentinel failover-timeout {PRIMARY_NAME} 5000
sentinel parallel-syncs {PRIMARY_NAME} 1
"#,
        host = primary.host(),
        port = primary.port(),
    )
}

/// Whom a Sentinel watches it with, and the replica. Stands after [`sentinel`].
pub(crate) fn acquaintances<'a>(
    own: &Identity,
    others: impl Iterator<Item = &'a Identity>,
    replica: SocketAddr,
) -> String {
    let mut text = format!(
        "sentinel myid {}\nsentinel known-replica {PRIMARY_NAME} {} {}\n",
        own.id,
        replica.ip(),
        replica.port(),
    );
    for Identity { address, id } in others {
        let (ip, port) = (address.ip(), address.port());
        text += &format!("sentinel known-sentinel {PRIMARY_NAME} {ip} {port} {id}\n");
    }
    text
}

/// The line that makes a node a replica. One line, so that it can be taken out again.
fn replica_of(primary: &HostPort) -> String {
    format!("{REPLICA_OF} {} {}\n", primary.host(), primary.port())
}

const REPLICA_OF: &str = "replicaof";

/// Has the others know a node by `name`, and not by the address it has just now.
pub(crate) fn announced_as(name: &HostPort) -> String {
    format!("replica-announce-ip {}\nreplica-announce-port {}\n", name.host(), name.port())
}

/// Has a Sentinel take names for nodes, and tell of them by their names.
pub(crate) const BY_NAME: &str =
    "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";

/// The configuration `text` with the node as replica of `primary`, or as primary itself.
pub(crate) fn with_role(text: &str, primary: Option<&HostPort>) -> String {
    let kept = text.lines().filter(|line| !line.starts_with(REPLICA_OF));
    let text: String = kept.flat_map(|line| [line, "\n"]).collect();
    text + &primary.map_or_else(String::new, replica_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_role() {
        let primary = HostPort::new("127.0.0.1", 1);
        let replica = with_role("port 2\n", Some(&primary));
        assert_eq!(replica, "port 2\nreplicaof 127.0.0.1 1\n");
        assert_eq!(with_role(&replica, Some(&primary)), replica);
        assert_eq!(with_role(&replica, None), "port 2\n");
    }

    #[test]
    fn folders_may_have_spaces_and_quotes() {
        let text = server(SocketAddr::from(([127, 0, 0, 1], 1)), Path::new(r#"/a b/"c"\d"#), "pw");
        assert!(text.contains(r#"dir "/a b/\"c\"\\d""#), "{text}");
    }
}
