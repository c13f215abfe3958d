//! The program, running.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use integration_tests::stack::wait_until;
use integration_tests::upstream::control::Control;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The program with ports of its own; killed at the end of the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) line: String,
    pub(crate) listen: SocketAddr,
    pub(crate) control_address: SocketAddr,
}

impl Program {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().parse().unwrap();
        Self { child, listen: address("listen"), control_address: address("control"), line }
    }

    pub(crate) fn control(&self) -> Control {
        Control::new(self.control_address)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Its exit status, which has to come within `limit`.
    pub(crate) fn exit_status(&mut self, limit: Duration) -> ExitStatus {
        wait_until("its exit", limit, || self.child.try_wait().unwrap().ok_or_else(String::new))
            .unwrap()
    }

    /// Waits until the faults have fired as often as this.
    pub(crate) fn wait_until_fired(&self, times: &[u64]) {
        wait_until("faults to fire", Duration::from_secs(10), || {
            let fired = self.control().fired().unwrap();
            if fired == times { Ok(()) } else { Err(format!("{fired:?}")) }
        })
        .unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upstream"));
    command.args(arguments);
    command
}

/// Runs the program where it does not come to serving: its output and its exit code.
pub(crate) fn failure(arguments: &[&str]) -> (String, Option<i32>) {
    let Output { status, stdout, stderr } = command(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    (String::from_utf8(stderr).unwrap(), status.code())
}
