//! One stack in a folder of its own, and what tests ask about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use integration_tests::stack::{Endpoints, StackOptions, StateFolder, wait_until};
use tempfile::TempDir;

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "test"},
  "quotas": [{"name": "all", "limit": 1000, "per": "1m"}]
}
"#;

/// A folder for one stack, its configuration in it, and the program run on it. Stops the stack when dropped.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) state: PathBuf,
    pub(crate) config: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix(r#"me,li: [pr{oxy #"-"#).unwrap();
        let config = folder.path().join("given.json");
        fs::write(&config, CONFIG).unwrap();
        Self { state: folder.path().join("state"), config, folder }
    }

    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_stack"))
            .arg(command)
            .arg("--state")
            .arg(&self.state)
            .args(args)
            .output()
            .unwrap()
    }

    pub(crate) fn up(&self, args: &[&str]) -> Output {
        let config = self.config.to_str().unwrap();
        self.run("up", &[&["--detach", "--port", "0", "--config", config], args].concat())
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints::read(&self.state).unwrap()
    }

    pub(crate) fn options(&self) -> StackOptions {
        StackOptions::new(&self.state).edge_port(0).replicas(1).config(&self.config)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        // A stack in this process is stopped by dropping it.
        if StateFolder::holder(&self.state).is_ok_and(|holder| holder != Some(own)) {
            self.run("down", &[]);
        }
    }
}

pub(crate) fn output(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
pub(crate) fn succeeded(run: &Output) -> String {
    assert!(run.status.success(), "{:?}\n{}", run.status, output(run));
    output(run)
}

#[track_caller]
pub(crate) fn failed(run: &Output) -> String {
    assert_eq!(run.status.code(), Some(1), "{}", output(run));
    output(run)
}

pub(crate) fn get(address: &str, path: &str) -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut response = agent.get(format!("http://{address}{path}")).call().unwrap();
    response.body_mut().read_to_string().unwrap()
}

/// All processes of a stack, the launcher included, by what they noted down themselves.
pub(crate) fn pids(state: &Path) -> BTreeSet<i32> {
    let records = fs::read(state.join("processes.json")).unwrap();
    let records: Vec<serde_json::Value> = serde_json::from_slice(&records).unwrap();
    let parts =
        records.iter().map(|record| i32::try_from(record["pid"].as_i64().unwrap()).unwrap());
    let launcher = fs::read_to_string(state.join("lock")).unwrap();
    parts.chain([launcher.trim().parse().unwrap()]).collect()
}

pub(crate) fn runs(pid: i32) -> bool {
    // A zombie of a launcher that was killed has ended too; init has not taken note yet.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn wait_until_gone(pids: &BTreeSet<i32>) {
    wait_until("all processes to end", SOON, || match pids.iter().find(|pid| runs(**pid)) {
        Some(pid) => {
            Err(format!("{pid}: {:?}", fs::read_to_string(format!("/proc/{pid}/cmdline"))))
        }
        None => Ok(()),
    })
    .unwrap();
}
