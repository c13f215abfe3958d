use std::path::Path;

use tempfile::TempDir;

use super::super::wait::wait_until;
use super::*;

const SOON: Duration = Duration::from_secs(10);

fn shell(folder: &Path, script: &str, ready: Check) -> Process {
    Process::new(Spec {
        name: "part".into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
        log: folder.join("part.log"),
        prepare: Box::new(|| Ok(())),
        ready,
        limit: SOON,
        cancel: Cancel::default(),
    })
}

fn at_once() -> Check {
    Box::new(|| Ok(()))
}

/// A part that has started, and its process id; its log lies in the folder.
fn running(script: &str) -> (Process, u32, TempDir) {
    let folder = TempDir::new().unwrap();
    let part = shell(folder.path(), script, at_once());
    part.start().unwrap();
    let pid = part.pid().unwrap();
    (part, pid, folder)
}

fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn wait_for_state(pid: u32, wanted: &[char]) {
    wait_until("the process state", SOON, || match state_of(pid) {
        Some(state) if wanted.contains(&state) => Ok(()),
        state => Err(format!("{state:?}")),
    })
    .unwrap();
}

#[test]
fn stop_ends_it_and_keeps_what_it_wrote() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("part.log");
    let greeted = move || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.contains("hello") { Ok(()) } else { Err(text) }
    };
    let part = shell(folder.path(), "echo $GREETING; exec sleep 600", Box::new(greeted));
    part.start().unwrap();
    let pid = part.pid().unwrap();
    part.stop();
    assert_eq!(part.pid(), None);
    assert_eq!(state_of(pid), None);
    assert_eq!(part.log(), "hello\n");
    assert_eq!(part.unexpected_death(), None);
    part.start().unwrap();
    assert_ne!(part.pid(), None);
}

#[test]
fn sigterm_ignored_becomes_sigkill() {
    let (part, pid, _folder) = running("trap '' TERM; sleep 600 & wait; sleep 600");
    part.stop();
    assert_eq!(state_of(pid), None);
}

#[test]
fn drop_kills_it() {
    let (part, pid, _folder) = running("exec sleep 600");
    drop(part);
    assert_eq!(state_of(pid), None);
}

#[test]
fn it_outlives_the_thread_that_started_it() {
    let folder = TempDir::new().unwrap();
    let part = shell(folder.path(), "echo up; exec sleep 600", at_once());
    std::thread::scope(|scope| scope.spawn(|| part.start().unwrap()).join().unwrap());
    wait_until("its output", SOON, || if part.log() == "up\n" { Ok(()) } else { Err(part.log()) })
        .unwrap();
    assert_ne!(part.pid(), None);
}

#[test]
fn pause_and_resume() {
    let (part, pid, _folder) = running("exec sleep 600");
    part.pause();
    wait_for_state(pid, &['T']);
    part.resume();
    wait_for_state(pid, &['S', 'R']);
    part.pause();
    part.stop();
    assert_eq!(state_of(pid), None);
}

#[test]
fn an_exit_before_it_is_ready_is_an_error_with_the_log_s_end() {
    let folder = TempDir::new().unwrap();
    let script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i >&2; done; exit 3";
    let never = || Err("never".to_owned());
    let error = shell(folder.path(), script, Box::new(never)).start().unwrap_err();
    let Error::Part(failure) = error else { panic!("{error}") };
    let PartFailure { reason, log_tail, command, .. } = *failure;
    assert_eq!(reason, "exited with status 3");
    assert!(log_tail.starts_with("line 6\n") && log_tail.ends_with("line 20"), "{log_tail}");
    assert!(command.starts_with("/bin/sh -c 'i=0; "), "{command}");
}

#[test]
fn not_ready_in_time_is_an_error_and_ends_it() {
    let folder = TempDir::new().unwrap();
    let mut part = shell(folder.path(), "exec sleep 600", Box::new(|| Err("deaf".into())));
    part.spec.limit = Duration::from_millis(50);
    let error = part.start().unwrap_err().to_string();
    assert!(error.contains("not ready after 50ms: deaf"), "{error}");
    assert_eq!(part.pid(), None);
}

#[test]
fn a_missing_program_is_named_with_what_brings_it() {
    let folder = TempDir::new().unwrap();
    let mut part = shell(folder.path(), "", at_once());
    part.spec.program = "/nowhere/envoy".into();
    let error = part.start().unwrap_err().to_string();
    assert!(error.contains("/nowhere/envoy") && error.contains("scripts/setup"), "{error}");
}

#[test]
fn an_unexpected_death_is_told_once() {
    let (part, pid, _folder) = running("exec sleep 600");
    assert_eq!(part.unexpected_death(), None);
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    let told = wait_until("the death", SOON, || part.unexpected_death().ok_or(String::new()));
    assert!(told.unwrap().starts_with("part died: killed by SIGKILL (log: "));
    assert_eq!(part.unexpected_death(), None);
}
