//! Ports: chosen by the operating system, and named when somebody else holds one.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::error::Error;

/// Ports this process has handed out already. The system may give a released port again at once; two parts of one
/// stack must not be told the same.
static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// An address on 127.0.0.1 that is free now: bound, noted, released. Whoever binds it next may come too late, see
/// [`retry_port_clash`].
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    let failed = |source| Error::Io { what: "asking for a free port on 127.0.0.1".into(), source };
    let mut handed_out = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let handed_out = handed_out.get_or_insert_default();
    // Held until one is new, so that the system cannot give the same again.
    let mut held = Vec::new();
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if handed_out.insert(address.port()) {
            return Ok(address);
        }
        if held.len() == MAX_HELD {
            handed_out.clear();
        }
        held.push(listener);
    }
}

/// How many ports in a row may be known already before the memory of them is given up.
const MAX_HELD: usize = 64;

/// Runs `start`, and once more if another process took its port between being chosen and being bound.
pub(crate) fn retry_port_clash<T>(start: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    match start() {
        Err(error) if error.is_port_clash() => start(),
        outcome => outcome,
    }
}

/// Makes sure that nobody listens on `port` of 127.0.0.1.
///
/// Envoy binds with SO_REUSEPORT: a second one on the same port would not fail but take half of the connections.
pub(crate) fn ensure_free(port: u16) -> Result<(), Error> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::Option {
            option: "--port",
            found: match holder(port) {
                Some(holder) => format!("{port} is in use by {holder}"),
                None => format!("{port} is in use"),
            },
            allowed: "stop that, or choose another port with --port".into(),
        }),
        Err(error) => Err(Error::Option {
            option: "--port",
            found: format!("{port} cannot be listened on: {error}"),
            allowed: "choose another port, 1024 to 65535".into(),
        }),
    }
}

/// Name and id of the process that listens on `port`, as far as this user may see it.
fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds = |process: &Path| {
        fs::read_dir(process.join("fd")).into_iter().flatten().flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
        })
    };
    let process =
        fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path()).find(|process| {
            process.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok())
                && holds(process)
        })?;
    let command = fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {})", command.trim(), process.file_name()?.to_string_lossy()))
}

/// The inodes of the sockets that listen on `port`, from a table in the form of `/proc/net/tcp` (proc(5)).
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (local.ends_with(&suffix) && state == LISTEN).then(|| inode.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stack::wait_until;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free_address().unwrap().port()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_port_in_use_is_refused_with_its_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = ensure_free(port).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.starts_with(&format!("--port: {port} is in use by ")), "{error}");
        assert!(error.contains(&format!("(process {pid})")), "{error}");
        drop(listener);
        // Other tests fork at the same time, and a child holds the listener until it runs its program.
        let free = || ensure_free(port).map_err(|error| error.to_string());
        wait_until("the port to be free", Duration::from_secs(10), free).unwrap();
    }

    #[test]
    fn only_listeners_on_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0
";
        assert_eq!(listening_inodes(table, 8080), ["111"]);
        assert_eq!(listening_inodes(table, 8082), [""; 0]);
    }
}
