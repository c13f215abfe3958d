//! The control port: a small JSON API over what the stand-in does and has received, and its
//! [client](Control). It has a port of its own, so that nothing of it can be reached through the
//! proxy.
//!
//! - `PUT /faults` with a list of faults replaces all, `GET /faults` lists each with how often it
//!   has fired, `DELETE /faults` ends all.
//! - `GET /counts`, `DELETE /counts`: what was received; forgotten together with the request lines.
//! - `GET /requests`: the last request lines, oldest first.

mod api;
mod client;
mod fault_json;

pub(crate) use api::Api;
pub use client::{Control, ControlError};
