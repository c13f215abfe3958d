//! A stack with breakers, its upstream, and requests to single replicas.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Request, Response};
use integration_tests::scene::Scene;
use integration_tests::stack::{Envoy, StackOptions, wait_until};
use integration_tests::upstream::Fault;
use integration_tests::upstream::control::Control;
use serde_json::{Value, json};

/// How long anything may take that has no limit of its own.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What the breaker of most tests is about, and another path that has one too.
pub(crate) const ITEMS: &str = "/items/MLA1";
pub(crate) const CATEGORIES: &str = "/categories/MLA1";

pub(crate) struct Rig {
    scene: Scene,
    pub(crate) upstream: Control,
}

/// A configuration with two routes and this breaker for each of them.
pub(crate) fn config(redis: bool, breaker: &Value) -> String {
    let mut named = json!({"name": "upstream"});
    named.as_object_mut().unwrap().extend(breaker.as_object().unwrap().clone());
    let mut config = json!({
        "version": 1,
        "routes": [
            {"name": "items", "path": "/items/{*rest}"},
            {"name": "categories", "path": "/categories/{*rest}"},
        ],
        "breakers": [named],
    });
    if redis {
        let redis = json!({"namespace": "breakers", "timeout": "1s"});
        config.as_object_mut().unwrap().insert("redis".to_owned(), redis);
    }
    config.to_string()
}

impl Rig {
    pub(crate) fn start(config: &str, choose: impl FnOnce(StackOptions) -> StackOptions) -> Self {
        let scene = Scene::start(config, choose).unwrap();
        let upstream = Control::new(scene.stand_in().unwrap().control());
        let rig = Self { scene, upstream };
        rig.wait_until_joined();
        rig
    }

    /// With Redis, breakers are of the fleet once every worker has asked how they stand.
    fn wait_until_joined(&self) {
        let Some(redis) = self.scene.redis() else { return };
        wait_until("all workers to hear of breakers", SOON, || {
            let primary = redis.primary().ok_or("no primary")?;
            let reply = primary.ask(&["PUBSUB", "NUMSUB", "mp:{breakers}:breakers"]);
            let heard = reply.map_err(|error| error.to_string())?.to_string();
            let connected: f64 =
                self.replicas().iter().map(|r| metric(r, "meliproxy_redis_connections", &[])).sum();
            let heard_by = heard.split_whitespace().last().and_then(|n| n.parse::<f64>().ok());
            if connected > 0.0 && heard_by.is_some_and(|count| count >= connected) {
                Ok(())
            } else {
                Err(format!("{heard:?} of {connected}"))
            }
        })
        .unwrap();
    }

    pub(crate) fn address(&self, replica: usize) -> SocketAddr {
        self.replica(replica).http()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas().iter().map(Envoy::http).collect()
    }

    /// One request to one replica, on a connection of its own.
    pub(crate) fn get(&self, replica: usize, target: &str) -> Response {
        Client::new(self.address(replica)).from(Ipv4Addr::LOCALHOST).get(target).unwrap()
    }

    pub(crate) fn status(&self, replica: usize, target: &str) -> u16 {
        self.get(replica, target).status
    }

    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.upstream.set_faults(faults).unwrap();
    }

    pub(crate) fn heal(&self) {
        self.upstream.clear_faults().unwrap();
    }

    /// How many requests under `/items` the upstream has had.
    pub(crate) fn received(&self) -> u64 {
        self.upstream.counts().unwrap().of_prefix("/items")
    }

    /// Waits until a request to a replica is refused by the breaker, or is not; returns how long that took.
    pub(crate) fn wait_until_refused(
        &self,
        replica: usize,
        target: &str,
        expected: bool,
    ) -> Duration {
        let start = Instant::now();
        let what = if expected { "the breaker to refuse" } else { "the breaker to let pass" };
        wait_until(what, SOON, || {
            let response = self.get(replica, target);
            if is_refusal(&response) == expected { Ok(()) } else { Err(response.text()) }
        })
        .unwrap();
        start.elapsed()
    }

    /// Lines of all replicas' logs that hold `text`.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.replicas().iter().map(|replica| replica.log().matches(text).count()).sum()
    }

    pub(crate) fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.replicas().iter().map(|replica| metric(replica, name, labels)).sum()
    }

    #[track_caller]
    pub(crate) fn assert_no_crash(&self) {
        for replica in self.replicas() {
            let log = replica.log();
            assert!(!log.contains("in-VM backtrace") && !log.contains("panicked at"), "{log}");
        }
    }
}

pub(crate) fn metric(replica: &Envoy, name: &str, labels: &[(&str, &str)]) -> f64 {
    replica.metric(name, labels).unwrap()
}

/// Whether it is our own 503, and not what the upstream or Envoy answers.
pub(crate) fn is_refusal(response: &Response) -> bool {
    response.status == 503 && response.text().contains("\"breaker\":")
}

/// `GET target`.
pub(crate) fn get(target: &str) -> Request {
    Request::get(target)
}

impl std::ops::Deref for Rig {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}
