//! Redis lost in every way there is: nobody is refused or kept waiting for it, and each process counts for itself.
//!
//! Steady traffic flows while Redis is lost and when it is back. `MELIPROXY_LONG=1` makes every loss last 10 s. What a
//! loss looks like depends on the transport, so most are gone through by both.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use integration_tests::client::burst;
use integration_tests::fleet::{
    COUNTED, COUNTED_LIMIT, Fleet, SHIPPED_DEADLINE, SOON, Traffic, from, passed, reached_by,
    two_rules,
};
use integration_tests::scene::next_origin;
use integration_tests::stack::{RedisNode, wait_until};

/// How long a loss lasts.
fn lasting() -> Duration {
    let long = std::env::var_os("MELIPROXY_LONG").is_some();
    Duration::from_secs(if long { 10 } else { 3 })
}

/// Times `line` stands in the logs of each replica.
fn said(fleet: &Fleet, line: &str) -> Vec<usize> {
    fleet.replicas().iter().map(|replica| replica.log().matches(line).count()).collect()
}

/// One way to lose Redis.
struct Loss {
    name: &'static str,
    /// What the log names as a cause of it, or how that begins; maybe among others.
    cause: &'static str,
    /// The same if Redis is reached by calls; `None` if that looks no different.
    cause_by_call: Option<&'static str>,
    /// Whether Redis still has its counters afterwards.
    keeps_counts: bool,
    /// Loses it, and returns what gets it back.
    lose: for<'f> fn(&'f Fleet) -> Restore<'f>,
}

type Restore<'f> = Box<dyn FnOnce() + 'f>;

const LOSSES: &[Loss] = &[
    Loss {
        name: "killed",
        cause: "stream ended",
        cause_by_call: Some("call ended with status 503"),
        keeps_counts: false,
        lose: kill,
    },
    Loss {
        name: "stopped without a sign",
        cause: "stream ended",
        cause_by_call: Some(""),
        keeps_counts: true,
        lose: pause,
    },
    Loss {
        name: "another password",
        cause: "authentication refused",
        cause_by_call: Some("authentication refused"),
        keeps_counts: true,
        lose: change_password,
    },
    Loss {
        name: "no primary left",
        cause: "READONLY",
        cause_by_call: Some("READONLY"),
        keeps_counts: true,
        lose: demote,
    },
    Loss {
        name: "out of memory",
        cause: "OOM",
        cause_by_call: Some("OOM"),
        keeps_counts: true,
        lose: fill_memory,
    },
    Loss {
        name: "too few replicas for writing",
        cause: "NOREPLICAS",
        cause_by_call: None,
        keeps_counts: true,
        lose: want_replicas,
    },
    Loss {
        name: "cannot write to its disk",
        cause: "MISCONF",
        cause_by_call: None,
        keeps_counts: true,
        lose: fail_to_save,
    },
    Loss {
        name: "loading its data",
        cause: "server is not ready: LOADING",
        cause_by_call: None,
        keeps_counts: true,
        lose: load_slowly,
    },
];

fn kill(fleet: &Fleet) -> Restore<'_> {
    let redis = fleet.redis();
    // The replica first, or it would take over.
    [1, 0].into_iter().for_each(|index| redis.node(index).kill());
    Box::new(|| [0, 1].into_iter().for_each(|index| redis.node(index).start().unwrap()))
}

fn pause(fleet: &Fleet) -> Restore<'_> {
    let redis = fleet.redis();
    [1, 0].into_iter().for_each(|index| redis.node(index).pause());
    Box::new(|| [0, 1].into_iter().for_each(|index| redis.node(index).resume()))
}

fn change_password(fleet: &Fleet) -> Restore<'_> {
    let redis = fleet.redis();
    let admins = redis.nodes().iter().map(|node| Admin::log_in(node, redis.password()));
    let admins: Vec<_> = admins.collect();
    let set = move |password: &str| {
        for admin in &admins {
            admin.say(&format!("CONFIG SET requirepass {password}"));
            admin.say("CLIENT KILL TYPE normal");
        }
    };
    set("another");
    Box::new(move || set(redis.password()))
}

fn demote(fleet: &Fleet) -> Restore<'_> {
    let redis = fleet.redis();
    let port = redis.node(1).address().port().to_string();
    ask(redis.node(0), &[&["REPLICAOF", "127.0.0.1", &port]]);
    Box::new(|| ask(redis.node(0), &[&["REPLICAOF", "NO", "ONE"]]))
}

/// Sets what keeps the primary from writing; with 0 it writes again.
fn set<'f>(fleet: &'f Fleet, setting: &'static str, losing: &str) -> Restore<'f> {
    let node = fleet.redis().node(0);
    ask(node, &[&["CONFIG", "SET", setting, losing]]);
    Box::new(move || ask(node, &[&["CONFIG", "SET", setting, "0"]]))
}

fn fill_memory(fleet: &Fleet) -> Restore<'_> {
    set(fleet, "maxmemory", "1")
}

fn want_replicas(fleet: &Fleet) -> Restore<'_> {
    set(fleet, "min-replicas-to-write", "5")
}

/// What it saves cannot take the place of a folder.
fn fail_to_save(fleet: &Fleet) -> Restore<'_> {
    let node = fleet.redis().node(0);
    fs::create_dir(node.config().with_file_name("dump.rdb")).unwrap();
    ask(node, &[&["CONFIG", "SET", "save", "3600 1"], &["BGSAVE"]]);
    let failed = || match node.ask(&["INFO", "persistence"]).unwrap().text() {
        Some(text) if text.contains("rdb_last_bgsave_status:err") => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait_until("the save to fail", SOON, failed).unwrap();
    Box::new(|| ask(node, &[&["CONFIG", "SET", "save", ""]]))
}

/// Restarts it with data that takes it seconds to load.
fn load_slowly(fleet: &Fleet) -> Restore<'_> {
    let redis = fleet.redis();
    let node = redis.node(0);
    let fill = "for n = 1, 800 do redis.call('SET', 'filler:' .. n, string.rep('x', 1500)) end";
    let save: [&[&str]; 3] =
        [&["EVAL", fill, "0"], &["CONFIG", "SET", "rdbcompression", "no"], &["SAVE"]];
    ask(node, &save);
    [1, 0].into_iter().for_each(|index| redis.node(index).kill());
    let mut config = OpenOptions::new().append(true).open(node.config()).unwrap();
    // Microseconds for each key, and to look at what others ask after each.
    config
        .write_all(b"key-load-delay 10000\nloading-process-events-interval-bytes 1024\n")
        .unwrap();
    node.start().unwrap();
    Box::new(|| redis.node(1).start().unwrap())
}

#[test]
fn redis_lost_is_no_outage() {
    for loss in LOSSES {
        println!("{}:", loss.name);
        survive(&start(STREAM), loss, loss.cause);
    }
}

#[test]
fn redis_lost_between_calls_is_no_outage() {
    for (loss, cause) in LOSSES.iter().filter_map(|loss| Some((loss, loss.cause_by_call?))) {
        println!("{}:", loss.name);
        survive(&start(CALLOUT), loss, cause);
    }
}

/// Loses Redis and gets it back, under traffic.
fn survive(fleet: &Fleet, loss: &Loss, cause: &str) {
    let said = || (said(fleet, "redis is lost ("), said(fleet, "redis is back"));
    let traffic = Traffic::start(fleet);
    let served_before = fleet.assert_counts_over_all_replicas();

    let (lost_before, _) = said();
    let lost_at = Instant::now();
    let restore = (loss.lose)(fleet);
    let noticed = fleet.wait_until_degraded("the loss to be noticed", |degraded| degraded == 1.0);
    let (lost, _) = said();
    assert!(lost.iter().zip(&lost_before).all(|(now, before)| now > before), "{lost:?}");
    let origin = next_origin();
    for replica in fleet.addresses() {
        let outcomes = burst(&[replica], Ipv4Addr::LOCALHOST, &from(origin, COUNTED), 30, 4);
        // Each process for itself, with its share: all of them no more than the limit.
        assert_eq!(passed(&outcomes.unwrap()), COUNTED_LIMIT / fleet.replicas().len());
    }
    traffic.flow(lasting());
    let cause = format!("lost ({cause}");
    let told = self::said(fleet, &cause);
    assert!(told.iter().all(|times| *times > 0), "{cause} is not why, as {told:?} replicas say");

    restore();
    let back_at = Instant::now();
    let recovered = fleet.wait_until_degraded("Redis to be back", |degraded| degraded == 0.0);
    fleet.assert_counts_over_all_replicas();
    // What processes have counted Redis does not know, so the limit may pass once more; nothing else is forgotten.
    assert!(passed(&fleet.burst(origin, COUNTED, 60)) <= COUNTED_LIMIT);
    let again = passed(&fleet.burst(served_before, COUNTED, 60));
    assert!(again == 0 || !loss.keeps_counts, "{again} passed beyond the limit");
    traffic.flow(Duration::from_secs(1));
    println!("noticed after {noticed:?}, recovered after {recovered:?}");
    traffic.stop_unharmed(lost_at, back_at);
    for replica in fleet.replicas() {
        let log = replica.log();
        assert!(!log.contains("in-VM backtrace"), "{log}");
    }
    let ended = wait_until("the end of each loss to be said", SOON, || match said() {
        (lost, back) if lost == back => Ok(()),
        said => Err(format!("{said:?}")),
    });
    ended.unwrap();
}

fn ask(node: &RedisNode, commands: &[&[&str]]) {
    for command in commands {
        node.ask(command).unwrap();
    }
}

/// A connection that stays logged in when the password changes.
struct Admin(TcpStream);

impl Admin {
    fn log_in(node: &RedisNode, password: &str) -> Self {
        let admin = Self(TcpStream::connect(node.address()).unwrap());
        admin.say(&format!("AUTH {password}"));
        admin
    }

    fn say(&self, command: &str) {
        (&self.0).write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        BufReader::new(&self.0).read_line(&mut reply).unwrap();
        assert!(reply.starts_with(['+', ':']), "{command}: {reply}");
    }
}

/// The transports.
const STREAM: &str = "stream";
const CALLOUT: &str = "callout";

fn start(transport: &str) -> Fleet {
    Fleet::start(&reached_by(transport, &two_rules(SHIPPED_DEADLINE)), |options| options)
}

#[test]
fn scripts_forgotten_again_and_again() {
    forget_scripts(STREAM);
}

#[test]
fn scripts_forgotten_again_and_again_between_calls() {
    forget_scripts(CALLOUT);
}

fn forget_scripts(transport: &str) {
    let fleet = start(transport);
    let traffic = Traffic::start(&fleet);
    let from = Instant::now();
    for _ in 0..10 {
        ask(fleet.redis().node(0), &[&["SCRIPT", "FLUSH"]]);
        fleet.assert_counts_over_all_replicas();
        ask(fleet.redis().node(0), &[&["SCRIPT", "FLUSH"]]);
        traffic.flow(Duration::from_millis(100));
    }
    traffic.stop_unharmed(from, Instant::now());
    let errors = fleet.total("meliproxy_redis_failures_total", &[("cause", "error")]);
    assert_eq!(errors, 0.0, "a script is sent again, not given up");
}

#[test]
fn connections_cut_again_and_again() {
    let fleet = start(STREAM);
    let traffic = Traffic::start(&fleet);
    let cut_before = fleet.total("meliproxy_redis_disconnects_total", &[]);
    let (from, end) = (Instant::now(), Instant::now() + lasting());
    while Instant::now() < end {
        ask(fleet.redis().node(0), &[&["CLIENT", "KILL", "TYPE", "normal"]]);
        traffic.flow(Duration::from_millis(50));
    }
    let until = Instant::now();
    let cut = fleet.total("meliproxy_redis_disconnects_total", &[]) - cut_before;
    assert!(cut > 10.0, "connections were cut {cut} times");
    fleet.wait_until_degraded("the connections to be back", |degraded| degraded == 0.0);
    fleet.assert_counts_over_all_replicas();
    traffic.stop_unharmed(from, until);
}
