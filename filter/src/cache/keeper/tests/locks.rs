//! Locks of the fleet, and those who wait for them.

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const TAG: (&str, &str) = ("etag", "\"a\"");

#[test]
fn who_waits_looks_again_when_told_and_from_time_to_time() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    let (id, outgoing) = world.says();
    let Outgoing::Lookup { place, .. } = outgoing else { panic!("{outgoing:?}") };
    world.hears(id, missing(Lock::Taken));
    assert!(world.is_silent());
    world.pass(2);
    world.looks_up(missing(Lock::Taken));
    let now = world.now();
    world.keeper.on_message(now, place.object.word().as_bytes());
    world.looks_up(there(&[FRESH]));
    assert_eq!(world.replied().len(), 1);
    assert!(world.is_idle());
}

#[test]
fn nobody_waits_for_ever() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    world.looks_up(missing(Lock::Taken));
    for _ in 0..9 {
        world.pass(1);
        world.pass(1);
        if world.keeper.waiting_count() == 0 {
            break;
        }
        world.looks_up(missing(Lock::Taken));
    }
    assert!(world.now_ms <= 12_000);
    assert_eq!(world.leader().miss, Miss::Timeout);
}

/// Told often enough that something has changed, it was never looked for how long it had waited.
#[test]
fn nobody_waits_for_ever_for_what_changes_all_the_time() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    for _ in 0..21 {
        let (id, outgoing) = world.says();
        let Outgoing::Lookup { place, .. } = outgoing else { panic!("{outgoing:?}") };
        world.hears(id, missing(Lock::Taken));
        world.now_ms += 500;
        let now = world.now();
        world.keeper.on_message(now, place.object.word().as_bytes());
        if world.keeper.waiting_count() == 0 {
            break;
        }
    }
    assert_eq!(world.now_ms, 10_000);
    assert_eq!(world.leader().miss, Miss::Timeout);
}

/// The store may have given a lock to who has not heard of it; once all of the fleet waited until it had lapsed.
#[test]
fn a_lock_that_was_not_heard_of_is_given_back() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    let token = world.looks_up(Said::Nothing);
    assert_eq!(Some(world.releases()), token.map(|token| (token, Duration::ZERO)));
    assert_eq!(world.leader().miss, Miss::Unavailable);
    world.waits(0, get(&[("cache-control", "no-cache")]));
    world.looks_up(there(&[FRESH, TAG]));
    let (id, outgoing) = world.says();
    let Outgoing::Acquire { token, .. } = outgoing else { panic!("{outgoing:?}") };
    world.hears(id, Said::Nothing);
    assert_eq!(world.releases(), (token, Duration::ZERO));
    assert_eq!(world.leader().token, None);
}

/// Something that cannot be read, as of another version, was once left there and looked for in vain until it expired.
#[test]
fn what_cannot_be_read_is_replaced() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    world.waits(1, get(&[]));
    world.looks_up(missing(Lock::NotAsked));
    let token = world.acquires(Lock::Mine);
    let fetch = world.leader();
    world.fetches(fetch, &[FRESH]);
    assert_eq!(world.puts(Put::Stored).token, Some(token));
    assert_eq!(world.replied().len(), 1);
    assert!(world.is_idle());
}

/// Whoever came while the lock was asked for was once answered by what had been found before that, though it may have
/// been purged, and the purge answered, before the request came.
#[test]
fn what_was_found_earlier_is_not_for_who_comes_later() {
    let mut world = World::new();
    world.pass(70);
    let stale = &[("cache-control", "max-age=60, stale-while-revalidate=60"), TAG];
    world.waits(0, get(&[("cache-control", "no-cache")]));
    world.looks_up(there(stale));
    let (id, outgoing) = world.says();
    assert!(matches!(outgoing, Outgoing::Acquire { .. }));
    world.now_ms += 1;
    world.waits(1, get(&[]));
    assert!(world.is_silent());
    world.hears(id, Said::Lock(Lock::Mine));
    assert_eq!(world.leader().asking, get(&[("cache-control", "no-cache")]));
    world.looks_up(missing(Lock::Taken));
    assert!(world.decided().is_empty());
}

/// The same for an answer that came when nobody waited for this worker any more.
#[test]
fn what_comes_very_late_is_not_for_who_came_late() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    let (id, _) = world.says();
    world.now_ms += u64::try_from(LEASE.as_millis()).unwrap() + 1;
    world.waits(1, get(&[]));
    world.hears(id, there(&[FRESH]));
    assert_eq!(world.replied().iter().map(|(asker, _)| *asker).collect::<Vec<_>>(), [0]);
    world.looks_up(missing(Lock::Mine));
    world.leader();
}

/// Its clock may be ahead: what was made stale was once fresh until this one had caught up.
#[test]
fn what_is_made_stale_is_stale_whatever_the_clock_of_the_store() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    let stored = Box::new(stored(200, &[FRESH, TAG]));
    let invalid_since = Some((NOW_MS + 30_000) * 1000);
    let found = Found::Stored { stored, invalid_since, epoch: EPOCH };
    world.looks_up(Said::Found(found, Some(BODY.to_vec())));
    assert!(world.decided().is_empty());
    world.acquires(Lock::Mine);
    assert_eq!(world.leader().miss, Miss::Stale);
}

/// By the clock of who had received it, it was once newer than who had waited, and so what that one had waited for.
#[test]
fn what_is_made_stale_is_not_what_anybody_has_waited_for() {
    let mut world = World::new();
    world.waits(0, get(&[]));
    let (id, outgoing) = world.says();
    let Outgoing::Lookup { place, .. } = outgoing else { panic!("{outgoing:?}") };
    world.hears(id, missing(Lock::Taken));
    world.pass(1);
    let mut stored = Box::new(stored(200, &[FRESH, TAG]));
    stored.received_ms = NOW_MS + 10_000;
    let found = Found::Stored { stored, invalid_since: Some(NOW_MS * 1000), epoch: EPOCH };
    let said = Said::Found(found, Some(BODY.to_vec()));
    // Another one has it looked for, and both wait for who validates it.
    world.waits(1, get(&[("cache-control", "no-cache")]));
    world.looks_up(said.clone());
    let (id, _) = world.says();
    let now = world.now();
    world.keeper.on_message(now, place.object.word().as_bytes());
    world.hears(id, Said::Lock(Lock::Taken));
    assert!(world.decided().is_empty());
    // Told again, both look for it.
    world.keeper.on_message(now, place.object.word().as_bytes());
    world.looks_up(said);
    assert!(world.decided().is_empty());
    world.acquires(Lock::Mine);
    assert_eq!(world.leader().miss, Miss::Stale);
}
