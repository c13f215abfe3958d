//! Redis lost in every way there is: nobody is refused or kept waiting for it, and each process counts for itself.
//!
//! Steady traffic flows while Redis is lost and when it is back. `MELIPROXY_LONG=1` makes every loss last 10 s. What a
//! loss looks like depends on the transport, so most are gone through by both.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

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

/// Loses Redis by `lose`, and gets it back by `restore`, under traffic.
fn survive(fleet: &Fleet, lose: impl FnOnce(), restore: impl FnOnce()) {
    let said = || (said(fleet, "redis is lost ("), said(fleet, "redis is back"));
    let traffic = Traffic::start(fleet);
    fleet.assert_counts_over_all_replicas();

    let (lost_before, _) = said();
    let lost_at = Instant::now();
    lose();
    let noticed = fleet.wait_until_degraded("the loss to be noticed", |degraded| degraded == 1.0);
    let (lost, _) = said();
    assert!(lost.iter().zip(&lost_before).all(|(now, before)| now > before), "{lost:?}");
    let origin = next_origin();
    for replica in fleet.addresses() {
        let outcomes = burst(&[replica], Ipv4Addr::LOCALHOST, &from(origin, COUNTED), 30, 4);
        // Each process for itself, with its share.
        assert_eq!(passed(&outcomes.unwrap()), COUNTED_LIMIT / fleet.replicas().len());
    }
    traffic.flow(lasting());

    let back_at = Instant::now();
    restore();
    let recovered = fleet.wait_until_degraded("Redis to be back", |degraded| degraded == 0.0);
    fleet.assert_counts_over_all_replicas();
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

/// The transports.
const STREAM: &str = "stream";
const CALLOUT: &str = "callout";

fn start(transport: &str) -> Fleet {
    Fleet::start(&reached_by(transport, &two_rules(SHIPPED_DEADLINE)), |options| options)
}

fn ask(node: &RedisNode, commands: &[&[&str]]) {
    for command in commands {
        node.ask(command).unwrap();
    }
}

#[test]
fn killed() {
    be_killed(STREAM);
}

#[test]
fn killed_between_calls() {
    be_killed(CALLOUT);
}

fn be_killed(transport: &str) {
    let fleet = start(transport);
    let redis = fleet.redis();
    let lose = || {
        // The replica first, or it would take over.
        redis.node(1).kill();
        redis.node(0).kill();
    };
    let restore = || {
        redis.node(0).start().unwrap();
        redis.node(1).start().unwrap();
    };
    survive(&fleet, lose, restore);
}

#[test]
fn stopped_without_a_sign() {
    be_stopped_without_a_sign(STREAM);
}

#[test]
fn stopped_without_a_sign_between_calls() {
    be_stopped_without_a_sign(CALLOUT);
}

fn be_stopped_without_a_sign(transport: &str) {
    let fleet = start(transport);
    let redis = fleet.redis();
    let lose = || [1, 0].into_iter().for_each(|index| redis.node(index).pause());
    let restore = || [0, 1].into_iter().for_each(|index| redis.node(index).resume());
    survive(&fleet, lose, restore);
}

#[test]
fn password_changed() {
    be_password_changed(STREAM);
}

#[test]
fn password_changed_between_calls() {
    be_password_changed(CALLOUT);
}

fn be_password_changed(transport: &str) {
    let fleet = start(transport);
    let redis = fleet.redis();
    let admins = redis.nodes().iter().map(|node| Admin::log_in(node, redis.password()));
    let admins: Vec<_> = admins.collect();
    let set = |password: &str| {
        for admin in &admins {
            admin.say(&format!("CONFIG SET requirepass {password}"));
            admin.say("CLIENT KILL TYPE normal");
        }
    };
    survive(&fleet, || set("another"), || set(redis.password()));
    assert!(
        said(&fleet, "lost (authentication refused)").iter().all(|times| *times > 0),
        "why it stays lost"
    );
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

#[test]
fn no_primary_left() {
    be_no_primary_left(STREAM);
}

#[test]
fn no_primary_left_between_calls() {
    be_no_primary_left(CALLOUT);
}

fn be_no_primary_left(transport: &str) {
    let fleet = start(transport);
    let redis = fleet.redis();
    let port = redis.node(1).address().port().to_string();
    let lose = || ask(redis.node(0), &[&["REPLICAOF", "127.0.0.1", &port]]);
    let restore = || ask(redis.node(0), &[&["REPLICAOF", "NO", "ONE"]]);
    survive(&fleet, lose, restore);
}

/// Loses Redis by a `setting` with which it writes nothing; with 0 it writes again.
fn survive_setting(transport: &str, setting: &str, losing: &str) {
    let fleet = start(transport);
    let set = |value| ask(fleet.redis().node(0), &[&["CONFIG", "SET", setting, value]]);
    survive(&fleet, || set(losing), || set("0"));
}

#[test]
fn too_few_replicas_for_writing() {
    survive_setting(STREAM, "min-replicas-to-write", "5");
}

#[test]
fn out_of_memory() {
    survive_setting(STREAM, "maxmemory", "1");
}

#[test]
fn out_of_memory_between_calls() {
    survive_setting(CALLOUT, "maxmemory", "1");
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
