//! What is lost on the way, and what that costs: nothing that may be asked again, and no request more than was sent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::client::{Client, Load, Request, burst};
use integration_tests::scene::{Scene, next_origin, statuses};
use integration_tests::stack::{Envoy, wait_until};
use integration_tests::upstream::control::Control;
use integration_tests::upstream::{Action, Fault};

use crate::proxy::CONFIG;

/// Requests per second, and connections that carry them: many are in flight whenever something is lost.
const RATE: u32 = 300;
const CONNECTIONS: u32 = 16;

struct Fleet {
    scene: Scene,
    edge: [SocketAddr; 1],
    upstream: Control,
}

impl Fleet {
    fn start() -> Self {
        let scene = Scene::start(CONFIG, |options| options).unwrap();
        let edge = [scene.edge().http()];
        let upstream = Control::new(scene.stand_in().unwrap().control());
        Self { scene, edge, upstream }
    }

    /// Waits until the replica has answered `count` requests more.
    fn wait_for_traffic(&self, replica: &Envoy, count: f64) {
        let answered = || {
            let labels = [("envoy_http_conn_manager_prefix", "replica")];
            replica.metric("envoy_http_downstream_rq_completed", &labels).unwrap()
        };
        let start = answered();
        wait_until("traffic", Duration::from_secs(10), || {
            let now = answered();
            if now >= start + count { Ok(()) } else { Err(now.to_string()) }
        })
        .unwrap();
    }
}

#[test]
fn nothing_is_stored_and_the_body_is_the_upstreams_own() {
    let fleet = Fleet::start();
    let path = "/categories/MLA97994";
    let own = Client::new(fleet.scene.stand_in().unwrap().http()).get(path).unwrap();
    fleet.upstream.reset_counts().unwrap();
    for number in 1..=3 {
        let through = Client::new(fleet.edge[0]).get(path).unwrap();
        assert_eq!((through.status, &through.body), (200, &own.body));
        assert_eq!(through.header("etag"), own.header("etag"));
        assert_eq!(fleet.upstream.counts().unwrap().of_prefix("/categories"), number);
    }
    // Conditions are the upstream's to judge.
    let etag = own.header("etag").unwrap();
    let conditional = Request::get(path).header("If-None-Match", etag);
    let unchanged = Client::new(fleet.edge[0]).send(&conditional).unwrap();
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag)));
}

#[test]
fn replicas_that_die_under_load_cost_no_get_and_repeat_no_post() {
    let fleet = Fleet::start();
    for method in ["GET", "POST"] {
        fleet.upstream.reset_counts().unwrap();
        let load = Load::start(&fleet.edge, RATE, CONNECTIONS, move |number| {
            Request::new(method, format!("/echo/{number}"))
        })
        .unwrap();
        for replica in fleet.scene.replicas() {
            fleet.wait_for_traffic(replica, 30.0);
            replica.kill();
            for survivor in fleet.scene.replicas().iter().filter(|it| it.pid().is_some()) {
                fleet.wait_for_traffic(survivor, 50.0);
            }
            let lines = fleet.upstream.requests().unwrap();
            let different: BTreeSet<_> = lines.iter().collect();
            let repeated = lines.len() - different.len();
            assert!(method == "GET" || repeated == 0, "{repeated} arrived twice");
            replica.start().unwrap();
        }
        let outcomes = load.stop().unwrap();
        let counts = statuses(&outcomes);
        let failed = outcomes.len() - counts[&200];
        // A POST that a replica held when it died may have reached the upstream: nobody can know.
        let held = CONNECTIONS as usize * fleet.scene.replicas().len();
        assert!(failed <= if method == "GET" { 0 } else { held }, "{counts:?}");
    }
    // What had reached no replica has found another one.
    let labels = [("envoy_cluster_name", "replicas")];
    let given_up = "envoy_cluster_upstream_rq_retry_limit_exceeded";
    assert_eq!(fleet.scene.edge().metric(given_up, &labels).unwrap(), 0.0);
}

#[test]
fn an_upstream_that_breaks_connections_is_asked_once_for_each_request() {
    let fleet = Fleet::start();
    for action in [Action::Reset, Action::Close] {
        for method in ["GET", "POST"] {
            fleet.upstream.set_faults(&[Fault::new("/echo/", action.clone())]).unwrap();
            fleet.upstream.reset_counts().unwrap();
            let request = Request::new(method, "/echo/x");
            let outcomes = burst(&fleet.edge, next_origin(), &request, 30, 3).unwrap();
            assert_eq!(statuses(&outcomes), [(503, 30)].into(), "{method} {action:?}");
            assert_eq!(fleet.upstream.counts().unwrap().total, 30, "{method} {action:?}");
        }
    }
    // The fleet has not been blamed for it.
    fleet.upstream.clear_faults().unwrap();
    let outcomes = burst(&fleet.edge, next_origin(), &Request::get("/echo/x"), 30, 3).unwrap();
    assert_eq!(statuses(&outcomes), [(200, 30)].into());
    let ejections =
        fleet.scene.edge().metric("envoy_cluster_outlier_detection_ejections_active", &[]);
    assert_eq!(ejections.unwrap(), 0.0);
}
