//! Who asks the upstream, and who waits for it.

use super::*;
use crate::cache::range::Part;
use crate::cache::vary::Names;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"a\"");

#[test]
fn one_fetches_for_all() {
    let mut world = World::new();
    (0..5).for_each(|asker| world.waits(asker, get(&[])));
    assert!(world.looks_up(missing(Lock::Mine)).is_some());
    assert!(world.is_silent(), "one question for all");
    let fetch = world.leader();
    world.waits(5, get(&[]));
    assert!(world.is_silent(), "it is known that it is fetched");
    world.fetches(fetch, &[FRESH]);
    assert!(world.decided().is_empty(), "not before it is stored");
    assert_eq!(world.puts(Put::Stored).body.as_deref(), Some(BODY));
    let replied = world.replied();
    assert_eq!(replied.len(), 5);
    assert!(replied.iter().all(|(_, reply)| *reply.body == *BODY));
    assert!(world.is_idle());
    let now = world.now();
    assert!(matches!(world.keeper.look(now, 9, get(&[])), Look::Reply(_)), "it is remembered");
}

/// Their answers are not what others want.
#[test]
fn who_wants_less_than_a_whole_response_leads_nobody() {
    let alone = [
        asking("HEAD", "/a", &[]),
        get(&[("range", "bytes=0-1")]),
        get(&[("if-none-match", "\"b\"")]),
        get(&[("cache-control", "no-store")]),
    ];
    for one in alone {
        let mut world = World::new();
        world.waits(0, one.clone());
        world.waits(1, get(&[]));
        assert_eq!(world.looks_up(missing(Lock::NotAsked)), None, "no lock for {one:?}");
        let fetch = world.leader();
        assert_eq!((&fetch.asking, fetch.token), (&one, None));
        assert!(world.looks_up(missing(Lock::Mine)).is_some(), "the other one asks again");
        assert_eq!(world.leader().asking, get(&[]));
        assert_eq!(world.keeper.waiting_count(), 0);
    }
}

/// Once whoever wanted a part of something, or had it already, was told by the upstream that there is no such part, and
/// had let it be stored for a time, everybody was told so.
#[test]
fn what_a_condition_has_come_to_is_not_for_others() {
    for (field, status) in [(("if-match", "\"b\""), 412), (("range", "bytes=99-"), 416)] {
        let mut world = World::new();
        world.waits(0, get(&[field]));
        world.looks_up(missing(Lock::NotAsked));
        let fetch = world.leader();
        let arrival = world.arrives(fetch, &header(status, &[FRESH]));
        assert!(matches!(arrival, Arrival::Pass(_)), "{arrival:?}");
        assert!(world.is_silent());
    }
}

/// RFC 9111 §5.2.1.7.
#[test]
fn who_wants_only_what_is_stored_is_told_if_nothing_is() {
    let mut world = World::new();
    world.waits(0, get(&[("cache-control", "only-if-cached")]));
    let token = world.looks_up(missing(Lock::Mine)).unwrap();
    let (_, reply) = world.replied().remove(0);
    assert_eq!((reply.answer.status, reply.body.len()), (504, 0));
    assert_eq!(world.releases(), (token, Duration::ZERO));
    world.waits(1, get(&[("cache-control", "only-if-cached")]));
    world.looks_up(there(&[FRESH]));
    assert_eq!(world.replied().remove(0).1.answer.status, 200);
    let now = world.now();
    world.keeper.on_lost(now);
    let look =
        world.keeper.look(now, 2, asking("GET", "/b", &[("cache-control", "only-if-cached")]));
    assert!(matches!(look, Look::Reply(reply) if reply.answer.status == 504));
}

#[test]
fn who_wants_it_validated_is_answered_by_one_validation() {
    let mut world = World::new();
    let no_cache = || get(&[("cache-control", "no-cache")]);
    (0..3).for_each(|asker| world.waits(asker, no_cache()));
    world.looks_up(there(&[FRESH, TAG]));
    world.acquires(Lock::Mine);
    let fetch = world.leader();
    assert_eq!(fetch.conditions(), [("if-none-match", b"\"a\"".to_vec())]);
    let arrival = world.arrives(fetch, &header(304, &[FRESH, TAG]));
    assert!(matches!(arrival, Arrival::Reply(reply) if reply.answer.status == 200));
    let storing = world.puts(Put::Stored);
    assert_eq!(storing.body, None, "the body is there");
    let replied = world.replied();
    assert_eq!(replied.len(), 2);
    for (_, reply) in replied {
        assert!(matches!(reply.handling, Handling::Forwarded { collapsed: true, .. }));
    }
    assert!(world.is_idle());
}

/// What was validated before a request came is not validated for it.
#[test]
fn who_wants_it_validated_is_not_answered_by_what_was_before() {
    let mut world = World::new();
    world.waits(0, get(&[("cache-control", "no-cache")]));
    world.looks_up(missing(Lock::Mine));
    let fetch = world.leader();
    let filling = world.fills(fetch, &header(200, &[FRESH, TAG]));
    world.pass(1);
    world.waits(1, get(&[("cache-control", "no-cache")]));
    let now = world.now();
    world.keeper.on_filled(now, filling);
    world.puts(Put::Stored);
    assert!(world.decided().is_empty());
    world.looks_up(there(&[FRESH, TAG]));
    world.acquires(Lock::Mine);
    assert_eq!(world.leader().miss, Miss::Request);
}

const SWR: &[(&str, &str)] = &[("cache-control", "max-age=60, stale-while-revalidate=60"), TAG];

#[test]
fn stale_ones_are_refreshed_once() {
    let mut world = World::new();
    world.pass(70);
    (0..3).for_each(|asker| world.waits(asker, get(&[("range", "bytes=0-1")])));
    world.looks_up(there(SWR));
    let replied = world.replied();
    assert_eq!(replied.len(), 3);
    assert_eq!(replied[0].1.answer.part, Part::Bytes(0, 1));
    world.acquires(Lock::Mine);
    assert!(world.decided().is_empty());
    let fetch = world.refreshes.pop().unwrap();
    assert!(world.refreshes.is_empty() && world.is_silent(), "one for all");
    assert!(fetch.request().iter().all(|(name, _)| name != b"range"), "and for nobody");
    // It is another worker's turn.
    world.waits(4, get(&[]));
    world.looks_up(there(SWR));
    world.acquires(Lock::Taken);
    assert_eq!((world.replied().len(), world.refreshes.len()), (1, 0));
}

/// Between looking and locking another worker may have refreshed it; once it was then refreshed again.
#[test]
fn what_was_refreshed_meanwhile_is_not_refreshed_again() {
    let mut world = World::new();
    world.pass(70);
    world.waits(0, get(&[]));
    world.waits(1, get(&[("cache-control", "no-cache")]));
    world.looks_up(there(SWR));
    world.acquires(Lock::Changed);
    assert_eq!((world.replied().len(), world.refreshes.len()), (1, 0));
    // Who wants a fresher one looks whether that is it.
    world.looks_up(there(SWR));
    world.acquires(Lock::Mine);
    assert_eq!(world.leader().miss, Miss::Request);
}

/// Those who came while this worker refreshed it once waited for that, as if there was nothing.
#[test]
fn nobody_waits_for_a_refresh() {
    let mut world = World::new();
    world.pass(70);
    world.waits(0, get(&[]));
    world.looks_up(there(SWR));
    world.acquires(Lock::Mine);
    assert_eq!((world.replied().len(), world.refreshes.len()), (1, 1));
    world.waits(1, get(&[]));
    world.looks_up(there(SWR));
    assert_eq!(world.replied().len(), 1);
}

/// HEAD once had it refreshed too; the answer to that could not be stored, and for a while nobody waited any more.
#[test]
fn who_could_not_store_it_does_not_refresh_it() {
    for one in [asking("HEAD", "/a", &[]), get(&[("cache-control", "no-store")])] {
        let mut world = World::new();
        world.pass(70);
        world.waits(0, one);
        world.looks_up(there(SWR));
        assert_eq!(world.replied().len(), 1);
        assert!(world.is_silent() && world.refreshes.is_empty());
    }
}

#[test]
fn what_it_varies_on_is_learnt_from_the_store() {
    let mut world = World::new();
    let names = Names::parse(b"x-lang").unwrap();
    world.waits(0, get(&[("x-lang", "en")]));
    world.looks_up(Said::Found(Found::Names(names.clone()), None));
    let (id, outgoing) = world.says();
    let Outgoing::Lookup { place, names: asked, .. } = outgoing else { panic!("{outgoing:?}") };
    assert_eq!(asked, names);
    world.hears(id, missing(Lock::Mine));
    let fetch = world.leader();
    assert_eq!((fetch.place.object, fetch.miss), (place.object, Miss::Vary));
    world.waits(1, get(&[("x-lang", "de")]));
    let (_, outgoing) = world.says();
    let Outgoing::Lookup { place: other, names: asked, .. } = outgoing else { panic!() };
    assert_eq!(asked, names, "it is remembered");
    assert_ne!(other.object, place.object);
}

#[test]
fn nobody_is_sent_around_for_ever() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    for hop in 0..=MOST_HOPS {
        let names = Names::parse(format!("x-{hop}").as_bytes()).unwrap();
        assert!(world.decided().is_empty());
        world.looks_up(Said::Found(Found::Names(names), None));
    }
    let fetch = world.leader();
    assert_eq!((fetch.miss, fetch.epoch, fetch.token), (Miss::Unavailable, None, None));
    assert!(world.is_idle());
}

/// It varies on what was not known when it was fetched.
#[test]
fn others_look_elsewhere_for_what_turns_out_to_vary() {
    let mut world = World::new();
    world.waits(0, get(&[("x-lang", "en")]));
    world.waits(1, get(&[("x-lang", "en")]));
    world.waits(2, get(&[("x-lang", "de")]));
    let token = world.looks_up(missing(Lock::Mine)).unwrap();
    let fetch = world.leader();
    let asked = fetch.place.object;
    world.fetches(fetch, &[FRESH, ("vary", "x-lang")]);
    let (id, outgoing) = world.says();
    let Outgoing::Put(storing) = outgoing else { panic!("{outgoing:?}") };
    assert_eq!(storing.token, None);
    assert_ne!(storing.place.object, asked);
    assert_eq!(world.releases(), (token, Duration::ZERO));
    world.hears(id, Said::Put(Put::Stored));
    let places = [(); 2].map(|()| {
        let (_, outgoing) = world.says();
        let Outgoing::Lookup { place, .. } = outgoing else { panic!("{outgoing:?}") };
        place.object
    });
    assert!(places.contains(&storing.place.object) && places[0] != places[1]);
}
