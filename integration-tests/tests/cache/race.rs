//! Races of fills, reads and purges: once a purge was answered, nobody is given what was there before.
//!
//! Each lane has a URL of its own, which readers ask all replicas for without pause, and one who changes it at the
//! upstream, has it purged by whichever replica, and then tells the readers so. Whatever is asked for from then on has
//! to be the new one. Half of the fetches are slow, so that many are on their way when their URL is purged. What two of the
//! lanes have is always stale, and may be used while it is refreshed, but not once it was purged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Request};
use integration_tests::upstream::{Action, Fault, Ratio};
use serde_json::json;

use crate::rig::{Rig, config, detail, get, purge, version};

const LANES: usize = 8;

/// From this one on.
const FIRST_STALE: usize = 6;

/// Purges that are aimed at, all lanes together.
const RACES: u64 = 10_000;

/// A machine that is too busy for as many makes fewer.
const LONGEST: Duration = Duration::from_secs(40);
const FEWEST: u64 = 1000;

#[derive(Debug, Default)]
struct Seen {
    l1: AtomicU64,
    l2: AtomicU64,
    swr: AtomicU64,
    fetched: AtomicU64,
    collapsed: AtomicU64,
    /// Began before a purge was answered, and ended after it.
    overlapped: AtomicU64,
    old: AtomicU64,
}

/// One lane: what everybody has been told, and by whom it is asked for.
struct Lane<'a> {
    rig: &'a Rig,
    target: String,
    group: String,
    is_stale: bool,
    /// Whatever is asked for from now on must not be older.
    floor: AtomicU64,
    seen: &'a Seen,
}

impl Lane<'_> {
    fn read(&self, client: &mut Client) {
        let floor = self.floor.load(Ordering::SeqCst);
        let response = client.send(&get(&self.target)).unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        let found = version(&response);
        let Seen { l1, l2, swr, fetched, collapsed, overlapped, old } = self.seen;
        if found < floor {
            old.fetch_add(1, Ordering::Relaxed);
            let told = response.header("cache-status");
            eprintln!("{}: {found}, and {floor} was told of before: {told:?}", self.target);
        }
        let status = response.header("cache-status").unwrap_or_default();
        let tier = match detail(&response) {
            Some("l1") => l1,
            Some("l2") => l2,
            Some("swr") => swr,
            _ if status.contains("collapsed") => collapsed,
            _ => fetched,
        };
        tier.fetch_add(1, Ordering::Relaxed);
        if self.floor.load(Ordering::SeqCst) > floor {
            overlapped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes it and has it purged, `number` says by whom and how; returns how long the purge took. None if Redis was
    /// not heard in time, so that nothing is for sure.
    fn turn(&self, number: u64, upstream: &mut Client, orders: &mut [Client]) -> Option<Duration> {
        let changed = upstream.send(&Request::new("POST", &self.target)).unwrap();
        let now = version(&changed);
        let soft = [("x-purge-mode", "soft")];
        let group = [("x-purge-group", self.group.as_str())];
        let scope = |scope| [("x-purge-scope", scope)];
        let order = match number % 50 {
            7 => purge("/", &scope("host")),
            17 => purge("/versions", &scope("prefix")),
            27 => purge("/", &scope("all")),
            37 => purge(&self.target, &scope("prefix")),
            rest if rest % 3 == 1 => purge("/", &group),
            // What may be used stale may be used after that.
            rest if rest % 3 == 2 && !self.is_stale => purge(&self.target, &soft),
            _ => purge(&self.target, &[]),
        };
        let by = number as usize % orders.len();
        let start = Instant::now();
        let response = orders[by].send(&order).unwrap();
        assert!(matches!(response.status, 200 | 503), "{response:?}");
        let took = (response.status == 200).then(|| start.elapsed())?;
        self.floor.store(now, Ordering::SeqCst);
        Some(took)
    }
}

/// Who has done all, or fails, ends it for all.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_purges_in_races_with_fills_leave_nothing_old() {
    let rig = Rig::start(&config(&[json!({"name": "versions"})], json!({})));
    let grouped = |action, lane| {
        let stale = "max-age=0, stale-while-revalidate=600";
        let control = if lane < FIRST_STALE { "max-age=600" } else { stale };
        let group = format!("lane-{lane} all-lanes");
        Fault::new(&format!("/versions/lane-{lane}"), action)
            .header("Surrogate-Key", &group)
            .header("Cache-Control", control)
            .methods(&["GET"])
    };
    let slow = |lane| {
        let half = Ratio::new(0.5).unwrap();
        grouped(Action::Delay, lane).after(Duration::from_millis(5)).ratio(half)
    };
    let faults: Vec<_> =
        (0..LANES).flat_map(|lane| [slow(lane), grouped(Action::Headers, lane)]).collect();
    rig.tell(&faults);

    let (seen, done, is_over) = (Seen::default(), AtomicU64::new(0), AtomicBool::new(false));
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| Lane {
            rig: &rig,
            target: format!("/versions/lane-{lane}"),
            group: format!("lane-{lane}"),
            is_stale: lane >= FIRST_STALE,
            floor: AtomicU64::new(1),
            seen: &seen,
        })
        .collect();
    let start = Instant::now();
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let (done, is_over) = (&done, &is_over);
        for lane in &lanes {
            for replica in 0..3 {
                scope.spawn(move || {
                    let _end = End(is_over);
                    let mut client = lane.rig.client(replica);
                    while !is_over.load(Ordering::Relaxed) {
                        lane.read(&mut client);
                    }
                });
            }
        }
        let turns = |lane: &Lane<'_>| {
            let _end = End(is_over);
            let mut upstream = Client::new(lane.rig.stand_in().unwrap().http());
            let mut orders: Vec<_> =
                lane.rig.replicas().iter().map(|replica| Client::new(replica.purge())).collect();
            let mut readers: Vec<_> = (0..3).map(|replica| lane.rig.client(replica)).collect();
            let mut took = Vec::new();
            while start.elapsed() < LONGEST && !is_over.load(Ordering::Relaxed) {
                let number = done.fetch_add(1, Ordering::Relaxed);
                if number >= RACES {
                    break;
                }
                took.extend(lane.turn(number, &mut upstream, &mut orders));
                // At once at one of the replicas, on a connection that asks for nothing else.
                lane.read(&mut readers[number as usize / 3 % 3]);
            }
            took
        };
        let purgers: Vec<_> = lanes.iter().map(|lane| scope.spawn(move || turns(lane))).collect();
        let took = purgers.into_iter().flat_map(|purger| purger.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        took
    });
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{} purges in {:.1?}: p50 {:.1?}, p99 {:.1?}, most {:.1?}; {seen:?}; fills refused: {}",
        took.len(),
        start.elapsed(),
        at(0.5),
        at(0.99),
        at(1.0),
        rig.total("not_stored_total", &[("reason", "outrun")])
    );
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    assert_eq!(count(&seen.old), 0);
    assert!(took.len() as u64 >= FEWEST, "{}", took.len());
    // There was something to be wrong about.
    let Seen { l1, l2, swr, fetched, overlapped, .. } = &seen;
    for of in [l1, l2, swr, fetched, overlapped] {
        assert!(count(of) > 100, "{seen:?}");
    }
    assert!(rig.total("not_stored_total", &[("reason", "outrun")]) > 10.0);
    assert_eq!(rig.total("purges_total", &[("outcome", "done")]), took.len() as f64);
    let failed = rig.total("purges_total", &[("outcome", "failed")]);
    assert!(failed <= took.len() as f64 / 100.0, "{failed}");
    rig.assert_no_crash();
}
