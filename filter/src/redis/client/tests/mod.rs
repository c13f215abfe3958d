//! Each rule of the client by itself; `tests/redis_client` has them all at once, against a model server.

mod bounds;
mod losses;
mod messages;
mod replies;
mod rig;
mod scripts;
mod silence;
mod stalls;
mod submitting;
