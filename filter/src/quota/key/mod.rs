//! Which counter of a rule a request falls on.
//!
//! The rooms: `parts` (what is read of a request), `name` (what a counter is called), `hash` (its place in tables of
//! fixed size).

mod hash;
mod name;
mod parts;

pub use self::hash::{HashSeed, KeyHash, is_enforced};
pub use self::name::prefix;
pub(super) use self::parts::plain_host;
pub use self::parts::{Found, PartList, PartPlace, Parts};
