//! The arithmetic of the algorithms: what is left of a counter, what taking of it leaves, and how long to wait.
//!
//! For counting within a process. `lua/quota.lua` has the same for Redis, operation by operation, so that both come to
//! the same floating-point numbers.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to an integer saturates, which is what is meant: less than nothing is nothing"
)]

use std::time::Duration;

use super::calendar;
use super::policy::Policy;
use crate::config::{Algorithm, Per};
use crate::time::UnixTime;

/// What is stored of a counter: three numbers, whose meaning is the algorithm's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Windows: the end of the window in milliseconds since 1970. Bucket: the time in microseconds.
    pub at: u64,
    /// Windows: units taken in it. Bucket: the tokens in it, as the bits of an `f64`.
    pub held: u64,
    /// Sliding window: units taken in the window before.
    pub before: u64,
}

/// A counter at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    policy: Policy,
    now: UnixTime,
    window: Window,
    taken: u64,
    before: u64,
    available: f64,
}

/// The window around a moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Window {
    length: u64,
    left: u64,
    end: u64,
}

impl Window {
    fn around(now_ms: u64, per: Per) -> Self {
        match per {
            Per::Span(span) => {
                let length = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
                let left = length - now_ms % length;
                Self { length, left, end: now_ms.saturating_add(left) }
            }
            Per::Month => {
                let left = calendar::left_of_month(now_ms);
                Self { length: 0, left, end: now_ms.saturating_add(left) }
            }
        }
    }
}

impl Counter {
    /// The counter of which `stored` is known, at `now`.
    #[must_use]
    pub fn new(policy: Policy, stored: Option<State>, now: UnixTime) -> Self {
        let window = Window::around(now.as_millis(), policy.per);
        let limit = policy.limit as f64;
        let (mut taken, mut before) = (0, 0);
        let available = match policy.algorithm {
            Algorithm::FixedWindow => {
                taken = stored.filter(|state| state.at == window.end).map_or(0, |state| state.held);
                limit - taken as f64
            }
            Algorithm::SlidingWindow => {
                match stored {
                    Some(state) if state.at == window.end => {
                        (taken, before) = (state.held, state.before);
                    }
                    Some(state) if state.at == window.end - window.length => before = state.held,
                    Some(_) | None => {}
                }
                limit - (before as f64 * (window.left as f64 / window.length as f64) + taken as f64)
            }
            Algorithm::TokenBucket { burst } => {
                let burst = burst.get() as f64;
                let (level, since) = stored.map_or((burst, now.as_micros()), |state| {
                    (f64::from_bits(state.held), state.at)
                });
                let elapsed = now.as_micros().saturating_sub(since) as f64;
                burst.min(level + elapsed * limit / (window.length * 1000) as f64)
            }
        };
        Self { policy, now, window, taken, before, available }
    }

    /// Whether `cost` units are left.
    #[must_use]
    pub fn has(&self, cost: u64) -> bool {
        self.available >= cost as f64
    }

    /// Units that are left, rounded down.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.available as u64
    }

    /// Takes `cost` units.
    pub fn take(&mut self, cost: u64) {
        self.taken = self.taken.saturating_add(cost);
        self.available -= cost as f64;
    }

    /// Gives `cost` units back.
    pub fn give_back(&mut self, cost: u64) {
        self.taken = self.taken.saturating_sub(cost);
        self.available += cost as f64;
        if let Algorithm::TokenBucket { burst } = self.policy.algorithm {
            self.available = self.available.min(burst.get() as f64);
        }
    }

    /// What is to be stored.
    #[must_use]
    pub fn state(&self) -> State {
        match self.policy.algorithm {
            Algorithm::FixedWindow => State { at: self.window.end, held: self.taken, before: 0 },
            Algorithm::SlidingWindow => {
                State { at: self.window.end, held: self.taken, before: self.before }
            }
            Algorithm::TokenBucket { .. } => {
                State { at: self.now.as_micros(), held: self.available.to_bits(), before: 0 }
            }
        }
    }

    /// When nothing of it matters any more, in milliseconds since 1970.
    #[must_use]
    pub fn expires_at_ms(&self) -> u64 {
        let lives = match self.policy.algorithm {
            Algorithm::FixedWindow => self.window.left,
            Algorithm::SlidingWindow => self.window.left.saturating_add(self.window.length),
            Algorithm::TokenBucket { burst } => self.bucket_wait_ms(burst.get()),
        };
        self.now.as_millis().saturating_add(lives)
    }

    /// Time until there are `need` units if there are fewer; else until the window ends or the bucket is full.
    #[must_use]
    pub fn reset_after(&self, need: u64) -> Duration {
        let lacks = !self.has(need);
        Duration::from_millis(match self.policy.algorithm {
            Algorithm::SlidingWindow if lacks => self.sliding_wait_ms(need),
            Algorithm::FixedWindow | Algorithm::SlidingWindow => self.window.left,
            // As for what never fits into a sliding window: it may ask again, but not all the time.
            Algorithm::TokenBucket { burst } if need > burst.get() => self.window.length,
            Algorithm::TokenBucket { burst } => {
                self.bucket_wait_ms(if lacks { need } else { burst.get() })
            }
        })
    }

    fn sliding_wait_ms(&self, need: u64) -> u64 {
        let (length, left) = (self.window.length as f64, self.window.left as f64);
        let (taken, limit, need) = (self.taken as f64, self.policy.limit as f64, need as f64);
        let room = limit - need;
        let wait = if room < 0.0 {
            left + length
        } else if taken <= room {
            (left - (room - taken) * length / self.before as f64).floor() + 1.0
        } else {
            left + ((length - room * length / taken).floor() + 1.0).max(0.0)
        };
        wait as u64
    }

    fn bucket_wait_ms(&self, tokens: u64) -> u64 {
        let lacking = tokens as f64 - self.available;
        ((lacking * self.window.length as f64 / self.policy.limit as f64).floor() + 1.0) as u64
    }
}

#[cfg(test)]
mod tests;
