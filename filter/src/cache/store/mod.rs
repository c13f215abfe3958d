//! The store of the fleet's stored responses: what they are called in Redis, what Redis is asked, and what it answers.
//!
//! Each question is one script call (`../lua`). The rooms: `names` (keys), `calls` (what is asked), `answers`.
//!
//! What is in Redis is input like any other. A stored response says itself which key and which `Vary` it is of, so
//! neither a collision of digests nor somebody else's value is ever served.

mod answers;
mod calls;
mod names;

pub use self::answers::{Found, Lock, Put, body, found, lock, put};
pub use self::calls::{Calls, Kept, Mode, SOURCES, Scope, Token};
pub use self::names::{ObjectId, Place, Record, Url};
