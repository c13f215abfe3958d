//! Goal: whatever happens between the client and the server, every command has exactly one outcome,
//! its own, in time; nothing grows without a bound; and when the trouble is over, all is well
//! again.
//!
//! Method: the client on virtual time against a model server, through a driver and a network that
//! cut, delay, lose, stall, lie and end, all of it decided by one seed. `SEED=n` replays one,
//! `SEEDS=n` runs that many.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

mod checks;
mod network;
#[path = "../common/seeds.rs"]
mod seeds;
mod server;
mod world;

use checks::Checks;
use world::World;

/// Seeds of an ordinary run: a few seconds.
const SEEDS: u64 = 2_000;

/// What all runs came to: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default)]
struct Totals {
    replies: u64,
    overdue: u64,
    refused: u64,
    overloaded: u64,
    losses: u64,
    pushes: u64,
    messages: u64,
    /// Worlds in which the client said that it hears.
    subscribed: u64,
}

impl Totals {
    fn add(&mut self, checks: &Checks) {
        self.replies += checks.replies;
        self.overdue += checks.overdue;
        self.refused += checks.refused;
        self.overloaded += checks.overloaded;
        self.losses += checks.losses;
        self.pushes += checks.pushes;
        self.messages += checks.messages;
        self.subscribed += u64::from(checks.subscribed);
        assert!(checks.subscribed || checks.messages == 0, "heard without having subscribed");
    }
}

#[test]
fn every_command_has_one_outcome_in_time_and_trouble_passes() {
    let mut totals = Totals::default();
    let runs = seeds::for_each(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.run();
        totals.add(&world.checks);
    });
    println!("{totals:?}");
    let Totals { replies, overdue, refused, overloaded, losses, pushes, messages, subscribed } =
        totals;
    let all = [replies, overdue, refused, overloaded, losses, pushes, messages, subscribed];
    let least = all.into_iter().min();
    assert!(runs == 1 || least > Some(100), "too little happened: {totals:?}");
}
