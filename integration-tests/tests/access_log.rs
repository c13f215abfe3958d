//! The access log of a replica says of each request what was decided, and on what grounds.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends here")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use integration_tests::client::{Client, Request};
use integration_tests::fleet::SOON;
use integration_tests::scene::Scene;
use integration_tests::stack::{Envoy, wait_until};
use integration_tests::upstream::Fault;
use integration_tests::upstream::control::Control;

/// Redis may be slow here without being taken for lost.
const DEADLINE: Duration = Duration::from_secs(1);

const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "log", "timeout": "1s"},
  "routes": [
    {"name": "two", "path": "/echo/two/{*rest}"},
    {"name": "shadow", "path": "/echo/shadow/{*rest}"},
    {"name": "keyed", "path": "/echo/keyed/{*rest}"},
    {"name": "slow", "path": "/echo/slow/{*rest}"},
    {"name": "alone", "path": "/echo/alone/{*rest}"}
  ],
  "quotas": [
    {"name": "two", "routes": ["two"], "limit": 2, "per": "365d"},
    {"name": "two-wide", "routes": ["two"], "limit": 1000, "per": "365d"},
    {"name": "shadow", "routes": ["shadow"], "limit": 1, "per": "365d", "shadow": true},
    {"name": "shadow-wide", "routes": ["shadow"], "limit": 1000, "per": "365d"},
    {"name": "keyed", "routes": ["keyed"], "by": ["header:key"], "limit": 10, "per": "365d", "overrides": [
      {"match": {"header:key": "refused"}, "action": "refuse"}]},
    {"name": "slow", "routes": ["slow"], "limit": 1000, "per": "365d"},
    {"name": "alone", "routes": ["alone"], "limit": 1, "per": "365d"}
  ]
}"#;

/// Fields before the decision in the shipped format.
const FIELDS_BEFORE: usize = 10;

/// What the log says of the request for `path`: status and flags, and the decision without its last pair; and the
/// microseconds of that. Envoy writes what it logs within 10 s.
fn logged(replica: &Envoy, path: &str) -> (String, Option<u64>) {
    let line = wait_until("the line in the access log", SOON, || {
        let log = replica.access_log();
        let line = log.lines().find(|line| line.split(' ').nth(3) == Some(path));
        line.map(str::to_owned).ok_or_else(|| format!("nothing of {path} in {log}"))
    });
    let line = line.unwrap();
    let fields: Vec<_> = line.split(' ').collect();
    let decision = fields.get(FIELDS_BEFORE..).unwrap().join(" ");
    let (decision, waited) = match decision.split_once(" redis_us=") {
        Some((decision, waited)) => (decision.to_owned(), Some(waited.parse().unwrap())),
        None => (decision, None),
    };
    (format!("{} {} {decision}", fields.get(4).unwrap(), fields.get(5).unwrap()), waited)
}

/// Whether a request was held, and for how long.
#[derive(Clone, Copy, PartialEq)]
enum Waited {
    /// There is no decision.
    Nothing,
    No,
    ForRedis,
    InVain,
}

impl Waited {
    fn is(self, micros: Option<u64>) -> bool {
        let deadline = u64::try_from(DEADLINE.as_micros()).unwrap();
        match self {
            Self::Nothing => micros.is_none(),
            Self::No => micros == Some(0),
            Self::ForRedis => micros.is_some_and(|it| (1..deadline).contains(&it)),
            Self::InVain => micros.is_some_and(|it| (deadline..2 * deadline).contains(&it)),
        }
    }
}

#[test]
fn each_request_is_logged_with_what_was_decided() {
    let scene = Scene::start(CONFIG, |options| options.replicas(2)).unwrap();
    let (first, second) = (scene.replica(0), scene.replica(1));
    let redis = scene.redis().unwrap();
    // One connection to each: what a worker remembers it tells on the next request.
    let (mut to_first, mut to_second) = (Client::new(first.http()), Client::new(second.http()));
    let mut expected = BTreeMap::new();
    let mut expect = |path: &'static str, told: &'static str, waited: Waited| {
        assert!(expected.insert(path, (told, waited)).is_none());
        path
    };

    let get = |client: &mut Client, path| drop(client.get(path).unwrap());
    let path = expect("/echo/free/1", "200 - -", Waited::Nothing);
    get(&mut to_first, path);
    for (path, told, waited) in [
        (
            "/echo/two/1",
            "200 - rule=two outcome=allowed source=redis remaining=1",
            Waited::ForRedis,
        ),
        (
            "/echo/two/2",
            "200 - rule=two outcome=allowed source=redis remaining=0",
            Waited::ForRedis,
        ),
        ("/echo/two/3", "429 - rule=two outcome=denied source=memory remaining=0", Waited::No),
    ] {
        get(&mut to_first, expect(path, told, waited));
    }
    let told = "429 - rule=two outcome=denied source=redis remaining=0";
    get(&mut to_second, expect("/echo/two/4", told, Waited::ForRedis));
    // The other rule is told of until this one would refuse.
    let told = "200 - rule=shadow outcome=allowed source=redis remaining=0";
    get(&mut to_first, expect("/echo/shadow/1", told, Waited::ForRedis));
    let told = "200 - rule=shadow outcome=shadowed source=redis remaining=0";
    get(&mut to_first, expect("/echo/shadow/2", told, Waited::ForRedis));

    // Nothing that a client says is told.
    let told = "429 - rule=keyed outcome=denied source=config remaining=-";
    let path = expect("/echo/keyed/1", told, Waited::No);
    drop(to_first.send(&Request::get(path).header("key", "refused")).unwrap());
    let told = "200 - rule=keyed outcome=allowed source=redis remaining=9";
    let path = expect("/echo/keyed/2", told, Waited::ForRedis);
    drop(to_first.send(&Request::get(path).header("key", "x outcome=denied\ty")).unwrap());

    // A client that leaves before the upstream answers.
    let control = Control::new(scene.stand_in().unwrap().control());
    control.set_faults(&[Fault::delay("/echo/slow", 2 * SOON)]).unwrap();
    let told = "0 DC rule=slow outcome=allowed source=redis remaining=999";
    let path = expect("/echo/slow/1", told, Waited::ForRedis);
    let mut leaves = TcpStream::connect(first.http()).unwrap();
    write!(leaves, "GET {path} HTTP/1.1\r\nHost: api\r\n\r\n").unwrap();
    wait_until("the decision", SOON, || {
        let decided = first.metric("meliproxy_quota_decisions_total", &[("rule", "slow")]).unwrap();
        if decided == 1.0 { Ok(()) } else { Err(decided.to_string()) }
    })
    .unwrap();
    drop(leaves);

    // Redis gives no answer in time; until it does, nobody else waits for one.
    redis.node(0).ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    let told = "200 - rule=alone outcome=allowed source=process remaining=0";
    get(&mut to_first, expect("/echo/alone/1", told, Waited::InVain));
    let told = "429 - rule=alone outcome=denied source=process remaining=0";
    get(&mut to_first, expect("/echo/alone/2", told, Waited::No));

    for (path, (told, waited)) in expected {
        let replica = if path == "/echo/two/4" { second } else { first };
        let (logged, micros) = logged(replica, path);
        assert_eq!(logged, told, "{path}");
        assert!(waited.is(micros), "{path}: {micros:?}");
    }
}
