//! Circuit breakers: requests are kept from an upstream that fails, and it is tried now and then whether it is well again.
//!
//! A request falls under breakers, each told apart by a key ([`crate::key`]). What a breaker is decides a [`record`], in
//! the memory of the process or in Redis ([`script`]); what a worker knows of it is a [`view`]. The [`board`] has all
//! breakers of a worker: it admits requests, takes in what becomes of them ([`outcome`]), and says what there is to say
//! to Redis. A refusal is answered by [`answer`].

// What is counted here comes from Redis, or is as many as clients like: arithmetic says what happens at its ends.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub mod answer;
pub mod board;
pub mod evidence;
pub mod keys;
pub mod outcome;
pub mod policy;
pub mod record;
pub mod script;
pub mod told;
pub mod view;
