//! Attacks on the cache of a real replica: what one side sends must not reach the other one by way of the store.
//!
//! `corpus` are the attacks, `shop` is the upstream that falls for them, and `inside` are those of who has got as far as
//! Redis, or only wants to cost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected ends here"
)]

mod corpus;
mod inside;
mod rig;
mod shop;

use crate::corpus::{Attack, DECEIVING, HEEDED, POISONING, PRIVATE};
use crate::rig::{Rig, send, shows};

/// All attacks by both ways to a replica.
fn withstand(profile: &str) {
    let rig = Rig::start(profile, "16MiB");
    let heeded = HEEDED
        .map(|name| (name, format!("GET /page/{{n}}\n{name}: marker"), "GET /page/{n}".to_owned()));
    let deceiving = DECEIVING
        .iter()
        .map(|path| (*path, format!("GET {path}\nCookie: session=marker"), format!("GET {path}")));
    let made: Vec<_> = heeded.into_iter().chain(deceiving).collect();
    let written = POISONING.iter().chain(PRIVATE);
    let mut failures = Vec::new();
    for (way, to) in [("past the edge", rig.replica()), ("through the edge", rig.edge())] {
        let mut suffer = |attack: &Attack<'_>| {
            if let Err(seen) = rig.suffer(to, attack) {
                failures.push(format!("{way}: {}: {seen}", attack.name));
            }
        };
        written.clone().filter(|attack| attack.profiles.contains(&profile)).for_each(&mut suffer);
        for (name, first, then) in &made {
            suffer(&Attack { name, first: &[first], then, profiles: &[] });
        }
        for path in ["/page/honest", "/static/honest.css"] {
            let target = format!("{path}-{}", rig.next_number());
            rig.serve_honestly(to, &target).unwrap();
        }
    }
    rig.assert_no_crash();
    assert!(failures.is_empty(), "{} attacks worked:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn no_attack_works_with_the_profile_of_the_rfc() {
    withstand("rfc9111");
}

#[test]
fn no_attack_works_with_the_strict_profile() {
    withstand("strict");
}

/// So that these tests are seen to see: what an upstream makes of a field that nobody knows of is stored.
#[test]
fn an_attack_that_works_is_seen() {
    let rig = Rig::start("rfc9111", "16MiB");
    let first = "GET /mine/{n}\nCookie: session=marker";
    let then = "GET /mine/{n}";
    let attack = Attack { name: "Cookie, fresh for all", first: &[first], then, profiles: &[] };
    assert!(rig.suffer(rig.replica(), &attack).is_err());
    // And its answer does show it.
    assert!(shows(&send(rig.replica(), "GET /page/x?marker").unwrap()));
}
