//! Watches over the parts of a running stack: says which died, notes which run, and publishes the configuration.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::config_publisher::Publisher;
use super::error::Error;
use super::process::{Process, Spec, stop_all};
use super::say::{Line, Say};
use super::state::{Record, StateFolder};

/// Time between two looks at the processes and at the live configuration file.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// All processes of a stack.
pub(crate) struct Supervisor {
    state: StateFolder,
    say: Say,
    processes: Mutex<Vec<Arc<Process>>>,
    recorded: Mutex<Vec<Record>>,
}

impl Supervisor {
    pub(crate) fn new(state: StateFolder, say: Say) -> Self {
        Self { state, say, processes: Mutex::default(), recorded: Mutex::default() }
    }

    pub(crate) fn state(&self) -> &StateFolder {
        &self.state
    }

    /// Starts a part and says so; from then on it is watched.
    pub(crate) fn launch(&self, what: &str, spec: Spec) -> Result<Arc<Process>, Error> {
        let process = Arc::new(Process::new(spec));
        process.start()?;
        self.say(Line::Progress(&format!("{what} … up")));
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&process));
        self.record()?;
        Ok(process)
    }

    pub(crate) fn say(&self, line: Line<'_>) {
        (self.say)(line);
    }

    fn processes(&self) -> Vec<Arc<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self) {
        for death in self.processes().iter().filter_map(|process| process.unexpected_death()) {
            self.say(Line::Problem(&death));
        }
        if let Err(error) = self.record() {
            self.say(Line::Problem(&error.to_string()));
        }
    }

    /// Writes down who runs, if that has changed.
    fn record(&self) -> Result<(), Error> {
        let record = |process: &Arc<Process>| Record::of(process.name(), process.pid()?);
        let records: Vec<_> = self.processes().iter().filter_map(record).collect();
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if *recorded != records {
            self.state.record(&records)?;
            *recorded = records;
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let processes = self.processes();
        stop_all(&processes.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        self.state.forget();
    }
}

/// The thread that looks every 100 ms; ends when dropped.
pub(crate) struct Watch {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(supervisor: Arc<Supervisor>, mut publisher: Publisher) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(LOOK_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                supervisor.look();
                publisher.look();
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed already.
            let _ = thread.join();
        }
    }
}
