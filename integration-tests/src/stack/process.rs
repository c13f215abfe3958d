//! Child processes that cannot outlive the launcher, and that say why they did not come up.
//!
//! Each child leads a process group of its own, so Ctrl-C on the terminal reaches the launcher alone, and the kernel
//! kills it when the launcher dies, however that happens (`PR_SET_PDEATHSIG`).

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::error::{Error, PORT_CLASH, PartFailure};
use super::shell::{exit_reason, shell_word};
use super::spawner;
use super::wait::{Cancel, Wait};

/// What a process asked to end with SIGTERM gets before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Time between two looks at a process that is starting or stopping.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Lines of a log quoted in an error.
const LOG_TAIL_LINES: usize = 15;

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
type Prepare = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

/// A program to run, and how to tell that it is up.
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, String)>,
    /// Receives stdout and stderr; appended to, so that a restart keeps what came before.
    pub(crate) log: PathBuf,
    /// Done before each start.
    pub(crate) prepare: Prepare,
    /// `Ok` as soon as the process serves.
    pub(crate) ready: Check,
    /// How long it may take to get there.
    pub(crate) limit: Duration,
    pub(crate) cancel: Cancel,
}

/// A program that runs, or did, or will again.
pub struct Process {
    spec: Spec,
    life: Mutex<Life>,
}

enum Life {
    Stopped,
    Running(Child),
    Died { status: ExitStatus, told: bool },
}

impl Process {
    pub(crate) fn new(spec: Spec) -> Self {
        Self { spec, life: Mutex::new(Life::Stopped) }
    }

    /// The part's name, such as `replica-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.life() {
            Life::Running(child) => Some(child.id()),
            Life::Stopped | Life::Died { .. } => None,
        }
    }

    /// Everything it has written so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.spec.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Where [`Self::log`] is written.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.spec.log
    }

    /// Starts it, unless it runs, and waits until it serves.
    ///
    /// # Errors
    /// [`Error::Part`] if it exits or is not ready in time; it is killed then.
    pub fn start(&self) -> Result<(), Error> {
        if self.pid().is_some() {
            return Ok(());
        }
        (self.spec.prepare)()?;
        self.spawn()?;
        let wait =
            Wait { limit: self.spec.limit, interval: LOOK_INTERVAL, cancel: &self.spec.cancel };
        let outcome = wait.until(&self.spec.name, || match (self.pid(), (self.spec.ready)()) {
            (None, _) => Ok(Err(self.exit_reason())),
            (Some(_), Ok(())) => Ok(Ok(())),
            (Some(_), Err(seen)) => Err(seen),
        });
        let reason = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(Error::Timeout { last, limit, .. }) => format!("not ready after {limit:?}: {last}"),
            Err(error) => {
                self.kill();
                return Err(error);
            }
        };
        self.kill();
        Err(self.failure(reason))
    }

    /// An error about this process that quotes the end of its log.
    pub(crate) fn failure(&self, reason: String) -> Error {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(LOG_TAIL_LINES);
        let log_tail = log.lines().skip(skipped).collect::<Vec<_>>().join("\n");
        let remedy = if log_tail.contains(PORT_CLASH) {
            "another process took the port just now: run it again"
        } else {
            "what the log says; then run it again"
        };
        Error::Part(Box::new(PartFailure {
            name: self.spec.name.clone(),
            command: self.command_line(),
            reason,
            log: self.spec.log.clone(),
            log_tail,
            remedy: remedy.to_owned(),
        }))
    }

    /// SIGKILL, and waits for its end. As sudden as a crash; nothing if it does not run.
    pub fn kill(&self) {
        let mut life = self.life();
        if let Life::Running(child) = &mut *life {
            send(child, Signal::SIGKILL);
            // SIGKILL cannot be refused, so this ends.
            let _ = child.wait();
            *life = Life::Stopped;
        }
    }

    /// SIGTERM, and SIGKILL if it still runs after 3 s; waits for its end. Nothing if it does not run.
    pub fn stop(&self) {
        stop_all(&[self]);
    }

    /// SIGSTOP: it keeps its connections but answers nothing, like a machine that hangs.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT, after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// How it ended, once, if nobody here asked it to.
    pub(crate) fn unexpected_death(&self) -> Option<String> {
        match &mut *self.life() {
            Life::Died { status, told } if !*told => {
                *told = true;
                let how = exit_reason(*status);
                Some(format!("{} died: {how} (log: {})", self.spec.name, self.spec.log.display()))
            }
            Life::Stopped | Life::Running(_) | Life::Died { .. } => None,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Life::Running(child) = &*self.life() {
            send(child, signal);
        }
    }

    /// What is known of its life now: a child that has exited is taken note of.
    fn life(&self) -> MutexGuard<'_, Life> {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if let Life::Running(child) = &mut *life
            && let Ok(Some(status)) = child.try_wait()
        {
            *life = Life::Died { status, told: false };
        }
        life
    }

    fn exit_reason(&self) -> String {
        match &mut *self.life() {
            Life::Died { status, told } => {
                *told = true;
                exit_reason(*status)
            }
            Life::Stopped | Life::Running(_) => "it was stopped".to_owned(),
        }
    }

    fn spawn(&self) -> Result<(), Error> {
        let child = spawner::spawn(&self.spec).map_err(|cause| {
            if cause.kind() == io::ErrorKind::NotFound {
                Error::Missing {
                    what: format!("the program of {}", self.spec.name),
                    path: self.spec.program.clone(),
                    remedy: "scripts/setup".into(),
                }
            } else {
                self.failure(cause.to_string())
            }
        })?;
        *self.life() = Life::Running(child);
        Ok(())
    }

    fn command_line(&self) -> String {
        let program = self.spec.program.as_os_str();
        let words = std::iter::once(program).chain(self.spec.args.iter().map(OsString::as_os_str));
        words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// SIGTERM to all, then SIGKILL to those that still run after 3 s.
pub(crate) fn stop_all(processes: &[&Process]) {
    for process in processes {
        process.signal(Signal::SIGTERM);
        // A paused process would see the SIGTERM only once it goes on.
        process.signal(Signal::SIGCONT);
    }
    let wait = Wait { limit: STOP_LIMIT, interval: LOOK_INTERVAL, cancel: &Cancel::default() };
    let _ = wait.until("processes to end", || {
        match processes.iter().find(|process| process.pid().is_some()) {
            Some(process) => Err(process.spec.name.clone()),
            None => Ok(()),
        }
    });
    for process in processes {
        process.kill();
        *process.life() = Life::Stopped;
    }
}

/// To the whole group, so that a wrapper script's own children hear it too.
fn send(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // Fails only for a process that has ended, which is what most signals are for.
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests;
