//! What requests have to agree in to be treated as one: the key of a quota's counter, or of a breaker.
//!
//! The rooms: `parts` (what is read of a request), `name` (what a key is called in Redis), `hash` (its place in tables of
//! fixed size).

mod hash;
mod name;
mod parts;

pub use self::hash::{HashSeed, KeyHash, is_enforced};
pub use self::name::name;
pub(crate) use self::parts::plain_host;
pub use self::parts::{Found, PartList, PartPlace, Parts};
