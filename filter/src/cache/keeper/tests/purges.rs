//! Invalidation, and the answers to POST.

use super::*;
use crate::cache::store::Mode;

fn scopes() -> Vec<Scope> {
    vec![Scope::Url(Url::of(b"http\nexample.com\n/a"))]
}

fn mutation(method: &str) -> Mutation {
    Mutation { method: method.into(), asking: get(&[]) }
}

const STANDS: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("content-location", "/a")];

#[test]
fn a_purge_is_done_once_all_who_hear_it_know() {
    let mut world = World::new();
    let now = world.now();
    world.keeper.purge(now, scopes(), Mode::Hard, 1);
    let (id, outgoing) = world.says();
    assert!(matches!(outgoing, Outgoing::Invalidate { mode: Mode::Hard, .. }));
    world.hears(id, Said::Epoch(9));
    let (id, outgoing) = world.says();
    let Outgoing::Sync { worker: 7, number } = outgoing else { panic!("{outgoing:?}") };
    let known = format!("known {number}").into_bytes();
    world.keeper.on_message(now, &known);
    world.hears(id, Said::Count(2));
    world.keeper.on_message(now, format!("sync 8 {number}").as_bytes());
    assert_eq!(world.says().1, Outgoing::Known { worker: 8, number }, "it answers others too");
    world.decided();
    assert_eq!(world.invalidated, [], "one has not said that it knows");
    world.keeper.on_message(now, &known);
    world.decided();
    assert_eq!(world.invalidated, [(1, true)]);
}

#[test]
fn who_does_not_know_is_waited_for_as_long_as_it_remembers() {
    let mut world = World::new();
    let now = world.now();
    world.keeper.purge(now, scopes(), Mode::Soft, 1);
    let (id, _) = world.says();
    world.hears(id, Said::Epoch(9));
    let (id, _) = world.says();
    world.hears(id, Said::Count(1));
    world.decided();
    assert_eq!(world.invalidated, []);
    world.pass(LEASE.as_secs());
    world.decided();
    assert_eq!(world.invalidated, [(1, true)]);
}

#[test]
fn what_the_store_does_not_hear_is_not_done() {
    let mut world = World::new();
    let now = world.now();
    world.keeper.purge(now, scopes(), Mode::Hard, 1);
    let (id, _) = world.says();
    world.hears(id, Said::Nothing);
    world.keeper.purge(now, scopes(), Mode::Hard, 2);
    world.keeper.on_lost(now);
    world.keeper.purge(now, scopes(), Mode::Hard, 3);
    world.decided();
    assert_eq!(world.invalidated, [(1, false), (2, false), (3, false)]);
    world.keeper.on_joined(now, true);
    assert_eq!(world.says().1, Outgoing::Ping);
    let again = std::iter::from_fn(|| world.poll());
    assert_eq!(again.count(), 2, "what was lost may have been done");
}

/// The answer is newer than what it has made invalid, and has to be stored as that.
#[test]
fn the_answer_to_a_post_is_stored_after_what_it_has_invalidated() {
    for is_filled_first in [true, false] {
        let mut world = World::new();
        let now = world.now();
        let filling = world.keeper.on_mutated(now, mutation("POST"), &header(200, STANDS));
        let filling = world.keeper.on_body(now, filling.unwrap(), BODY).unwrap();
        let (id, outgoing) = world.says();
        assert!(matches!(outgoing, Outgoing::Invalidate { .. }));
        if is_filled_first {
            world.keeper.on_filled(now, filling);
            assert!(world.is_silent(), "the epoch is not known");
            world.hears(id, Said::Epoch(9));
        } else {
            world.hears(id, Said::Epoch(9));
            assert!(world.is_silent());
            world.keeper.on_filled(now, filling);
        }
        let storing = world.puts(Put::Stored);
        assert_eq!((storing.stored.epoch, storing.body.as_deref()), (9, Some(BODY)));
        assert!(world.is_idle());
    }
}

#[test]
fn other_unsafe_requests_store_nothing() {
    for (method, header, invalidates) in [
        ("PUT", header(200, STANDS), true),
        ("POST", header(200, &[("cache-control", "max-age=60")]), true),
        ("POST", header(200, &[("content-location", "/a")]), true),
        ("POST", header(404, STANDS), false),
        ("POST", Header { is_upstreams: false, ..header(200, STANDS) }, false),
    ] {
        let mut world = World::new();
        let now = world.now();
        assert!(world.keeper.on_mutated(now, mutation(method), &header).is_none());
        assert_eq!(world.poll().is_some(), invalidates);
        assert!(world.is_silent() && world.is_idle());
    }
}

/// Bodies that waited for an epoch that was lost once counted for ever, until nothing was stored any more.
#[test]
fn an_answer_whose_epoch_is_lost_is_let_go() {
    type End = fn(&mut World, OutgoingId, Box<Filling>);
    let ends: [(&str, End); 4] = [
        ("the answer is lost, then the body whole", |world, id, filling| {
            world.hears(id, Said::Nothing);
            world.keeper.on_filled(world.now(), filling);
        }),
        ("the body is whole, then the answer lost", |world, id, filling| {
            world.keeper.on_filled(world.now(), filling);
            world.hears(id, Said::Nothing);
        }),
        ("the store is lost, then the body whole", |world, _, filling| {
            world.keeper.on_lost(world.now());
            world.keeper.on_filled(world.now(), filling);
        }),
        ("the body is whole, then the store lost", |world, _, filling| {
            world.keeper.on_filled(world.now(), filling);
            world.keeper.on_lost(world.now());
        }),
    ];
    for (name, end) in ends {
        let mut world = World::new();
        let now = world.now();
        let filling = world.keeper.on_mutated(now, mutation("POST"), &header(200, STANDS));
        let filling = world.keeper.on_body(now, filling.unwrap(), BODY).unwrap();
        let (id, _) = world.says();
        end(&mut world, id, filling);
        assert!(world.is_idle() && world.is_silent(), "{name}");
        let later = format!("{:?}", world.keeper.purges);
        assert!(later.contains("posts: {}"), "{name}: {later}");
    }
}

/// Something that was kept for longer than it was known that it had been purged came back.
#[test]
fn nothing_is_kept_for_longer_than_what_invalidates_it() {
    let mut world = World::new();
    let now = world.now();
    world.keeper.purge(now, scopes(), Mode::Hard, 1);
    let (_, outgoing) = world.says();
    let Outgoing::Invalidate { kept: known, .. } = outgoing else { panic!("{outgoing:?}") };
    for control in ["max-age=86400", "max-age=60, stale-while-revalidate=9999999"] {
        for asker in 0..10 {
            world.waits(asker, get(&[("cache-control", "no-cache")]));
            world.looks_up(missing(Lock::Mine));
            let fetch = world.leader();
            world.fetches(fetch, &[("cache-control", control), ("etag", "\"a\"")]);
            let kept = world.puts(Put::Stored).kept;
            assert!(kept <= known, "{control}: {kept:?} > {known:?}");
        }
    }
}
