//! The streams of workers whose transport they are: bytes both ways, late and split anywhere.

use meliproxy::redis::CloseCause;
use meliproxy::worker::LinkId;

use crate::fleet::{EPOCH_MICROS, Fleet, Happening};
use crate::link::Link;

impl Fleet {
    pub(crate) fn send_bytes(&mut self, member: usize, bytes: &[u8]) {
        let Some(stream) = self.members[member].link.stream else { return };
        if self.refuses {
            return;
        }
        let to_redis = &mut self.members[member].link.to_redis;
        for (at, bytes) in to_redis.send(&mut self.rng, self.now, self.latency, bytes) {
            self.schedule(at, Happening::ToRedis { member, stream, bytes });
        }
    }

    pub(crate) fn deliver_to_redis(&mut self, member: usize, stream: u64, bytes: &[u8]) {
        if self.members[member].link.stream != Some(stream) {
            return;
        }
        if self.now < self.stalled_until {
            let bytes = bytes.to_vec();
            // In order after the stall: the agenda keeps what is due at the same moment in the order it came.
            self.schedule(self.stalled_until, Happening::ToRedis { member, stream, bytes });
            return;
        }
        let now_ms = (EPOCH_MICROS + self.now) / 1000;
        let Link { connection, from_redis, .. } = &mut self.members[member].link;
        let answer = self.redis.answer(connection, now_ms, bytes);
        for (at, bytes) in from_redis.send(&mut self.rng, self.now, self.latency, &answer) {
            self.schedule(at, Happening::FromRedis { member, stream, bytes });
        }
    }

    pub(crate) fn deliver_from_redis(&mut self, member: usize, stream: u64, bytes: &[u8]) {
        if self.members[member].link.stream == Some(stream) {
            let now = self.now();
            self.tell(member, |member| {
                member.worker.on_input(now, LinkId::Main, bytes, &mut member.shared)
            });
        }
    }

    pub(crate) fn close(&mut self, member: usize, stream: u64) {
        if self.members[member].link.stream == Some(stream) {
            self.members[member].link.drop();
            let (now, cause) = (self.now(), CloseCause::Status(2));
            self.tell(member, |member| {
                member.worker.on_closed(now, LinkId::Main, cause, &mut member.shared)
            });
        }
    }
}
