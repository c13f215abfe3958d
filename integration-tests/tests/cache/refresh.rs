//! What may be used while it is refreshed is served at once, and refreshed once for the whole fleet.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use integration_tests::client::{burst, percentile};
use integration_tests::scene::statuses;
use integration_tests::stack::wait_until;
use integration_tests::upstream::{Action, Fault};

use crate::rig::{Rig, detail, get, told, version, wait_for_age};

pub(crate) fn stale_while_revalidate_answers_at_once_and_refreshes_once(rig: &Rig) {
    const SLOW: Duration = Duration::from_secs(2);
    let short = "max-age=1, stale-while-revalidate=600";
    rig.tell(&[Fault::new("/versions", Action::Headers).header("Cache-Control", short)]);
    assert_eq!(version(&rig.get(0, "/versions/a")), 1);
    let stored_at = Instant::now();
    // Refreshed, it stays fresh for longer than the test takes.
    let slow = Fault::delay("/versions", SLOW).methods(&["GET"]);
    rig.tell(&[slow.header("Cache-Control", "max-age=600")]);
    wait_for_age(stored_at, Duration::from_millis(2100));
    let before = rig.received("/versions");
    assert_eq!((before, rig.change("/versions/a")), (1, 2));

    let asked_at = Instant::now();
    let to = rig.addresses();
    let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &get("/versions/a"), 300, 60).unwrap();
    assert_eq!(statuses(&outcomes), [(200, 300)].into());
    let most = percentile(&outcomes, 1.0);
    println!("300 stale ones: p50 {:.1?}, most {most:.1?}", percentile(&outcomes, 0.5));
    let early = outcomes.iter().filter(|it| it.due_at + it.latency < asked_at + SLOW);
    let early: Vec<_> = early.map(|it| it.result.as_ref().unwrap()).collect();
    assert!(early.len() >= 60, "{}", early.len());
    for response in early {
        assert_eq!((version(response), detail(response)), (1, Some("swr")), "{}", told(response));
    }
    assert!(most < SLOW / 2, "{most:?}");

    for replica in 0..3 {
        wait_until("the refreshed one", Duration::from_secs(10), || {
            let response = rig.get(replica, "/versions/a");
            if version(&response) == 2 { Ok(()) } else { Err(format!("{response:?}")) }
        })
        .unwrap();
    }
    let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &get("/versions/a"), 60, 12).unwrap();
    for outcome in &outcomes {
        let response = outcome.result.as_ref().unwrap();
        assert!(matches!(detail(response), Some("l1" | "l2")), "{}", told(response));
        assert_eq!(version(response), 2);
    }
    // The first fetch, the change past the proxies, and the one refresh.
    assert_eq!(rig.received("/versions"), before + 2);
    let labels = [("cache", "versions"), ("cause", "swr")];
    println!("served meanwhile: {}", rig.total("stale_total", &labels));
    rig.wait_until_counted("stored_total", &[("cache", "versions")], 2);
}
