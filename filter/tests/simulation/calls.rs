//! The calls of workers whose transport they are: the host makes them, and Redis answers each on a connection of its own.

use meliproxy::redis::CALL_TIMEOUT;
use meliproxy::worker::LinkId;

use crate::fleet::{EPOCH_MICROS, Fleet, Happening, micros};
use crate::model_redis::Connection;

impl Fleet {
    /// Makes the call that is due, if one is.
    pub(crate) fn make_call(&mut self, member: usize) {
        let callout = self.members[member].link.callout.as_mut();
        let Some(body) = callout.and_then(|callout| callout.poll_call()) else { return };
        let call = self.number();
        self.members[member].link.call = Some(call);
        self.schedule(self.now + micros(CALL_TIMEOUT), Happening::CallTimeout { member, call });
        let at = self.now + self.latency();
        let arrives = if self.refuses {
            Happening::Answer { member, call, status: Some(503), body: Vec::new() }
        } else {
            Happening::Call { member, call, body }
        };
        self.schedule(at, arrives);
    }

    /// A call has reached Redis.
    pub(crate) fn call(&mut self, member: usize, call: u64, body: Vec<u8>) {
        if self.now < self.stalled_until {
            self.schedule(self.stalled_until, Happening::Call { member, call, body });
            return;
        }
        let now_ms = (EPOCH_MICROS + self.now) / 1000;
        let body = self.redis.answer(&mut Connection::default(), now_ms, &body);
        let at = self.now + self.latency();
        self.schedule(at, Happening::Answer { member, call, status: Some(200), body });
    }

    /// The answer to a call has come, if it is still waited for.
    pub(crate) fn answer(&mut self, member: usize, call: u64, status: Option<u16>, body: &[u8]) {
        let now = self.now();
        let link = &mut self.members[member].link;
        if link.call != Some(call) {
            return;
        }
        link.call = None;
        let replies = link.callout.as_mut().unwrap().handle_answer(status, body);
        if replies.is_err() {
            link.drop();
        }
        self.tell(member, |member| match replies {
            Ok(replies) => member.worker.on_input(now, LinkId::Main, replies, &mut member.shared),
            Err(cause) => member.worker.on_closed(now, LinkId::Main, cause, &mut member.shared),
        });
    }
}
