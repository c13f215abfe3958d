//! The real processes: the launcher of the native topology, the stand-in upstream, and the tests that drive them.

pub mod bench;
pub mod client;
pub mod fleet;
pub mod prometheus;
pub mod scene;
pub mod scripted;
pub mod stack;
pub mod terminal;
pub mod upstream;
