//! What is purged, by hand and by unsafe requests, and who may order it.

use std::time::{Duration, Instant};

use integration_tests::client::{Request, Response};
use integration_tests::stack::wait_until;
use integration_tests::upstream::{Action, Fault};
use serde_json::json;

use crate::rig::{HOST, Rig, asking, config, detail, get, purge, told, version};

/// Whoever is served from what is stored: connections enough that each worker of a replica has one.
const CONNECTIONS: usize = 8;

const OTHER_HOST: &str = "books.test";

/// What is stored, and asked for: a path at the site, or at the other one.
const STORED: [(&str, &str); 6] = [
    (HOST, "/versions/a"),
    (HOST, "/versions/a?x=1"),
    (HOST, "/versions/ab"),
    (HOST, "/versions/b"),
    (HOST, "/versions/c"),
    (OTHER_HOST, "/versions/b"),
];

#[test]
fn what_is_purged_is_what_was_ordered_by_those_who_may() {
    let rig =
        Rig::start(&config(&[json!({"name": "versions", "stale_if_error": "10m"})], json!({})));
    each_scope_takes_what_it_is_about_and_nothing_else(&rig);
    an_unsafe_request_takes_what_it_may_have_changed(&rig);
    only_the_purge_listener_takes_orders_and_only_orders(&rig);
    rig.assert_no_crash();
}

fn tell_groups(rig: &Rig) {
    rig.tell(&[
        grouped("/versions/a", "every odd"),
        grouped("/versions/c", "every odd"),
        grouped("/versions/b", "every even"),
    ]);
}

fn grouped(prefix: &str, groups: &str) -> Fault {
    Fault::new(prefix, Action::Headers).methods(&["GET"]).header("Surrogate-Key", groups)
}

fn at(host: &str, target: &str) -> Request {
    Request::get(target).header("Host", host)
}

/// What all workers answer, several times each: from Redis, then from memory.
fn everywhere(rig: &Rig, request: &Request) -> Vec<Response> {
    let mut responses = Vec::new();
    for replica in 0..3 {
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| rig.client(replica)).collect();
        for _ in 0..2 {
            responses.extend(clients.iter_mut().map(|client| client.send(request).unwrap()));
        }
    }
    responses
}

/// The one version that all workers answer with.
#[track_caller]
fn version_everywhere(rig: &Rig, request: &Request) -> u64 {
    let responses = everywhere(rig, request);
    let versions: Vec<_> = responses.iter().map(version).collect();
    assert!(versions.iter().all(|one| *one == versions[0]), "{versions:?}");
    let from_memory = responses.iter().filter(|response| detail(response) == Some("l1")).count();
    assert!(from_memory >= CONNECTIONS, "{from_memory} from memory");
    assert!(responses.iter().all(|response| response.header("surrogate-key").is_none()));
    versions[0]
}

/// Orders this, and asserts what of [`STORED`] is another one afterwards.
fn assert_purges(rig: &Rig, order: &Request, expected: [bool; 6]) {
    let before = STORED.map(|(host, target)| version_everywhere(rig, &at(host, target)));
    for target in ["/versions/a", "/versions/ab", "/versions/b", "/versions/c"] {
        rig.change(target);
    }
    let started = Instant::now();
    let response = rig.order(1, order);
    let took = started.elapsed();
    assert_eq!(response.status, 200, "{response:?}");
    let after = STORED.map(|(host, target)| version_everywhere(rig, &at(host, target)));
    let purged: Vec<_> = before.iter().zip(after).map(|(before, after)| after > *before).collect();
    assert_eq!(purged, expected, "{order:?}");
    println!("purged in {took:.1?}: {expected:?}");
    // Everything anew for the next one.
    rig.purge(0, "/", &[("x-purge-scope", "all")]);
}

fn each_scope_takes_what_it_is_about_and_nothing_else(rig: &Rig) {
    tell_groups(rig);
    let scope = |target, scope| purge(target, &[("x-purge-scope", scope)]);
    let [f, t] = [false, true];
    assert_purges(rig, &purge("/versions/a", &[]), [t, f, f, f, f, f]);
    assert_purges(rig, &purge("/versions/z", &[]), [f; 6]);
    assert_purges(rig, &purge("/", &[("x-purge-group", "odd")]), [t, t, t, f, t, f]);
    assert_purges(rig, &purge("/", &[("x-purge-group", "even")]), [f, f, f, t, f, t]);
    assert_purges(rig, &scope("/versions/a", "prefix"), [t, t, f, f, f, f]);
    assert_purges(rig, &scope("/versions", "prefix"), [t, t, t, t, t, f]);
    assert_purges(rig, &scope("/", "host"), [t, t, t, t, t, f]);
    assert_purges(rig, &scope("/", "all"), [t; 6]);
    let soft = [("x-purge-mode", "soft")];
    assert_purges(rig, &purge("/versions/b", &soft), [f, f, f, t, f, f]);

    // What is purged softly stands in for an upstream that is gone; what is purged is gone too.
    for (mode, status) in [("soft", 200), ("hard", 503)] {
        assert_eq!(everywhere(rig, &get("/versions/c")).len(), 6 * CONNECTIONS);
        rig.purge(2, "/versions/c", &[("x-purge-mode", mode)]);
        rig.tell(&[Fault::new("/versions/c", Action::Close)]);
        for replica in 0..3 {
            let response = rig.get(replica, "/versions/c");
            assert_eq!(response.status, status, "{mode}: {response:?}");
            if mode == "soft" {
                assert_eq!(detail(&response), Some("unreachable"), "{}", told(&response));
            }
        }
        rig.upstream.clear_faults().unwrap();
    }
    assert_eq!(rig.total("purges_total", &[("outcome", "failed")]), 0.0);
}

/// Waits until no worker answers with anything older; how long that took.
fn wait_until_newer(rig: &Rig, target: &str, than: u64) -> Duration {
    let start = Instant::now();
    wait_until("the change to be seen", Duration::from_secs(2), || {
        let versions: Vec<_> = everywhere(rig, &get(target)).iter().map(version).collect();
        if versions.iter().all(|version| *version >= than) {
            Ok(())
        } else {
            Err(format!("{versions:?}"))
        }
    })
    .unwrap();
    start.elapsed()
}

fn an_unsafe_request_takes_what_it_may_have_changed(rig: &Rig) {
    tell_groups(rig);
    for (replica, method) in ["POST", "DELETE", "PUT"].into_iter().enumerate() {
        let before = version_everywhere(rig, &get("/versions/a"));
        let other = version_everywhere(rig, &get("/versions/b"));
        let response = rig.send(replica, &asking(method, "/versions/a"));
        assert_eq!((response.status, version(&response)), (200, before + 1), "{method}");
        let took = wait_until_newer(rig, "/versions/a", before + 1);
        println!("{method}: seen by all within {took:.1?}");
        assert_eq!(version_everywhere(rig, &get("/versions/b")), other);
    }
    rig.wait_until_counted("invalidations_total", &[("cache", "versions")], 3);

    // One that has failed has changed nothing, nor has one that only reads.
    let before = version_everywhere(rig, &get("/versions/a"));
    rig.change("/versions/a");
    rig.tell(&[Fault::status("/versions/a", 500).methods(&["POST"])]);
    for (method, status) in [("POST", 500), ("OPTIONS", 200)] {
        assert_eq!(rig.send(0, &asking(method, "/versions/a")).status, status);
    }
    assert_eq!(version_everywhere(rig, &get("/versions/a")), before);
    rig.wait_until_counted("invalidations_total", &[("cache", "versions")], 3);
}

fn only_the_purge_listener_takes_orders_and_only_orders(rig: &Rig) {
    tell_groups(rig);
    let before = version_everywhere(rig, &get("/versions/a"));
    let newer = rig.change("/versions/a");
    let purges = rig.total("purges_total", &[]);

    // For clients it is an unknown method, which the upstream refuses.
    for replica in 0..3 {
        let response = rig.send(replica, &purge("/versions/a", &[("x-purge-scope", "all")]));
        assert_eq!(response.status, 405, "{response:?}");
        assert!(!response.text().contains("purged"), "{response:?}");
    }
    assert_eq!(rig.upstream.counts().unwrap().of_method("PURGE"), 3);

    for method in ["GET", "HEAD", "POST", "DELETE", "PUT"] {
        let response = rig.order(0, &asking(method, "/versions/a"));
        assert_eq!(response.status, 405, "{method}");
        assert!(!response.text().contains("version"), "{method}: {response:?}");
    }
    let long = "g".repeat(1025);
    for (fields, why) in [
        ([("x-purge-scope", "planet")], "allowed: url, prefix, host, all"),
        ([("x-purge-mode", "gentle")], "allowed: hard, soft"),
        ([("x-purge-group", long.as_str())], "1 to 128 lines of 1 to 1024 bytes"),
    ] {
        let response = rig.order(2, &purge("/versions/a", &fields));
        assert_eq!(response.status, 400, "{response:?}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(problem["status"], 400);
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
    assert_eq!(version_everywhere(rig, &get("/versions/a")), before, "nothing was purged");
    assert_eq!(rig.total("purges_total", &[]), purges);

    rig.purge(2, "/versions/a", &[]);
    assert_eq!(version_everywhere(rig, &get("/versions/a")), newer);
    assert_eq!(rig.total("purges_total", &[("outcome", "done")]), purges + 1.0);
}
