//! What Redis is asked to do: the scripts, their arguments and what their replies mean.

mod give_back;
mod question;

pub use self::give_back::give_back;
pub use self::question::{Answer, Grant, MOST_COUNTERS, MOST_REQUESTS, Question};
use crate::redis::ScriptId;

/// The scripts of this room, as the client has to load them: first, and in this order.
pub const SOURCES: [&str; 2] =
    [include_str!("../lua/quota.lua"), include_str!("../lua/give_back.lua")];

/// Places in [`SOURCES`].
const QUOTA: ScriptId = ScriptId(0);
const GIVE_BACK: ScriptId = ScriptId(1);
