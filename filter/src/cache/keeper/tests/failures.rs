//! Upstreams that fail, and a store that does.

use super::*;

const TAG: (&str, &str) = ("etag", "\"a\"");
const STALE_IF_ERROR: &[(&str, &str)] = &[("cache-control", "max-age=60, stale-if-error=60"), TAG];

/// Some wait for the validation of what is stale.
fn validating(world: &mut World, fields: &[(&str, &str)]) -> Box<Fetch> {
    world.pass(70);
    (0..3).for_each(|asker| world.waits(asker, get(&[])));
    world.looks_up(there(fields));
    world.acquires(Lock::Mine);
    world.leader()
}

/// Those who waited with who validated it were once sent to an upstream that fails, and got its errors.
fn others_get_the_stale_one_too(world: &mut World, useless_for: Duration) {
    assert_eq!(world.releases().1, useless_for);
    assert!(world.decided().is_empty());
    world.looks_up(there(STALE_IF_ERROR));
    world.acquires(Lock::Useless);
    let forwarded = world.forwarded();
    assert_eq!(forwarded.len(), 2);
    for (_, fetch) in forwarded {
        assert!(fetch.have.is_some() && fetch.token.is_none());
        let arrival = world.arrives(fetch, &header(503, &[]));
        assert!(matches!(arrival, Arrival::Reply(_)));
    }
    assert!(world.is_idle() && world.is_silent());
}

#[test]
fn stale_if_error() {
    let mut world = World::new();
    let fetch = validating(&mut world, STALE_IF_ERROR);
    let Arrival::Reply(reply) = world.arrives(fetch, &header(503, &[])) else { panic!() };
    assert_eq!((reply.answer.status, &*reply.body, reply.answer.ttl_s), (200, BODY, -10));
    let detail = Some(Stale::IfError.name());
    assert!(matches!(reply.handling, Handling::Forwarded { detail: of, .. } if of == detail));
    others_get_the_stale_one_too(&mut world, FAILED_FOR);
    let mut world = World::new();
    let fetch = validating(&mut world, &[("cache-control", "max-age=60"), TAG]);
    assert!(matches!(world.arrives(fetch, &header(503, &[])), Arrival::Pass(_)), "not allowed");
}

/// By the grace of the policy, without a word of the response.
#[test]
fn unreachable() {
    for (grace_s, is_bridged) in [(60, true), (5, false)] {
        let stale_if_error = Duration::from_secs(grace_s);
        let mut world = World::with(Policy { stale_if_error, ..Policy::default() });
        let fetch = validating(&mut world, &[("cache-control", "max-age=60"), TAG]);
        let ours = Header { is_upstreams: false, ..header(503, &[]) };
        let arrival = world.arrives(fetch, &ours);
        assert_eq!(matches!(arrival, Arrival::Reply(_)), is_bridged, "{arrival:?}");
    }
}

#[test]
fn an_open_breaker() {
    let mut world = World::new();
    let fetch = validating(&mut world, STALE_IF_ERROR);
    let now = world.now();
    let reply = world.keeper.on_refused(now, *fetch).unwrap();
    assert_eq!(*reply.body, *BODY);
    others_get_the_stale_one_too(&mut world, FAILED_FOR);
    let mut world = World::new();
    world.waits(0, get(&[]));
    world.waits(1, get(&[]));
    world.looks_up(missing(Lock::Mine));
    let fetch = world.leader();
    assert!(world.keeper.on_refused(world.now(), *fetch).is_none(), "there is nothing");
    assert_eq!(world.forwarded().len(), 1, "the other one is refused too");
    assert_eq!(world.releases().1, FAILED_FOR);
    assert!(world.is_idle());
}

#[test]
fn what_is_not_stored_sets_all_free() {
    for (status, fields, useless_for) in [
        (200, &[("cache-control", "no-store")][..], USELESS_FOR),
        (200, &[("cache-control", "max-age=60"), ("content-length", "2000000")], USELESS_FOR),
        (500, &[], FAILED_FOR),
    ] {
        let mut world = World::new();
        (0..3).for_each(|asker| world.waits(asker, get(&[])));
        world.looks_up(missing(Lock::Mine));
        let fetch = world.leader();
        assert!(matches!(world.arrives(fetch, &header(status, fields)), Arrival::Pass(_)));
        assert_eq!(world.forwarded().len(), 2);
        assert_eq!(world.releases().1, useless_for);
        assert!(world.is_idle());
    }
}

#[test]
fn a_body_that_is_cut_is_nothing() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    world.waits(1, get(&[]));
    world.looks_up(missing(Lock::Mine));
    let whole = header(200, &[("cache-control", "max-age=60"), ("content-length", "12")]);
    let fetch = world.leader();
    let filling = world.fills(fetch, &whole);
    let now = world.now();
    let filling = world.keeper.on_body(now, filling, BODY).unwrap();
    assert_eq!(world.keeper.filling_bytes(), BODY.len());
    world.keeper.on_filled(now, filling);
    assert_eq!(world.releases().1, Duration::ZERO);
    world.looks_up(missing(Lock::Mine));
    let fetch = world.leader();
    let filling = world.fills(fetch, &whole);
    world.keeper.on_cut(now, filling);
    assert!(world.is_idle());
}

#[test]
fn bodies_on_their_way_have_a_bound() {
    let policy = Policy { max_object_bytes: u64::MAX, ..Policy::default() };
    let mut world = World::with(policy);
    let mut fillings = Vec::new();
    let fresh = header(200, &[("cache-control", "max-age=60")]);
    let part = vec![0; MOST_FILLING_BYTES / 2];
    for number in 0..3 {
        world.waits(number, asking("GET", &format!("/{number}"), &[]));
        world.looks_up(missing(Lock::Mine));
        let fetch = world.leader();
        let filling = world.fills(fetch, &fresh);
        let now = world.now();
        fillings.extend(world.keeper.on_body(now, filling, &part));
    }
    assert_eq!((fillings.len(), world.keeper.filling_bytes()), (2, MOST_FILLING_BYTES));
    assert_eq!(world.releases().1, USELESS_FOR);
    let now = world.now();
    fillings.drain(..).for_each(|filling| world.keeper.on_filled(now, filling));
    assert_eq!(world.keeper.filling_bytes(), 0);
}

#[test]
fn without_the_store_all_go_on() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    world.looks_up(missing(Lock::Mine));
    let fetch = world.leader();
    world.waits(1, get(&[]));
    world.waits(2, asking("GET", "/b", &[]));
    let now = world.now();
    world.keeper.on_lost(now);
    let forwarded = world.forwarded();
    assert_eq!(forwarded.len(), 2);
    for (_, fetch) in forwarded {
        assert_eq!((fetch.miss, fetch.epoch), (Miss::Unavailable, None));
        let fresh = header(200, &[("cache-control", "max-age=60")]);
        assert!(matches!(world.arrives(fetch, &fresh), Arrival::Pass(_)), "not to be stored");
    }
    world.fetches(fetch, &[("cache-control", "max-age=60")]);
    let look = world.keeper.look(now, 3, get(&[]));
    assert!(matches!(look, Look::Forward(_)));
    assert!(world.is_idle() && world.is_silent());
}

/// What is remembered is used until the lease is over, and after another connection is there not even that.
#[test]
fn what_is_remembered_is_used_for_the_lease_alone() {
    let remembering = || {
        let mut world = World::new();
        world.waits(0, get(&[]));
        world.looks_up(there(&[("cache-control", "max-age=60")]));
        assert_eq!(world.replied().len(), 1);
        let now = world.now();
        world.keeper.on_lost(now);
        assert!(matches!(world.keeper.look(now, 1, get(&[])), Look::Reply(_)));
        world
    };
    let mut world = remembering();
    world.pass(LEASE.as_secs());
    assert!(matches!(world.keeper.look(world.now(), 1, get(&[])), Look::Forward(_)));
    let mut world = remembering();
    world.keeper.on_joined(world.now(), true);
    assert!(matches!(world.keeper.look(world.now(), 1, get(&[])), Look::Wait));
}
