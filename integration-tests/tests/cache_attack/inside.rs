//! Attacks of who can write to Redis, can make this worker ask, or only wants to cost.

use integration_tests::stack::{Reply, wait_until};

use crate::rig::{Rig, SOON, is_hit, send, shows};

/// What is written, and what writes it in the place of a stored response of this name.
type Tampering<'a> = (&'a str, &'a dyn Fn(&str));

fn text(reply: &Reply) -> String {
    reply.text().unwrap().to_owned()
}

/// The names of all stored responses.
fn stored(rig: &Rig) -> Vec<String> {
    let Reply::Array(names) = rig.redis(&["KEYS", "mp:{attack}:cache:1:*"]) else {
        panic!("no KEYS")
    };
    names.iter().map(text).collect()
}

/// Stores the answer to a GET of `target`, and returns its name.
fn store(rig: &Rig, target: &str) -> String {
    let before = stored(rig);
    send(rig.replica(), &format!("GET {target}")).unwrap();
    let new = wait_until("it to be stored", SOON, || {
        let new = stored(rig).into_iter().find(|name| !before.contains(name));
        new.ok_or_else(String::new)
    });
    new.unwrap()
}

/// Has a script change the field `m` (the header) or `b` (the body) of a stored response.
fn tamper(rig: &Rig, name: &str, field: &str, from: &str, to: &str) {
    const SCRIPT: &str = "local v = redis.call('HGET', KEYS[1], ARGV[1])
        local at = string.find(v, ARGV[2], 1, true)
        local w = string.gsub(ARGV[3], '\\\\(%x%x)', function(x) return string.char(tonumber(x, 16)) end)
        v = string.sub(v, 1, at - 1) .. w .. string.sub(v, at + #ARGV[2])
        redis.call('HSET', KEYS[1], ARGV[1], v)
        return #w - #ARGV[2]";
    let grown = rig.redis(&["EVAL", SCRIPT, "1", name, field, from, to]);
    assert_eq!(grown, Reply::Integer(0), "the same length, so that only what it says is another");
}

/// None of it is served, and who asks is answered by the upstream.
#[test]
fn nothing_that_redis_should_not_have_is_served() {
    let rig = Rig::start("rfc9111", "0B");
    let evil = store(&rig, "/page/evil?marker");
    let hostile: [Tampering<'_>; 9] = [
        ("a response of another key", &|name| {
            rig.redis(&["COPY", &evil, name, "REPLACE"]);
        }),
        ("another header with this body", &|name| {
            rig.redis(&[
                "EVAL",
                "return redis.call('HSET', KEYS[1], 'm', redis.call('HGET', KEYS[2], 'm'))",
                "2",
                name,
                &evil,
            ]);
        }),
        ("another body", &|name| {
            rig.redis(&[
                "EVAL",
                "return redis.call('HSET', KEYS[1], 'b', redis.call('HGET', KEYS[2], 'b'))",
                "2",
                name,
                &evil,
            ]);
        }),
        ("a line break in a value", &|name| {
            tamper(&rig, name, "m", "max-age=60", "ab\\0d\\0amarker")
        }),
        ("a zero in a value", &|name| {
            tamper(&rig, name, "m", "max-age=60", "\\00marker\\00\\00\\00")
        }),
        ("a colon in a name", &|name| tamper(&rig, name, "m", "cache-control", "marker: 12345")),
        ("no header", &|name| {
            rig.redis(&["HSET", name, "m", "marker"]);
        }),
        ("an empty header", &|name| {
            rig.redis(&["HSET", name, "m", ""]);
        }),
        ("a text", &|name| {
            rig.redis(&["SET", name, "marker"]);
        }),
    ];
    for (what, write) in hostile {
        let target = format!("/page/hostile-{}", rig.next_number());
        let name = store(&rig, &target);
        assert!(is_hit(&send(rig.replica(), &format!("GET {target}")).unwrap()), "{what}");
        write(&name);
        for _ in 0..3 {
            let seen = send(rig.replica(), &format!("GET {target}")).unwrap();
            assert!(seen.status == 200 && !shows(&seen), "{what}: {} {}", seen.status, seen.text());
            assert!(seen.text().contains(&target), "{what}: {}", seen.text());
        }
    }
    rig.serve_honestly(rig.replica(), "/page/honest").unwrap();
    rig.assert_no_crash();
}

/// The number that a worker gives its own requests is nothing that one from outside can say.
#[test]
fn a_client_cannot_take_the_place_of_a_refresh() {
    let rig = Rig::start("rfc9111", "16MiB");
    for number in ["0", "1", "2", "3", "99", "x", ""] {
        let target = format!("/stale/{}", rig.next_number());
        let request = format!("GET {target}\nX-Meliproxy-Refresh: {number}");
        assert_eq!(send(rig.replica(), &request).unwrap().status, 200);
        rig.settle();
        // Stale, and validated meanwhile: whatever the request says, this gets a fresh one.
        assert!(is_hit(&send(rig.replica(), &request).unwrap()));
        wait_until("it to be validated", SOON, || {
            let seen = send(rig.replica(), &request).unwrap();
            let etag = seen.header("etag").unwrap_or_default().to_owned();
            // Out of the store, or of the one request that others have waited for.
            assert!(seen.status == 200 && seen.text() == target, "{number:?}: {:?}", seen.headers);
            if etag == "\"b\"" { Ok(()) } else { Err(format!("{number:?}: {:?}", seen.headers)) }
        })
        .unwrap();
    }
    rig.assert_no_crash();
}

/// Invalidations are ordered on a listener of their own.
#[test]
fn a_client_cannot_purge() {
    let rig = Rig::start("rfc9111", "16MiB");
    rig.serve_honestly(rig.replica(), "/page/kept").unwrap();
    for fields in ["", "\nX-Purge-Scope: all", "\nX-Purge-Scope: host", "\nX-Purge-Group: a"] {
        for to in [rig.replica(), rig.edge()] {
            let answered = send(to, &format!("PURGE /page/kept{fields}")).unwrap();
            assert!(answered.status >= 400, "{}", answered.status);
            assert!(is_hit(&send(rig.replica(), "GET /page/kept").unwrap()), "{fields}");
        }
    }
    rig.assert_no_crash();
}

/// A flood of URLs that nobody asks for again costs what it may cost, and pushes nothing out that is asked for.
#[test]
fn cache_busters_cost_bounded_memory() {
    const MOST_BYTES: f64 = 1_048_576.0;
    let rig = Rig::start("rfc9111", "1MiB");
    rig.serve_honestly(rig.replica(), "/page/hot").unwrap();
    let long = "x".repeat(1000);
    for number in 0..2000 {
        let target = format!("/page/flood?{number}-{long}");
        let address = rig.replica();
        assert_eq!(send(address, &format!("GET {target}")).unwrap().status, 200);
        if number % 100 == 0 {
            // What is asked for stays in memory.
            assert!(is_hit(&send(address, "GET /page/hot").unwrap()), "{number}");
            let used = rig.metric("meliproxy_cache_memory_bytes");
            assert!(used <= MOST_BYTES, "{used}");
        }
    }
    rig.settle();
    assert!(is_hit(&send(rig.replica(), "GET /page/hot").unwrap()));
    assert!(rig.metric("meliproxy_cache_memory_bytes") <= MOST_BYTES);
    // And nothing stays in Redis for ever.
    let left = rig.redis(&["EVAL", "local n = 0 for _, k in ipairs(redis.call('KEYS', '*:cache:1:*')) do if redis.call('PTTL', k) < 0 then n = n + 1 end end return n", "0"]);
    assert_eq!(left, Reply::Integer(0));
    rig.assert_no_crash();
}
