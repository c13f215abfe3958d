//! A stack with a cache, its upstream, and requests to single replicas that all ask for one site.

use std::net::SocketAddr;
use std::time::Duration;

use integration_tests::client::{Client, Request, Response};
use integration_tests::scene::Scene;
use integration_tests::stack::{Envoy, Reply, wait_until};
use integration_tests::upstream::Fault;
use integration_tests::upstream::control::Control;
use serde_json::{Value, json};

/// How long anything may take that has no limit of its own.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The site that all requests ask for: the host is part of the key.
pub(crate) const HOST: &str = "shop.test";

pub(crate) const REPLICAS: u32 = 3;
pub(crate) const WORKERS: u32 = 2;

pub(crate) struct Rig {
    scene: Scene,
    pub(crate) upstream: Control,
}

/// A configuration with these cache policies, each for the route of its name, and whatever else is in `more`. Redis may
/// take longer than a busy machine makes it: who does not hear it in time rightly goes to the upstream.
pub(crate) fn config(policies: &[Value], more: Value) -> Value {
    let routes = ["versions", "items", "categories", "bytes", "stream"];
    let route = |name: &&str| json!({"name": name, "path": format!("/{name}/{{*rest}}")});
    let named = |policy: &Value| {
        let mut policy = policy.clone();
        let name = policy["name"].clone();
        policy.as_object_mut().unwrap().insert("routes".to_owned(), json!([name]));
        policy
    };
    let mut config = json!({
        "version": 1,
        "redis": {"namespace": "cached", "timeout": "1s"},
        "routes": routes.iter().map(route).collect::<Vec<_>>(),
        "cache": policies.iter().map(named).collect::<Vec<_>>(),
    });
    if let Value::Object(more) = more {
        config.as_object_mut().unwrap().extend(more);
    }
    config
}

impl Rig {
    /// Three replicas with two workers each, all of which have joined the cache of the fleet.
    pub(crate) fn start(config: &Value) -> Self {
        let choose = |options: integration_tests::stack::StackOptions| {
            options.replicas(REPLICAS).workers(WORKERS)
        };
        let scene = Scene::start(&config.to_string(), choose).unwrap();
        let upstream = Control::new(scene.stand_in().unwrap().control());
        let rig = Self { scene, upstream };
        rig.wait_until_joined();
        rig
    }

    /// A worker that serves joins once it has heard of Redis. Connections go to workers by chance, so there are many;
    /// what they ask for is answered by no policy.
    pub(crate) fn wait_until_joined(&self) {
        wait_until("all workers to hear of changes", SOON, || {
            let primary = self.redis().unwrap().primary().ok_or("no primary")?;
            let reply = primary.ask(&["PUBSUB", "NUMSUB", "mp:{cached}:cache"]);
            match reply.map_err(|error| error.to_string())? {
                Reply::Array(parts)
                    if parts.get(1) == Some(&Reply::Integer((REPLICAS * WORKERS).into())) =>
                {
                    Ok(())
                }
                other => Err(other.to_string()),
            }
        })
        .unwrap();
        for replica in self.replicas().iter().filter(|replica| replica.pid().is_some()) {
            let mut clients: Vec<_> = (0..32).map(|_| Client::new(replica.http())).collect();
            let answered = |client: &mut Client| client.get("/echo/joining").unwrap().status;
            assert!(clients.iter_mut().map(answered).all(|status| status == 200));
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas().iter().map(Envoy::http).collect()
    }

    /// A connection to one worker of a replica.
    pub(crate) fn client(&self, replica: usize) -> Client {
        Client::new(self.replica(replica).http())
    }

    /// One request to one replica, on a connection of its own.
    pub(crate) fn send(&self, replica: usize, request: &Request) -> Response {
        self.client(replica).send(request).unwrap()
    }

    pub(crate) fn get(&self, replica: usize, target: &str) -> Response {
        self.send(replica, &get(target))
    }

    /// An order at the purge listener of a replica.
    pub(crate) fn order(&self, replica: usize, request: &Request) -> Response {
        Client::new(self.replica(replica).purge()).send(request).unwrap()
    }

    /// Has something purged, by whichever replica.
    #[track_caller]
    pub(crate) fn purge(&self, replica: usize, target: &str, fields: &[(&str, &str)]) {
        let response = self.order(replica, &purge(target, fields));
        assert_eq!((response.status, response.text().as_str()), (200, "{\"purged\":true}\n"));
    }

    /// Makes what is at the upstream under this path a newer one, past all proxies; returns which one it is now.
    pub(crate) fn change(&self, target: &str) -> u64 {
        let mut client = Client::new(self.stand_in().unwrap().http());
        version(&client.send(&Request::new("POST", target)).unwrap())
    }

    pub(crate) fn tell(&self, faults: &[Fault]) {
        self.upstream.set_faults(faults).unwrap();
    }

    /// How many requests under a prefix the upstream has had.
    pub(crate) fn received(&self, prefix: &str) -> u64 {
        self.upstream.counts().unwrap().of_prefix(prefix)
    }

    /// The sum of a metric of the cache over all replicas that run.
    pub(crate) fn total(&self, series: &str, labels: &[(&str, &str)]) -> f64 {
        let name = format!("meliproxy_cache_{series}");
        let alive = self.replicas().iter().filter(|replica| replica.pid().is_some());
        alive.map(|replica| replica.metric(&name, labels).unwrap()).sum()
    }

    /// Waits until a metric has this sum; what happens after an answer is counted after it.
    #[track_caller]
    pub(crate) fn wait_until_counted(&self, series: &str, labels: &[(&str, &str)], sum: u32) {
        wait_until(&format!("{series} {labels:?} to be {sum}"), Duration::from_secs(5), || {
            let found = self.total(series, labels);
            if found == f64::from(sum) { Ok(()) } else { Err(found.to_string()) }
        })
        .unwrap();
    }

    /// Asserts that each of so many requests is in exactly one of the sums.
    #[track_caller]
    pub(crate) fn assert_adds_up(&self, policy: &str, requests: u32) {
        let labels = [("cache", policy)];
        let sums = || {
            ["hits_total", "stale_total", "misses_total", "bypasses_total", "collapsed_total"]
                .map(|series| self.total(series, &labels))
        };
        wait_until("what is counted to add up", Duration::from_secs(5), || {
            let sums = sums();
            if sums.iter().sum::<f64>() == f64::from(requests) {
                println!("{policy}: hits, stale, misses, bypasses, collapsed: {sums:?}");
                Ok(())
            } else {
                Err(format!("{sums:?} for {requests} requests"))
            }
        })
        .unwrap();
    }

    #[track_caller]
    pub(crate) fn assert_no_crash(&self) {
        for replica in self.replicas() {
            let log = replica.log();
            assert!(!log.contains("in-VM backtrace") && !log.contains("panicked at"), "{log}");
        }
    }
}

/// `GET target` at the site.
pub(crate) fn get(target: &str) -> Request {
    asking("GET", target)
}

pub(crate) fn asking(method: &str, target: &str) -> Request {
    Request::new(method, target).header("Host", HOST)
}

/// `PURGE target` with these fields.
pub(crate) fn purge(target: &str, fields: &[(&str, &str)]) -> Request {
    let request = asking("PURGE", target);
    fields.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Which version a response is of.
#[track_caller]
pub(crate) fn version(response: &Response) -> u64 {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["version"].as_u64().unwrap()
}

/// What the cache says that it did.
#[track_caller]
pub(crate) fn told(response: &Response) -> &str {
    response.header("cache-status").unwrap()
}

/// The `detail` of that.
pub(crate) fn detail(response: &Response) -> Option<&str> {
    response.header("cache-status")?.split_once("detail=").map(|(_, detail)| detail)
}

/// Waits until so much time has passed since `start`.
pub(crate) fn wait_for_age(start: std::time::Instant, age: Duration) {
    wait_until("time to pass", age + SOON, || {
        if start.elapsed() >= age { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
}

impl std::ops::Deref for Rig {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}
