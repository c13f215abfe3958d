//! The thread that starts child processes.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that started a child ends, not only the process: a test's thread, or one
//! that started a replica beside others, would take the child along. This thread ends with the process.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};

use super::process::Spec;

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts the program; the kernel kills it when this process ends.
pub(crate) fn spawn(spec: &Spec) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(&spec.log)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    spawn_tied(command)
}

fn spawn_tied(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        raise_descriptor_limit();
        thread::spawn(move || {
            for (command, outcome) in jobs {
                // A caller that no longer listens has dropped the child's handle, not the child: nobody does that.
                let _ = outcome.send(spawn_here(command));
            }
        });
        sender
    });
    let (sender, outcome) = mpsc::channel();
    let gone = || io::Error::other("the spawner thread has ended");
    spawner.send((command, sender)).map_err(|_| gone())?;
    outcome.recv().map_err(|_| gone())?
}

/// Many systems begin with 1,024 open files, which is 500 proxied connections. Children inherit what is set here.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(MAX_DESCRIPTORS).max(soft);
        // Fails nowhere known; the old limit would do for a demo.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

/// Open files per process: a downstream and an upstream connection for each that the edge may hold (16,384), twice.
const MAX_DESCRIPTORS: u64 = 65_536;

#[allow(unsafe_code, reason = "between fork and exec only async-signal-safe calls are made")]
fn spawn_here(mut command: Command) -> io::Result<Child> {
    let launcher = getpid();
    let tie_to_launcher = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // Died before the line above took effect: then nobody would ever kill the child.
        if getppid() != launcher {
            return Err(Errno::ESRCH.into());
        }
        Ok(())
    };
    // SAFETY: prctl and getppid are plain system calls; nothing allocates, locks or touches shared state.
    unsafe { command.pre_exec(tie_to_launcher) };
    command.spawn()
}
