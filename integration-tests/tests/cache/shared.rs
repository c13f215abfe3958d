//! What one replica has stored answers at all of them, also in part, to conditions and to HEAD; and all of it is counted.

use integration_tests::client::{Request, Response};
use integration_tests::upstream::{Action, Fault};
use serde_json::json;

use crate::rig::{Rig, asking, config, detail, get, told};
use crate::{refresh, sizes};

const ITEM: &str = "/items/MLA1";

#[test]
fn what_is_stored_is_shared() {
    let rig = Rig::start(&config(
        &[
            json!({"name": "items"}),
            json!({"name": "categories"}),
            json!({"name": "bytes"}),
            json!({"name": "stream", "max_object": "90B"}),
            json!({"name": "versions"}),
        ],
        json!({}),
    ));
    what_one_has_stored_all_answer_with(&rig);
    what_varies_is_told_apart_and_what_is_for_one_is_not_stored(&rig);
    sizes::the_largest_are_shared_larger_ones_pass_and_cut_ones_are_never_stored(&rig);
    refresh::stale_while_revalidate_answers_at_once_and_refreshes_once(&rig);
    rig.assert_no_crash();
}

/// Counts what is sent to the policy.
struct Asked<'a> {
    rig: &'a Rig,
    count: u32,
    served_bytes: usize,
}

impl Asked<'_> {
    fn send(&mut self, replica: usize, request: &Request) -> Response {
        let response = self.rig.send(replica, request);
        self.note(&response);
        response
    }

    fn note(&mut self, response: &Response) {
        self.count += 1;
        if told(response).contains("hit") {
            self.served_bytes += response.body.len();
        }
    }
}

fn what_one_has_stored_all_answer_with(rig: &Rig) {
    let mut asked = Asked { rig, count: 0, served_bytes: 0 };
    let stored = asked.send(0, &get(ITEM));
    assert_eq!(told(&stored), "meliproxy; fwd=uri-miss; stored");
    for replica in [1, 2] {
        // One connection, one worker: from Redis, then from its memory.
        let mut client = rig.client(replica);
        for tier in ["l2", "l1", "l1"] {
            let response = client.send(&get(ITEM)).unwrap();
            asked.note(&response);
            assert_eq!(detail(&response), Some(tier), "{}", told(&response));
            assert_eq!((response.status, &response.body), (200, &stored.body));
            assert!(response.header("age").is_some());
            for name in ["etag", "last-modified", "content-type", "cache-control", "date"] {
                assert_eq!(response.header(name), stored.header(name), "{name}");
            }
        }
    }
    let other_query = asked.send(1, &get("/items/MLA1?a=1"));
    assert!(told(&other_query).contains("fwd=uri-miss"), "{}", told(&other_query));
    let other_host = asked.send(1, &Request::get(ITEM).header("Host", "other.test"));
    assert!(told(&other_host).contains("fwd=uri-miss"), "{}", told(&other_host));
    assert_eq!(rig.received("/items"), 3);

    let etag = stored.header("etag").unwrap();
    let modified = stored.header("last-modified").unwrap();
    for (field, value) in [("If-None-Match", etag), ("If-Modified-Since", modified)] {
        let unchanged = asked.send(2, &get(ITEM).header(field, value));
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0), "{field}");
        assert_eq!(unchanged.header("etag"), Some(etag));
    }
    let changed = asked.send(2, &get(ITEM).header("If-None-Match", "\"another\""));
    assert_eq!((changed.status, &changed.body), (200, &stored.body));
    let part = asked.send(1, &get(ITEM).header("Range", "bytes=10-29"));
    assert_eq!((part.status, &part.body[..]), (206, &stored.body[10..30]));
    let length = stored.body.len();
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 10-29/{length}")));
    let last = asked.send(1, &get(ITEM).header("Range", "bytes=-5"));
    assert_eq!((last.status, &last.body[..]), (206, &stored.body[length - 5..]));
    let beyond = asked.send(1, &get(ITEM).header("Range", format!("bytes={length}-")));
    assert_eq!(beyond.status, 416);
    let head = asked.send(0, &asking("HEAD", ITEM));
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*length.to_string())));
    assert!(told(&head).contains("hit"), "{}", told(&head));
    let only = asked.send(0, &get("/items/never").header("Cache-Control", "only-if-cached"));
    assert_eq!(only.status, 504);
    assert_eq!(rig.received("/items"), 3, "all of these were answered here");

    // Bypassed and not cached.
    assert_eq!(rig.send(0, &get(ITEM).body("x")).status, 200);
    assert_eq!(rig.received("/items"), 4);
    rig.wait_until_counted("bypasses_total", &[("reason", "content")], 1);
    let labels = [("cache", "items")];
    let hits = asked.count - 4;
    let [l1, l2] = ["l1", "l2"].map(|tier| rig.total("hits_total", &[labels[0], ("tier", tier)]));
    println!("{} requests: {l1} hits in memory, {l2} in Redis", asked.count);
    assert_eq!(l1 + l2, f64::from(hits));
    assert!(l1 >= 4.0 && l2 >= 2.0);
    rig.wait_until_counted("misses_total", &[labels[0], ("reason", "uri-miss")], 3);
    rig.wait_until_counted("stored_total", &labels, 3);
    rig.wait_until_counted("not_stored_total", &labels, 0);
    let served = u32::try_from(asked.served_bytes).unwrap();
    rig.wait_until_counted("served_bytes_total", &labels, served);
}

fn what_varies_is_told_apart_and_what_is_for_one_is_not_stored(rig: &Rig) {
    let told_so = |prefix, name, value| Fault::new(prefix, Action::Headers).header(name, value);
    rig.tell(&[
        told_so("/categories/varies", "Vary", "accept-language"),
        told_so("/categories/private", "Cache-Control", "private, max-age=60"),
        told_so("/categories/no-store", "Cache-Control", "no-store"),
        told_so("/categories/star", "Vary", "*"),
        told_so("/categories/useless", "Cache-Control", "max-age=0")
            .remove("ETag")
            .remove("Last-Modified"),
    ]);
    let mut count = 0;
    let mut ask = |replica, request: &Request| {
        count += 1;
        rig.send(replica, request)
    };
    let in_language = |language| get("/categories/varies").header("Accept-Language", language);
    let mut seen = Vec::new();
    for (replica, language) in [(0, "en"), (1, "es"), (1, "en"), (2, "es"), (0, "es"), (2, "pt")] {
        let response = ask(replica, &in_language(language));
        seen.push(detail(&response).is_some());
    }
    assert_eq!(seen, [false, false, true, true, true, false]);
    assert_eq!(rig.received("/categories"), 3);

    for (name, reason) in [
        ("private", "private"),
        ("no-store", "no-store"),
        ("star", "vary"),
        ("useless", "unusable"),
    ] {
        let before = rig.received("/categories");
        for replica in 0..3 {
            let response = ask(replica, &get(&format!("/categories/{name}")));
            assert!(!told(&response).contains("stored"), "{name}: {}", told(&response));
        }
        assert_eq!(rig.received("/categories"), before + 3, "{name}");
        rig.wait_until_counted(
            "not_stored_total",
            &[("cache", "categories"), ("reason", reason)],
            3,
        );
    }
    let labels = [("cache", "categories")];
    let authorized = |target| get(target).header("Authorization", "Bearer a");
    rig.tell(&[told_so("/categories/authorized", "Cache-Control", "max-age=60")]);
    for target in ["/categories/authorized", "/categories/public"] {
        (0..2).for_each(|replica| drop(ask(replica, &authorized(target))));
    }
    rig.wait_until_counted("not_stored_total", &[labels[0], ("reason", "authorization")], 2);
    assert_eq!(rig.received("/categories"), 3 + 12 + 3, "what is public is stored");
    rig.assert_adds_up("categories", count);
    let misses = ["uri-miss", "vary-miss", "useless"]
        .map(|reason| rig.total("misses_total", &[labels[0], ("reason", reason)]));
    println!("misses: {misses:?}");
    assert_eq!(misses.iter().sum::<f64>(), 18.0);
    rig.wait_until_counted("stored_total", &labels, 4);
}
