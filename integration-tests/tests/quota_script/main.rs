//! The quota script in a real Redis against models in Rust, over random histories.
//!
//! The calls go through the filter's own client, on a socket, in bursts of random length. In `fixed_window` the clock is
//! the one of Redis and the model is as plain as can be; in `algorithms` the script is given a made clock, and the model
//! is the arithmetic that counts within a process. A run prints its seed; `SEED=… cargo test --test quota_script`
//! repeats it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test's helpers fail like the test"
)]

mod algorithms;
mod fixed_window;
mod server;

use std::time::{SystemTime, UNIX_EPOCH};

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn seed() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => unix_ms(),
    };
    println!("SEED={seed}");
    seed
}
