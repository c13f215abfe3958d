//! The program `stack`, which scripts/up and scripts/down run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use integration_tests::stack::{Endpoints, repository, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{CONFIG, SOON, Scene, failed, get, pids, runs, succeeded, wait_until_gone};

#[test]
fn up_tells_the_truth_and_down_ends_all_of_it() {
    let scene = Scene::new();
    let said = succeeded(&scene.up(&["--replicas", "2"]));
    let endpoints = scene.endpoints();
    let names: Vec<_> = endpoints.replicas.iter().map(|replica| replica.name.as_str()).collect();
    assert_eq!(names, ["replica-1", "replica-2"]);
    assert_eq!((endpoints.redis.len(), endpoints.sentinels.len()), (2, 3));
    for envoy in endpoints.replicas.iter().chain([&endpoints.edge]) {
        assert!(get(&envoy.admin, "/server_info").contains(&format!("\"id\": \"{}\"", envoy.name)));
        assert!(runs(envoy.pid.cast_signed()));
        assert!(said.contains(&envoy.http), "{said}");
    }
    let path = "/categories/MLA97994";
    assert_eq!(get(&endpoints.edge.http, path), get(&endpoints.upstream, path));
    for secret in ["redis.password", "redis-1/redis.conf", "sentinel-3/sentinel.conf"] {
        let mode = fs::metadata(scene.state.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    assert_eq!(fs::read_to_string(&endpoints.config).unwrap(), CONFIG);

    let processes = pids(&scene.state);
    // Launcher, edge, replicas, upstream, Redis nodes, Sentinels.
    assert_eq!(processes.len(), 1 + 1 + 2 + 1 + 2 + 3);
    let port = endpoints.edge.http.rsplit_once(':').unwrap().1;
    for second in [scene.up(&[]), scene.run("up", &["--port", port])] {
        let said = failed(&second);
        assert!(said.contains(&format!("process {}\n", endpoints.supervisor)), "{said}");
    }
    assert!(processes.iter().all(|pid| runs(*pid)));

    assert!(succeeded(&scene.run("down", &[])).ends_with("stopped\n"));
    assert!(!processes.iter().any(|pid| runs(*pid)));
    assert!(!scene.state.join("endpoints.json").exists());
    assert!(succeeded(&scene.run("down", &[])).starts_with("no stack runs in "));
}

#[test]
fn a_killed_launcher_takes_everything_along_and_can_be_started_again() {
    let scene = Scene::new();
    succeeded(&scene.up(&["--replicas", "1"]));
    let processes = pids(&scene.state);
    kill(Pid::from_raw(scene.endpoints().supervisor.cast_signed()), Signal::SIGKILL).unwrap();
    wait_until_gone(&processes);
    assert!(succeeded(&scene.run("down", &[])).starts_with("no stack runs in "));
    succeeded(&scene.up(&["--replicas", "1"]));
    assert!(pids(&scene.state).is_disjoint(&processes));
}

/// Starts a stack in the foreground, presses Ctrl-C once it says `cue`, and returns all it said and its exit status.
fn interrupted_at(scene: &Scene, cue: &str) -> (String, Option<i32>, BTreeSet<i32>) {
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_stack"))
        .args(["up", "--port", "0", "--state"])
        .arg(&scene.state)
        .arg("--config")
        .arg(&scene.config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(launcher.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains(cue)) {
        said.push(lines.next().unwrap_or_else(|| panic!("no '{cue}' in {said:?}")));
    }
    let processes = pids(&scene.state);
    kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGINT).unwrap();
    said.extend(lines);
    (said.join("\n"), launcher.wait().unwrap().code(), processes)
}

#[test]
fn ctrl_c_ends_all_of_it() {
    let scene = Scene::new();
    let (said, code, processes) = interrupted_at(&scene, "Ctrl-C stops all of it");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\ntry: curl -i http://127.0.0.1:"), "{said}");
    assert!(said.ends_with("\nstopped"), "{said}");
    assert_eq!(processes.len(), 11);
    wait_until_gone(&processes);
}

#[test]
fn ctrl_c_ends_a_start_too() {
    let scene = Scene::new();
    let (said, code, processes) = interrupted_at(&scene, "redis-2 (replica)");
    assert_eq!(code, Some(130), "{said}");
    assert!(said.ends_with("\nstopped") && !said.contains("try: curl"), "{said}");
    wait_until_gone(&processes);
    assert!(!scene.state.join("endpoints.json").exists());
}

#[test]
fn a_reader_that_leaves_ends_nothing() {
    let scene = Scene::new();
    let (reader, unread) = io::pipe().unwrap();
    drop(reader);
    let run = |command: &str, args: &[&str]| {
        let mut stack = Command::new(env!("CARGO_BIN_EXE_stack"));
        stack.arg(command).arg("--state").arg(&scene.state).args(args);
        stack.stdout(unread.try_clone().unwrap()).stderr(unread.try_clone().unwrap());
        stack.spawn().unwrap()
    };
    let config = scene.config.to_str().unwrap();
    let up = ["--port", "0", "--config", config, "--replicas", "1", "--no-redis"];

    let mut launcher = run("up", &up);
    wait_until("the stack to serve", SOON, || {
        Endpoints::read(&scene.state).map_err(|error| error.to_string())
    })
    .unwrap();
    kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(launcher.wait().unwrap().code(), Some(0));

    assert!(run("up", &[&up[..], &["--detach"]].concat()).wait().unwrap().success());
    assert!(runs(scene.endpoints().supervisor.cast_signed()));
    assert!(run("down", &[]).wait().unwrap().success());
}

#[test]
fn a_part_that_dies_is_named_once() {
    let scene = Scene::new();
    succeeded(&scene.up(&["--replicas", "1", "--no-redis"]));
    let endpoints = scene.endpoints();
    kill(Pid::from_raw(endpoints.replicas[0].pid.cast_signed()), Signal::SIGKILL).unwrap();
    let log = endpoints.logs.join("up.log");
    let said = wait_until("the death to be said", SOON, || {
        let said = fs::read_to_string(&log).unwrap();
        if said.contains("died") { Ok(said) } else { Err(said) }
    })
    .unwrap();
    let deaths: Vec<_> = said.lines().filter(|line| line.contains("died")).collect();
    let replica_log = endpoints.logs.join("replica-1.log");
    assert_eq!(
        deaths,
        [format!("replica-1 died: killed by SIGKILL (log: {})", replica_log.display())]
    );
}

#[test]
fn a_bad_configuration_ends_the_start_with_all_its_problems() {
    let scene = Scene::new();
    let config = r#"{"version": 1, "quotas": [{"name": "a", "limit": 0, "per": "1 parsec"}]}"#;
    fs::write(&scene.config, config).unwrap();
    let said = failed(&scene.up(&[]));
    for field in ["meliproxy.json: quotas[0].limit: ", "meliproxy.json: quotas[0].per: "] {
        assert!(said.contains(field), "{said}");
    }
    assert!(!scene.state.join("endpoints.json").exists());
    assert!(succeeded(&scene.run("down", &[])).starts_with("no stack runs in "));
}

#[test]
fn bad_options_are_refused_with_what_is_allowed() {
    let scene = Scene::new();
    for (args, complaint) in [
        (["--replicas", "33"], "--replicas: 33; allowed are 1 to 32"),
        (["--workers", "0"], "--workers: 0; allowed are 1 to 64"),
        (["--upstream", "https://api/v1"], "--upstream: 'https://api/v1' has a '/'"),
        (["--config", "/no/such.json"], "the configuration is missing: /no/such.json"),
    ] {
        let said = failed(&scene.run("up", &args));
        assert!(said.starts_with(&format!("error: {complaint}")), "{said}");
    }
    assert!(!scene.state.exists(), "nothing is written before the options are checked");
}

#[test]
fn a_port_in_use_is_refused_with_its_holder() {
    let scene = Scene::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let said = failed(&scene.run("up", &["--port", &port]));
    let holder = format!("(process {}); stop that, or choose another port", std::process::id());
    assert!(said.starts_with("error: --port: ") && said.contains(&holder), "{said}");
    assert!(!scene.state.join("processes.json").exists());
}

#[test]
fn rendered_files_pass_envoy_s_own_check() {
    let scene = Scene::new();
    let out = scene.folder.path().join("rendered files");
    for extra in [&[][..], &["--no-redis"], &["--upstream", "https://api.example.com"]] {
        let config = scene.config.to_str().unwrap();
        let args = [&["--out", out.to_str().unwrap(), "--config", config], extra].concat();
        let run = Command::new(env!("CARGO_BIN_EXE_stack")).arg("render").args(args).output();
        succeeded(&run.unwrap());
        for name in ["edge.yaml", "replica.yaml"] {
            let check = Command::new(scene.options().tool("envoy"))
                .args(["--mode", "validate", "-l", "error", "-c"])
                .arg(out.join(name))
                .output()
                .unwrap();
            succeeded(&check);
        }
    }
}

#[test]
fn the_scripts_help_names_every_option_and_needs_no_build() {
    for command in ["up", "down"] {
        let program = Command::new(env!("CARGO_BIN_EXE_stack")).args([command, "--help"]).output();
        let script = Command::new(repository().join("scripts").join(command))
            .arg("--help")
            // Without cargo on the path a build would fail.
            .env("PATH", "/usr/bin:/bin")
            .output();
        let script = succeeded(&script.unwrap());
        let options = |text: &str| -> BTreeSet<String> {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            words
                .filter(|word| word.starts_with("--") && word.len() > 2)
                .map(str::to_owned)
                .collect()
        };
        let mut missing = options(&succeeded(&program.unwrap()));
        missing.retain(|option| !options(&script).contains(option) && option != "--version");
        assert_eq!(missing, BTreeSet::new(), "scripts/{command} --help does not name these");
    }
}
