//! Bodies: large ones, too large ones, and ones that were cut.

use std::time::Instant;

use integration_tests::upstream::{Action, Fault};

use crate::rig::{Rig, detail, get, told};

const LARGEST: usize = 1 << 20;

pub(crate) fn the_largest_are_shared_larger_ones_pass_and_cut_ones_are_never_stored(rig: &Rig) {
    let pattern = |length: usize| (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let largest = format!("/bytes/{LARGEST}");
    for (replica, stored) in [(0, true), (1, false), (2, false), (0, false)] {
        let start = Instant::now();
        let response = rig.get(replica, &largest);
        let took = start.elapsed();
        println!("{LARGEST} bytes at {replica}: {took:.1?}, {}", told(&response));
        assert_eq!((response.status, response.body.len()), (200, LARGEST));
        assert!(response.body == pattern(LARGEST));
        let expected = if stored { None } else { Some("l2") };
        assert_eq!(detail(&response), expected, "{}", told(&response));
    }
    let part = rig.send(1, &get(&largest).header("Range", "bytes=1000000-"));
    assert_eq!((part.status, part.body.len()), (206, LARGEST - 1_000_000));
    assert!(part.body == pattern(LARGEST)[1_000_000..]);
    assert_eq!(rig.received("/bytes"), 1);
    let served = u32::try_from(4 * LARGEST - 1_000_000).unwrap();
    rig.wait_until_counted("served_bytes_total", &[("cache", "bytes")], served);

    // One byte more.
    let larger = format!("/bytes/{}", LARGEST + 1);
    for replica in 0..3 {
        let response = rig.get(replica, &larger);
        assert!(response.status == 200 && response.body == pattern(LARGEST + 1));
        assert!(told(&response).starts_with("meliproxy; fwd="), "{}", told(&response));
        assert!(!told(&response).contains("stored"), "{}", told(&response));
    }
    assert_eq!(rig.received("/bytes"), 4);
    rig.wait_until_counted("not_stored_total", &[("cache", "bytes"), ("reason", "too-large")], 3);

    // Nobody says beforehand how large these are: 8 bytes for each chunk.
    for (target, requests) in [("/stream/10", 1), ("/stream/20", 3)] {
        let before = rig.received("/stream");
        for replica in 0..3 {
            let response = rig.get(replica, target);
            assert_eq!(response.status, 200);
            assert!(response.text().ends_with("9\n"));
        }
        assert_eq!(rig.received("/stream") - before, requests, "{target}");
    }
    rig.wait_until_counted("stored_total", &[("cache", "stream")], 1);
    rig.wait_until_counted("not_stored_total", &[("cache", "stream"), ("reason", "too-large")], 3);

    // Cut, with and without a length that tells so.
    rig.tell(&[Fault::new("/bytes", Action::Cut), Fault::new("/stream", Action::Cut)]);
    for target in ["/bytes/50000", "/stream/5"] {
        for replica in 0..3 {
            let cut = rig.client(replica).send(&get(target));
            assert!(cut.is_err(), "{target}: {cut:?}");
        }
    }
    for policy in ["bytes", "stream"] {
        let labels = [("cache", policy), ("reason", "incomplete")];
        rig.wait_until_counted("not_stored_total", &labels, 3);
    }
    rig.upstream.clear_faults().unwrap();
    for (target, length) in [("/bytes/50000", 50_000), ("/stream/5", 40)] {
        let whole = rig.get(0, target);
        assert_eq!((whole.status, whole.body.len()), (200, length), "{target}");
        assert_eq!(told(&whole), "meliproxy; fwd=uri-miss; stored", "{target}");
        assert_eq!(rig.get(1, target).body, whole.body);
    }
    rig.assert_adds_up("bytes", 4 + 1 + 3 + 3 + 2);
    rig.assert_adds_up("stream", 6 + 3 + 2);
}
