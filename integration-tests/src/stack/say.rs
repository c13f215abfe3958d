//! What a stack says aloud.

use std::sync::Arc;

/// Something a stack has to say while it starts and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// What has been done, such as `redis-1 (primary) on 127.0.0.1:41001 … up`.
    Progress(&'a str),
    /// What is wrong but does not end the stack: a refused configuration, a part that died.
    Problem(&'a str),
}

/// Receives each [`Line`] when it happens, from any thread.
pub type Say = Arc<dyn Fn(Line<'_>) + Send + Sync>;
