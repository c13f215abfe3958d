//! A stack for one test: on ports and in a folder of its own, from origins that no other test uses.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;

use crate::client::Outcome;
use crate::stack::{Error, Stack, StackOptions};

/// The first address that [`next_origin`] gives: 127.0.1.0.
const FIRST_ORIGIN: u32 = 0x7f00_0100;

/// Held by the one scene of this program: tests look at times, and a second stack would take the cores of the first.
static TURN: Mutex<()> = Mutex::new(());

/// A running stack; another one waits until this is dropped. That stops everything and removes the folder, unless the
/// test has failed: then its logs are the only witnesses.
pub struct Scene {
    // Stopped before its folder goes, and before the next one may start.
    stack: Stack,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts a stack with the configuration `config`, and whatever else `choose` sets.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub fn start(
        config: &str,
        choose: impl FnOnce(StackOptions) -> StackOptions,
    ) -> Result<Self, Error> {
        // A test that failed while it held the turn has stopped its stack all the same.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = TempDir::with_prefix("meliproxy-")
            .map_err(Error::io("making a folder in", &std::env::temp_dir()))?;
        let given = folder.path().join("given.json");
        fs::write(&given, config).map_err(Error::io("writing", &given))?;
        let options = StackOptions::new(&folder.path().join("state"));
        let stack = Stack::start(choose(options.edge_port(0).config(&given)))?;
        Ok(Self { stack, folder, _turn: turn })
    }
}

impl Deref for Scene {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the stack's logs are in {}", self.folder.path().display());
        }
    }
}

/// An address of this machine that no other call in this program returns: a client of its own to the proxy, if it binds
/// to it.
#[must_use]
pub fn next_origin() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(FIRST_ORIGIN);
    Ipv4Addr::from_bits(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How many outcomes had each status; 0 stands for no response.
#[must_use]
pub fn statuses<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.status()).or_default() += 1;
    }
    counts
}
