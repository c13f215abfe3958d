//! The fleet's breaker: one decision for all replicas, and exactly as many trial requests as configured.

use std::time::{Duration, Instant};

use integration_tests::client::Load;
use integration_tests::scene::statuses;
use integration_tests::stack::{Envoy, wait_until};
use integration_tests::upstream::{Action, Fault};
use serde_json::json;

use crate::rig::{CATEGORIES, ITEMS, Rig, SOON, config, get, is_refusal};

fn start(breaker: &serde_json::Value) -> Rig {
    Rig::start(&config(true, breaker), |options| options.replicas(3).workers(2))
}

/// Has the fleet's breaker opened by failures that all replicas see.
fn open(rig: &Rig) {
    rig.fail(&[Fault::status("/items", 500)]);
    for _ in 0..5 {
        (0..3).for_each(|replica| drop(rig.get(replica, ITEMS)));
    }
    wait_until("the fleet's breaker to open", SOON, || {
        let labels = [("breaker", "upstream"), ("scope", "fleet")];
        let open = rig.total("meliproxy_breaker_state", &labels);
        if open == 6.0 { Ok(()) } else { Err(open.to_string()) }
    })
    .unwrap();
}

#[test]
fn what_one_replica_has_seen_all_refuse_within_200_ms() {
    let rig = start(&json!({"open_for": "1h"}));
    for replica in 0..3 {
        assert_eq!((rig.status(replica, ITEMS), rig.status(replica, CATEGORIES)), (200, 200));
    }
    rig.fail(&[Fault::status("/items", 503)]);
    for _ in 0..5 {
        assert!(!is_refusal(&rig.get(0, ITEMS)));
    }
    // Without a request of their own.
    let seen_at = Instant::now();
    let labels = [("breaker", "upstream"), ("scope", "fleet")];
    wait_until("replicas 2 and 3 to know", SOON, || {
        let known = |replica| rig.replica(replica).metric("meliproxy_breaker_state", &labels);
        let states: Vec<f64> = [1, 2].map(|replica| known(replica).unwrap()).into();
        if states == [2.0, 2.0] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .unwrap();
    let took = seen_at.elapsed();
    println!("replicas 2 and 3 refuse after {took:?}");
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert!(is_refusal(&rig.get(1, ITEMS)) && is_refusal(&rig.get(2, ITEMS)));
    assert!(is_refusal(&rig.get(0, ITEMS)));
    for replica in 0..3 {
        assert_eq!(rig.status(replica, CATEGORIES), 200, "another breaker");
    }
    assert_eq!(rig.said("breaker upstream of the fleet is open"), 3, "once for each process");
    rig.assert_no_crash();
}

#[test]
fn half_open_under_load_the_upstream_receives_exactly_the_probes() {
    for probes in [1, 3] {
        let rig = start(&json!({"open_for": "1s", "max_open_for": "1s", "probes": probes,
                                "close_after": 100, "probe_timeout": "5m"}));
        open(&rig);
        // Trial requests that hang keep their permits.
        rig.fail(&[Fault::new("/items", Action::Hang)]);
        let before = rig.received();
        let load = Load::start(&rig.addresses(), 2000, 120, |_| get(ITEMS)).unwrap();
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            assert!(rig.received() - before <= probes);
        }
        assert_eq!(rig.received() - before, probes);
        assert!(load.answered() > 6000, "{} answered", load.answered());
        rig.heal();
        drop(load.stop());
        rig.assert_no_crash();
    }
}

#[test]
fn it_closes_for_all_by_one_probe_and_no_request_is_lost() {
    let rig = start(&json!({"open_for": "500ms"}));
    open(&rig);
    rig.heal();
    let before = rig.received();
    for replica in 0..3 {
        rig.wait_until_refused(replica, ITEMS, false);
    }
    let load = Load::start(&rig.addresses(), 500, 30, |_| get(ITEMS)).unwrap();
    wait_until("1,000 answers", SOON, || {
        if load.answered() >= 1000 { Ok(()) } else { Err(load.answered().to_string()) }
    })
    .unwrap();
    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    assert!(rig.received() - before >= outcomes.len() as u64);
    assert_eq!(rig.total("meliproxy_breaker_probes_total", &[("result", "succeeded")]), 1.0);
    assert_eq!(rig.said("of the fleet is closed: probes_succeeded"), 3);
    rig.assert_no_crash();
}

#[test]
fn a_prober_that_is_killed_gives_its_permit_back_after_the_lease() {
    let rig = start(&json!({"open_for": "300ms", "max_open_for": "300ms", "probe_timeout": "1s"}));
    open(&rig);
    rig.fail(&[Fault::new("/items", Action::Hang)]);
    let before = rig.received();
    // Only replica 1 gets requests, so it is the one that makes the trial.
    let hanging = Load::start(&[rig.address(0)], 50, 20, |_| get(ITEMS)).unwrap();
    wait_until(
        "a probe",
        SOON,
        || {
            if rig.received() > before { Ok(()) } else { Err(String::new()) }
        },
    )
    .unwrap();
    rig.replica(0).kill();
    let killed_at = Instant::now();
    drop(hanging.stop());
    rig.heal();
    rig.wait_until_refused(1, ITEMS, false);
    let took = killed_at.elapsed();
    println!("the next probe {took:?} after the prober was killed");
    // The lease is a second more than a probe may take.
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&took), "{took:?}");
    rig.wait_until_refused(2, ITEMS, false);
    assert_eq!(rig.received() - before, 3, "the one that hung, the next probe, and one more");
    rig.assert_no_crash();
}

#[test]
fn only_the_replica_that_is_cut_off_refuses() {
    let rig = start(&json!({"open_for": "1h"}));
    cut_off(&rig, rig.replica(0));
    let load = Load::start(&rig.addresses()[1..], 100, 8, |_| get(ITEMS)).unwrap();
    rig.wait_until_refused(0, ITEMS, true);
    for _ in 0..50 {
        assert!(is_refusal(&rig.get(0, ITEMS)));
    }
    wait_until("300 answers", SOON, || {
        if load.answered() >= 300 { Ok(()) } else { Err(load.answered().to_string()) }
    })
    .unwrap();
    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    let state = |replica: &Envoy, scope| {
        let labels = [("breaker", "upstream"), ("scope", scope)];
        replica.metric("meliproxy_breaker_state", &labels).unwrap()
    };
    wait_until("the gauge", SOON, || {
        let states: Vec<_> = rig.replicas().iter().map(|it| state(it, "replica")).collect();
        if states == [2.0, 0.0, 0.0] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .unwrap();
    assert_eq!(rig.replicas().iter().map(|it| state(it, "fleet")).sum::<f64>(), 0.0);

    // Nor if nobody else has requests: one that cannot reach the upstream says nothing of it.
    assert_eq!(rig.status(1, ITEMS), 200);
    assert_eq!(rig.status(2, ITEMS), 200);
    rig.assert_no_crash();
}

/// Starts a replica anew that finds nobody where its upstream should be.
fn cut_off(rig: &Rig, replica: &Envoy) {
    let bootstrap = rig.endpoints().config.with_file_name("replica-1.yaml");
    let text = std::fs::read_to_string(&bootstrap).unwrap();
    let port = rig.stand_in().unwrap().http().port();
    // Nobody listens there.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (from, to) = (format!("port_value: {port}"), format!("port_value: {other}"));
    assert_eq!(text.matches(&from).count(), 1);
    std::fs::write(&bootstrap, text.replace(&from, &to)).unwrap();
    replica.kill();
    replica.start().unwrap();
}

#[test]
fn while_nothing_fails_redis_is_asked_nothing_about_breakers() {
    let rig = start(&json!({}));
    let calls = || {
        let primary = rig.redis().unwrap().primary().unwrap();
        let stats = primary.ask(&["INFO", "commandstats"]).unwrap().to_string();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        calls.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let before = calls();
    let load = Load::start(&rig.addresses(), 1000, 30, |_| get(ITEMS)).unwrap();
    wait_until("3,000 answers", SOON, || {
        if load.answered() >= 3000 { Ok(()) } else { Err(load.answered().to_string()) }
    })
    .unwrap();
    drop(load.stop());
    assert_eq!(calls() - before, 0);

    // A few failures among many requests: reports, but not one for each.
    let share = integration_tests::upstream::Ratio::new(0.05).unwrap();
    rig.fail(&[Fault::status("/items", 500).ratio(share)]);
    let load = Load::start(&rig.addresses(), 1000, 30, |_| get(ITEMS)).unwrap();
    wait_until("3,000 answers", SOON, || {
        if load.answered() >= 3000 { Ok(()) } else { Err(load.answered().to_string()) }
    })
    .unwrap();
    drop(load.stop());
    let reports = calls() - before;
    println!("{reports} script calls for 3,000 requests of which 150 failed");
    // Six workers, each at most every 10 ms.
    assert!((1..1500).contains(&reports), "{reports}");
}
