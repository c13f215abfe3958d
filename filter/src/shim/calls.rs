//! The worker's calls to Redis: a POST to a listener of the same Envoy, whose router ends it as TCP.
//!
//! Traps this file is built around: the answer to a call comes to the context in whose callback it was made, and nobody
//! is told if that is a request which is gone; so calls are made in callbacks of the root context alone, and a request
//! has it called back. A call cannot be ended: the answer to one that was given up still comes. That Redis cannot be
//! reached is no failure to the host but an answer with status 503, and who asks for a header of an answer without any,
//! as a call has that was reset, ends the VM.

use std::cell::{Cell, RefCell};

use proxy_wasm::types::BufferType;

use super::host;
use crate::redis::{CALL_TIMEOUT, Callout, CloseCause, Credentials, MAX_ANSWER_BYTES};

/// The cluster that calls go to.
const CLUSTER: &str = "redis_callout";

/// The calls of one worker, at most one of which is under way.
pub(super) struct Calls {
    callout: RefCell<Callout>,
    /// The call whose answer is waited for.
    token: Cell<Option<u32>>,
    /// What the root context is called back by; opened when first needed, so that none is opened where nobody serves.
    queue: Cell<Option<u32>>,
}

impl Calls {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let callout = RefCell::new(Callout::new(credentials));
        Self { callout, token: Cell::new(None), queue: Cell::new(None) }
    }

    /// Forgets what was to be called, and the call under way.
    pub(super) fn reset(&self) {
        self.token.set(None);
        self.callout.borrow_mut().reset();
    }

    /// Takes commands for the next call.
    pub(super) fn write(&self, commands: &[u8]) {
        self.callout.borrow_mut().write(commands);
    }

    /// Makes the call that is due, if one is. Only from a callback of the root context, acting on it.
    ///
    /// # Errors
    /// The host does not make it.
    pub(super) fn make(&self) -> Result<(), CloseCause> {
        let body = self.callout.borrow_mut().poll_call();
        let Some(body) = body else { return Ok(()) };
        let made = host::call(CLUSTER, &body, CALL_TIMEOUT);
        self.token.set(made.ok());
        made.map(drop).map_err(|_status| CloseCause::NotCalled)
    }

    /// Has the root context called back if a call is due.
    pub(super) fn wake(&self) {
        if !self.callout.borrow().is_due() {
            return;
        }
        if self.queue.get().is_none() {
            // Of all that open a queue of one name the last is called back.
            let name = format!("calls-{:016x}", u64::from_le_bytes(host::random()));
            self.queue.set(host::open_queue(&name));
        }
        if let Some(queue) = self.queue.get() {
            host::put_into_queue(queue);
        }
    }

    /// A call has ended, with an answer of so many `headers` and `length` bytes: what the worker is to be told, if it still
    /// waits for it.
    pub(super) fn answer(
        &self,
        token: u32,
        headers: usize,
        length: usize,
    ) -> Option<Result<Vec<u8>, CloseCause>> {
        if self.token.get() != Some(token) {
            return None;
        }
        self.token.set(None);
        let length = length.min(MAX_ANSWER_BYTES);
        let body = host::buffer(BufferType::HttpCallResponseBody, 0, length).unwrap_or_default();
        let mut callout = self.callout.borrow_mut();
        let status = if headers > 0 { host::answer_status() } else { None };
        Some(callout.handle_answer(status, &body).map(<[u8]>::to_vec))
    }
}
