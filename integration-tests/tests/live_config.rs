//! Rules change while requests pass: at once, everywhere, without a restart and without a request or a count lost. What
//! is wrong is refused by everyone who looks at it, and the rules in force stay.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Load, Request};
use integration_tests::scene::{Scene, statuses};
use integration_tests::stack::{ConfigState, Envoy, Line, repository, wait_until};

/// How soon an edit is in force on all replicas.
const SOON: Duration = Duration::from_secs(3);

/// After it a test fails instead of waiting on.
const LIMIT: Duration = Duration::from_secs(20);

const ECDS: &str = "envoy_extension_config_discovery_http_filter_meliproxy";

/// `limit` requests of one origin.
fn config(limit: usize) -> String {
    format!(
        r#"{{
  "version": 1,
  "redis": {{"namespace": "live", "timeout": "1s"}},
  "quotas": [{{"name": "origin", "by": ["client_address"], "limit": {limit}, "per": "365d"}}]
}}
"#
    )
}

/// Wrong in three places.
const BAD: &str = r#"{
  "version": 1,
  "redis": {"namespace": "live", "timeout": "1 hour"},
  "quotas": [
    {"name": "origin", "by": ["client_adress"], "limit": 0, "per": "365d"}
  ]
}
"#;

const BAD_FIELDS: [&str; 3] = ["redis.timeout", "quotas[0].by[0]", "quotas[0].limit"];

/// How many of a few requests of a new origin the replica lets pass: the limit it knows, if that is less than 9.
fn limit_of(replica: &Envoy) -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0x0a00_0000);
    // A replica believes who sends it requests, which is only ever an edge.
    let origin = Ipv4Addr::from_bits(NEXT.fetch_add(1, Ordering::Relaxed)).to_string();
    let request = Request::get("/echo/x").header("X-Forwarded-For", origin);
    let mut client = Client::new(replica.http());
    let passes = (0..9).map(|_| client.send(&request).unwrap().status);
    passes.filter(|status| *status == 200).count()
}

fn limits(scene: &Scene) -> Vec<usize> {
    scene.replicas().iter().map(limit_of).collect()
}

/// Waits until all replicas know the limit, and says how long that took.
fn wait_for_limit(scene: &Scene, limit: usize) -> Duration {
    let start = Instant::now();
    wait_until("the limit on all replicas", LIMIT, || {
        let seen = limits(scene);
        if seen.iter().all(|it| *it == limit) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .unwrap();
    start.elapsed()
}

fn pids(scene: &Scene) -> Vec<Option<u32>> {
    let envoys = scene.replicas().iter().chain([scene.edge()]);
    envoys.map(|envoy| envoy.pid()).collect()
}

fn assert_names_all(what: &str, text: &str) {
    for field in BAD_FIELDS {
        let named = text.contains(&format!("{field}: found "));
        assert!(named, "{what} does not name {field}:\n{text}");
    }
}

fn check(file: &Path) -> (Option<i32>, String) {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(repository())
        .args(["run", "--quiet", "--locked", "--profile", "tools", "-p", "meliproxy"])
        .args(["--bin", "meliproxy-check", "--"])
        .arg(file)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn an_edit_is_in_force_soon_however_it_is_saved_and_a_bad_one_never() {
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    let scene = Scene::start(&config(5), |options| {
        options.say(move |line| {
            if let Line::Problem(text) = line {
                heard.lock().unwrap().push_str(&format!("{text}\n"));
            }
        })
    })
    .unwrap();
    let live = scene.endpoints().config;
    let other = live.with_file_name("edited.json");
    let before = pids(&scene);
    assert_eq!(limits(&scene), [5, 5, 5]);

    let saves: [(&str, &dyn Fn(usize)); 3] = [
        ("in place", &|limit| fs::write(&live, config(limit)).unwrap()),
        ("by rename", &|limit| {
            fs::write(&other, config(limit)).unwrap();
            fs::rename(&other, &live).unwrap();
        }),
        ("by cp", &|limit| {
            fs::write(&other, config(limit)).unwrap();
            let copied = Command::new("cp").args([&other, &live]).status().unwrap();
            assert!(copied.success());
        }),
    ];
    for (limit, (how, save)) in (6..).zip(saves) {
        save(limit);
        let took = wait_for_limit(&scene, limit);
        eprintln!("saved {how}: in force on all replicas after {took:?}");
        assert!(took < SOON, "{how}: {took:?}");
    }

    let status = scene.write_config(BAD).unwrap();
    assert_eq!(status.state, ConfigState::Refused);
    assert_names_all("config-status.json", &status.problems.join("\n"));
    assert_names_all("the launcher", &said.lock().unwrap());
    let log = fs::read_to_string(scene.endpoints().logs.join("config.log")).unwrap();
    assert_names_all("config.log", &log);
    assert_eq!(limits(&scene), [8, 8, 8]);

    // The same is said on the command line.
    let (code, text) = check(&live);
    assert_eq!(code, Some(1), "{text}");
    assert_names_all("meliproxy-check", &text);
    assert_eq!(text.lines().count(), status.problems.len(), "{text}");

    let status = scene.write_config(&config(4)).unwrap();
    assert_eq!((status.state, status.problems.len()), (ConfigState::Published, 0));
    wait_for_limit(&scene, 4);
    let (code, text) = check(&live);
    assert_eq!(code, Some(0), "{text}");

    assert_eq!(pids(&scene), before);
}

#[test]
fn the_filter_itself_refuses_what_nobody_checked_before() {
    let scene = Scene::start(&config(5), |options| options.replicas(2)).unwrap();
    // What Envoy watches; the launcher would not have published this.
    let watched = scene.endpoints().config.with_file_name("filter.yaml");
    let good = fs::read_to_string(&watched).unwrap();
    let in_yaml = |text: &str| serde_json::Value::from(text).to_string();
    let bad = good.replace(&in_yaml(&config(5)), &in_yaml(BAD));
    assert_ne!(bad, good);
    let publish = |text: &str| {
        let new = watched.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &watched).unwrap();
    };
    let count =
        |replica: &Envoy, what: &str| replica.metric(&format!("{ECDS}_{what}"), &[]).unwrap();

    publish(&bad);
    for replica in scene.replicas() {
        wait_until("the refusal", LIMIT, || match count(replica, "update_rejected") {
            1.0 => Ok(()),
            other => Err(other.to_string()),
        })
        .unwrap();
        assert_eq!(count(replica, "config_fail"), 1.0);
        assert_names_all("Envoy's log", &replica.log());
    }
    assert_eq!(limits(&scene), [5, 5]);
    publish(&good.replace(&in_yaml(&config(5)), &in_yaml(&config(3))));
    wait_for_limit(&scene, 3);
}

#[test]
fn twenty_edits_under_load_lose_no_request_and_no_count() {
    /// What all requests together may do, however often the rules change: used up in the middle of the edits.
    const TOTAL: usize = 300;
    let config = |edit: u32| {
        format!(
            r#"{{
  "version": 1,
  "redis": {{"namespace": "live", "timeout": "1s"}},
  "quotas": [
    {{"name": "total", "limit": {TOTAL}, "per": "365d"}},
    {{"name": "other", "by": ["path"], "limit": {}, "per": "1h"}}
  ]
}}"#,
            1_000_000 + edit
        )
    };
    let scene = Scene::start(&config(0), |options| options).unwrap();
    let reloads = || {
        let count =
            |replica: &Envoy| replica.metric(&format!("{ECDS}_config_reload"), &[]).unwrap();
        scene.replicas().iter().map(count).fold(f64::INFINITY, f64::min)
    };
    let load = Load::start(&[scene.edge().http()], 150, 8, |_| Request::get("/echo/x")).unwrap();
    for edit in 1..=20 {
        let status = scene.write_config(&config(edit)).unwrap();
        assert_eq!(status.state, ConfigState::Published, "{status:?}");
        wait_until("the edit to be taken over", LIMIT, || {
            let seen = reloads();
            if seen > f64::from(edit) { Ok(()) } else { Err(seen.to_string()) }
        })
        .unwrap();
    }
    let counts = statuses(&load.stop().unwrap());
    eprintln!("during the edits: {counts:?}");
    assert!(counts.keys().all(|status| matches!(status, 200 | 429)), "{counts:?}");
    assert!(counts.contains_key(&429), "the edits were over before the limit: {counts:?}");
    assert_eq!(counts[&200], TOTAL, "{counts:?}");
}
