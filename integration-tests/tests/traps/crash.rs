//! Trap: a panic kills the VM, and with it everything that shares it: if the bridge had the filter's `vm_id`, one bad
//! request would cost the worker its way to Redis too. A crash has to cost one request and a moment of one worker.
//!
//! The filter that crashes on demand is built here, with `--features fault-injection`; what ships cannot.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Load, Request};
use integration_tests::fleet::{COUNTED, COUNTED_LIMIT, Fleet, TRAFFIC, from};
use integration_tests::scene::{next_origin, statuses};
use integration_tests::stack::{repository, wait_until};

use crate::rig::{SOON, assert_no_crash, config, ids, reloads};

/// How long a worker may answer 503 after a crash: Envoy's back-off (envoy/filter.yaml), and the time to make a VM.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Builds the filter with its fault, with the tools of this repository where they are set up.
fn filter_with_a_fault() -> PathBuf {
    let script = concat!(
        "tools=${MELIPROXY_TOOLS:-.tools}; if [ -f \"$tools/env\" ]; then . \"$tools/env\"; fi\n",
        "exec cargo build --quiet --locked --release --target wasm32-wasip1 -p meliproxy --lib ",
        "--features fault-injection --target-dir target/fault-injection",
    );
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script]).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    repository().join("target/fault-injection/wasm32-wasip1/release/meliproxy.wasm")
}

fn crashing(target: &str) -> Request {
    Request::get(target).header("X-Meliproxy-Crash", "1")
}

#[test]
fn a_crash_costs_one_request_and_a_moment_of_one_worker() {
    let wasm = filter_with_a_fault();
    let fleet = Fleet::start(&config(), |options| options.replicas(2).workers(2).wasm(&wasm));
    let (replica, other) = (fleet.replica(0), fleet.replica(1));
    let (pid, connected) = (replica.pid(), ids(&fleet));
    assert_eq!(connected.len(), 4);
    let load = Load::start(&[other.http()], 100, 4, |_| Request::get(TRAFFIC)).unwrap();

    // Part of a quota is used before the crash.
    let origin = next_origin();
    let mut client = Client::new(replica.http());
    let passed = |client: &mut Client, count| {
        let send = |_| client.send(&from(origin, COUNTED)).unwrap().status;
        (0..count).map(send).filter(|status| *status == 200).count()
    };
    assert_eq!(passed(&mut client, 4), 4);

    // The client's connection belongs to one worker: it feels the crashes, and the second one before the back-off that
    // follows the first is over.
    for _ in 0..2 {
        let crashed_at = Instant::now();
        let crashed = client.send(&crashing(TRAFFIC)).unwrap().status;
        assert_eq!(crashed, 503);
        let mut refused = 0;
        wait_until("the worker to serve again", SOON, || {
            match client.get(TRAFFIC).unwrap().status {
                200 => Ok(()),
                503 => {
                    refused += 1;
                    Err("503".to_owned())
                }
                other => panic!("{other}"),
            }
        })
        .unwrap();
        let took = crashed_at.elapsed();
        eprintln!("served again {took:?} after the crash, and {refused} requests were refused");
        assert!(took < BACK_OFF, "{took:?}");
    }

    // One VM is new and so is its connection; all others are what they were. The VM that crashed first lives on with its
    // connection, as the listeners `purge` and `cache_refresh` hold it until a request of theirs comes; not the second.
    let reconnected = wait_until("connections to Redis", SOON, || {
        let now = ids(&fleet);
        let kept = now.intersection(&connected).count();
        if (now.len(), kept) == (5, 4) {
            Ok(now)
        } else {
            Err(format!("{connected:?}, now {now:?}"))
        }
    })
    .unwrap();
    assert_eq!(replica.pid(), pid);
    assert_eq!(replica.metric("envoy_wasm_meliproxy_vm_reload_success", &[]).unwrap(), 2.0);
    assert_eq!(replica.metric("envoy_wasm_bridge_vm_reload_success", &[]).unwrap(), 0.0);

    // The rest of the quota, and no more.
    assert_eq!(passed(&mut client, COUNTED_LIMIT), COUNTED_LIMIT - 4);
    assert_eq!(ids(&fleet), reconnected);

    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    assert_no_crash(other);
}

#[test]
fn what_ships_cannot_be_made_to_crash() {
    let fleet = Fleet::start(&config(), |options| options.replicas(1));
    let replica = fleet.replica(0);
    let mut client = Client::new(replica.http());
    for target in [TRAFFIC, COUNTED, "/echo/x"] {
        assert_eq!(client.send(&crashing(target)).unwrap().status, 200);
    }
    assert_eq!(reloads(replica), 0.0);
    assert_no_crash(replica);
}
