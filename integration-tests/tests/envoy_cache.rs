//! Envoy's own HTTP cache as a variant of the replicas: what it does, and what it does not.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends here")]

use std::time::Duration;

use integration_tests::client::{Client, Request, Response};
use integration_tests::scene::Scene;
use integration_tests::stack::wait_until;
use integration_tests::upstream::control::Control;

const SOON: Duration = Duration::from_secs(10);

/// One request to a path more, or less, and no policy for a cache of the filter.
const CONFIG: &str = r#"{
  "version": 1,
  "quotas": [{"name": "all", "by": ["path"], "limit": 4, "per": "365d"}]
}"#;

const PATH: &str = "/categories/MLA1";

fn get(scene: &Scene, replica: usize, target: &str) -> Response {
    Client::new(scene.replica(replica).http()).get(target).unwrap()
}

/// Asks until it is answered by the cache: it is stored a moment after the first answer.
fn wait_for_hit(scene: &Scene, replica: usize, target: &str) -> Response {
    wait_until("a hit", SOON, || {
        let response = get(scene, replica, target);
        if response.header("age").is_some() { Ok(response) } else { Err(response.text()) }
    })
    .unwrap()
}

#[test]
fn a_replica_answers_from_its_own_memory_and_knows_nothing_of_others() {
    let config = CONFIG.replace("\"limit\": 4", "\"limit\": 1000");
    let start = |options: integration_tests::stack::StackOptions| {
        options.replicas(2).redis(false).envoy_cache(true)
    };
    let scene = Scene::start(&config, start).unwrap();
    let upstream = Control::new(scene.stand_in().unwrap().control());
    let received = || upstream.counts().unwrap().of_prefix("/categories");

    let first = get(&scene, 0, PATH);
    assert_eq!((first.status, first.header("age")), (200, None));
    let hit = wait_for_hit(&scene, 0, PATH);
    let before = received();
    assert_eq!((hit.status, &hit.body), (200, &first.body));
    assert_eq!(hit.header("cache-status"), None);
    assert!(wait_for_hit(&scene, 0, PATH).status == 200 && received() == before, "asked once");

    // The other one has to ask for itself.
    assert_eq!(get(&scene, 1, PATH).header("age"), None);
    assert_eq!(received(), before + 1);
    wait_for_hit(&scene, 1, PATH);
}

#[test]
fn hits_are_counted_by_quotas_and_cannot_be_purged() {
    let start = |options: integration_tests::stack::StackOptions| {
        options.replicas(1).redis(false).envoy_cache(true)
    };
    let scene = Scene::start(CONFIG, start).unwrap();
    let statuses: Vec<_> = (0..6).map(|_| get(&scene, 0, PATH).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);

    let other = "/categories/MLA2";
    wait_for_hit(&scene, 0, other);
    let purge = Client::new(scene.replica(0).purge()).send(&Request::new("PURGE", other));
    assert_ne!(purge.unwrap().status, 200, "there is nothing that it could purge");
}
