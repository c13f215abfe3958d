//! The state folder: what lies where, who holds it, and what a killed launcher left behind.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::wait::wait_until;

/// The state folder of one stack, held until dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: Flock<File>,
}

/// A process of a stack, named so that it cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// Start time in clock ticks after boot (proc(5), `stat` field 22).
    pub(crate) started: u64,
}

impl StateFolder {
    /// Makes the folder if need be, takes it for this process, and ends what an earlier launcher left running.
    ///
    /// # Errors
    /// [`Error::Running`] if another launcher holds it; [`Error::Option`] if its path is too long.
    pub fn claim(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path.join("logs")).map_err(Error::io("making the folder", path))?;
        let path = path.canonicalize().map_err(Error::io("opening", path))?;
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(Error::Option {
                option: "--state",
                found: path.display().to_string(),
                allowed: format!("it holds sockets, so at most {MAX_PATH_BYTES} bytes are allowed"),
            });
        }
        let lock = match try_lock(&path)? {
            Ok(lock) => lock,
            Err(pid) => return Err(Error::Running { state: path, pid }),
        };
        let name = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.write_all_at(name.as_bytes(), 0))
            .map_err(Error::io("writing", &lock_file(&path)))?;
        let folder = Self { path, _lock: lock };
        folder.end_leftovers()?;
        folder.forget();
        folder.clear()?;
        Ok(folder)
    }

    /// The process that holds the folder `path`, if any does.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn holder(path: &Path) -> Result<Option<String>, Error> {
        if !lock_file(path).exists() {
            return Ok(None);
        }
        Ok(try_lock(path)?.err())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The log file of the part `name`.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    /// The Unix domain socket of the part `name`.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.sock"))
    }

    /// Notes which processes belong to this stack, for [`Self::end_leftovers`] of a later one.
    pub(crate) fn record(&self, processes: &[Record]) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(processes).unwrap_or_default();
        write_atomically(&self.path(PROCESSES), &text, 0o644)
    }

    /// Removes what says that a stack runs here.
    pub(crate) fn forget(&self) {
        for name in [PROCESSES, ENDPOINTS] {
            // Absent is what is wanted.
            let _ = fs::remove_file(self.path(name));
        }
    }

    /// Removes logs, code and sockets of an earlier stack. The launcher's own log is open already.
    fn clear(&self) -> Result<(), Error> {
        let logs = self.path.join("logs");
        for folder in [&self.path, &logs] {
            for entry in fs::read_dir(folder).map_err(Error::io("reading", folder))?.flatten() {
                let path = entry.path();
                let name = entry.file_name();
                let is_stale = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("log") => name != LAUNCHER_LOG,
                    Some("wasm" | "sock") => true,
                    _ => false,
                };
                if is_stale {
                    fs::remove_file(&path).map_err(Error::io("removing", &path))?;
                }
            }
        }
        Ok(())
    }

    /// Children die with their launcher, but a moment after its lock: they may still hold the edge's port.
    fn end_leftovers(&self) -> Result<(), Error> {
        let records = fs::read(self.path(PROCESSES)).unwrap_or_default();
        let mut records: Vec<Record> = serde_json::from_slice(&records).unwrap_or_default();
        for record in records.iter().filter(|record| record.runs()) {
            if let Ok(pid) = i32::try_from(record.pid) {
                // Gone in between is as good.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        wait_until("the processes of an earlier launcher to end", LEFTOVER_LIMIT, || {
            records.retain(Record::runs);
            match records.first() {
                Some(Record { name, pid, .. }) => Err(format!("{name} (process {pid}) runs")),
                None => Ok(()),
            }
        })
    }
}

impl Record {
    /// Of the process `pid`, if there is one.
    pub(crate) fn of(name: &str, pid: u32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { name: name.to_owned(), pid, started })
    }

    /// Whether this very process still runs; one that only waits to be reaped does not.
    fn runs(&self) -> bool {
        const ZOMBIE: char = 'Z';
        stat(self.pid).is_some_and(|(state, started)| state != ZOMBIE && started == self.started)
    }
}

/// How long killed processes may take to end: more than a machine under load needs.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(10);

/// Longest path of a folder whose sockets, such as `/replica-32.sock` in it, have one that Linux takes (unix(7): 107).
const MAX_PATH_BYTES: usize = 91;

/// Name of the file in `logs` that a launcher in the background writes to.
pub const LAUNCHER_LOG: &str = "up.log";

const PROCESSES: &str = "processes.json";

/// Name of the file that says where everything listens.
pub(crate) const ENDPOINTS: &str = "endpoints.json";

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}

/// The lock, or what its holder wrote into it. The kernel releases it when the holder ends, however that happens.
fn try_lock(folder: &Path) -> Result<Result<Flock<File>, String>, Error> {
    let path = lock_file(folder);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::io("opening", &path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let pid = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
            Ok(Err(pid.trim().to_owned()))
        }
        Err((_, errno)) => Err(Error::io("locking", &path)(errno.into())),
    }
}

/// State and start time of the process `pid` (proc(5), `stat` fields 3 and 22).
fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name (field 2) may hold spaces and brackets: count from its end.
    let (_, fields) = stat.rsplit_once(") ")?;
    Some((fields.chars().next()?, fields.split(' ').nth(19)?.parse().ok()?))
}

/// Replaces `path` by rename, so that a reader sees the old content or the new, never a part.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        fs::rename(&new, path)
    };
    write().map_err(Error::io("writing", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_path_too_long_for_sockets_is_refused() {
        let folder = TempDir::new().unwrap();
        let of_length = |length: usize| {
            let missing = length - folder.path().as_os_str().len() - 1;
            StateFolder::claim(&folder.path().join("s".repeat(missing)))
        };
        assert!(of_length(MAX_PATH_BYTES).is_ok());
        let error = of_length(MAX_PATH_BYTES + 1).unwrap_err().to_string();
        assert!(error.contains("--state") && error.contains("at most 91 bytes"), "{error}");
    }

    #[test]
    fn a_folder_has_one_holder() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state");
        assert_eq!(StateFolder::holder(&path).unwrap(), None);
        let held = StateFolder::claim(&path).unwrap();
        let pid = std::process::id().to_string();
        assert_eq!(StateFolder::holder(&path).unwrap(), Some(pid.clone()));
        let error = StateFolder::claim(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {pid}\n")) && error.contains("--state"),
            "{error}"
        );
        drop(held);
        assert_eq!(StateFolder::holder(&path).unwrap(), None);
        StateFolder::claim(&path).unwrap();
    }

    #[test]
    fn leftovers_are_ended_but_not_a_stranger_with_their_id() {
        let folder = TempDir::new().unwrap();
        let sleeper = || Command::new("sleep").arg("600").spawn().unwrap();
        let (mut leftover, mut stranger) = (sleeper(), sleeper());
        let state = StateFolder::claim(folder.path()).unwrap();
        let record = |child: &Child| Record::of("part", child.id()).unwrap();
        let mut other_start = record(&stranger);
        other_start.started -= 1;
        let records = [record(&leftover), other_start];
        state.record(&records).unwrap();
        drop(state);
        let state = StateFolder::claim(folder.path()).unwrap();
        assert_eq!(leftover.wait().unwrap().signal(), Some(9));
        assert_eq!(stranger.try_wait().unwrap(), None);
        assert!(!state.path(PROCESSES).exists());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn files_are_replaced_with_their_mode() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("secret");
        write_atomically(&path, b"one", 0o600).unwrap();
        write_atomically(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
