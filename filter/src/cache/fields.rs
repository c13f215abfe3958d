//! Header fields, as all rooms of the cache see them.

pub use crate::http::header::{Fields, members};
