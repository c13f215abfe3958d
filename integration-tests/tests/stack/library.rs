//! The stack as a value: what the other tests build on.

use std::fs;
use std::sync::{Arc, Mutex};

use integration_tests::stack::{ConfigState, Error, Line, Reply, Stack, wait_until};

use crate::scene::{SOON, Scene};

#[test]
fn edits_of_the_live_configuration_are_published_or_refused() {
    let scene = Scene::new();
    let stack = Stack::start(scene.options().redis(false)).unwrap();
    let live = stack.endpoints().config;
    assert!(!fs::read_to_string(&live).unwrap().contains("redis"));
    let filter = scene.state.join("filter.yaml");
    let published = || fs::read_to_string(&filter).unwrap();
    let config = |limit: &str| {
        format!(r#"{{"version": 1, "quotas": [{{"name": "all", "limit": {limit}, "per": "1m"}}]}}"#)
    };

    let status = stack.write_config(&config("123")).unwrap();
    assert_eq!((status.state, status.problems.len()), (ConfigState::Published, 0));
    let good = published();
    assert!(good.contains("123"), "{good}");

    let status = stack.write_config(&config("0")).unwrap();
    assert_eq!(status.state, ConfigState::Refused);
    assert!(status.problems[0].starts_with("meliproxy.json: quotas[0].limit: "), "{status:?}");
    assert_eq!(published(), good);
    let log = fs::read_to_string(stack.endpoints().logs.join("config.log")).unwrap();
    assert!(log.contains(&status.problems[0]) && log.contains("the rules in force stay"), "{log}");

    // As most editors save: another file, renamed into place.
    let edited = scene.folder.path().join("edited.json");
    fs::write(&edited, config("456")).unwrap();
    fs::rename(&edited, &live).unwrap();
    wait_until("the renamed file to be published", SOON, || {
        if published().contains("456") { Ok(()) } else { Err(published()) }
    })
    .unwrap();
}

#[test]
fn a_part_that_fails_ends_the_start_with_its_log_and_nothing_stays() {
    let scene = Scene::new();
    let said = Arc::new(Mutex::new(Vec::new()));
    let broken = scene.folder.path().join("broken.wasm");
    fs::write(&broken, "not wasm").unwrap();
    let heard = Arc::clone(&said);
    let options = scene.options().wasm(&broken).say(move |line| {
        if let Line::Progress(text) = line {
            heard.lock().unwrap().push(text.to_owned());
        }
    });
    let Err(error) = Stack::start(options) else { panic!("it came up") };
    let Error::Part(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.name, "replica-1");
    assert!(failure.log_tail.to_lowercase().contains("wasm"), "{error}");
    let said = said.lock().unwrap().join("\n");
    assert!(said.contains("redis-1 (primary) on 127.0.0.1:"), "{said}");
    assert!(!scene.state.join("processes.json").exists());
}

#[test]
fn a_node_that_returns_after_a_failover_is_a_replica() {
    let scene = Scene::new();
    let stack = Stack::start(scene.options().plain(true)).unwrap();
    let redis = stack.redis().unwrap();
    let (first, second) = (redis.node(0), redis.node(1));
    let role = |reply: Reply| match &reply {
        Reply::Array(parts) => parts[0].text().unwrap().to_owned(),
        Reply::Text(_) | Reply::Integer(_) | Reply::Null => panic!("{reply}"),
    };
    assert_eq!(role(first.ask(&["ROLE"]).unwrap()), "master");
    first.kill();
    wait_until("the failover", SOON, || match redis.primary() {
        Some(primary) if primary.name() == second.name() => Ok(()),
        primary => Err(format!("{primary:?}")),
    })
    .unwrap();
    first.start().unwrap();
    assert_eq!(role(first.ask(&["ROLE"]).unwrap()), "slave");
    assert_eq!(role(second.ask(&["ROLE"]).unwrap()), "master");
}

#[test]
fn a_replica_comes_back_where_it_was() {
    let scene = Scene::new();
    let stack = Stack::start(scene.options().redis(false)).unwrap();
    let replica = stack.replica(0);
    let before = replica.pid().unwrap();
    replica.kill();
    assert_eq!(replica.pid(), None);
    assert!(replica.admin_get("/ready").is_err());
    replica.start().unwrap();
    assert_ne!(replica.pid().unwrap(), before);
    assert_eq!(replica.metric("envoy_server_live", &[]).unwrap(), 1.0);
}
