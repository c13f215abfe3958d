//! The links of the workers to Redis, which lose, repeat and delay.

use super::*;

impl Fleet {
    pub(super) fn arrive_at_redis(
        &mut self,
        node: usize,
        link: u64,
        id: OutgoingId,
        outgoing: &Outgoing,
    ) {
        if self.nodes[node].link != Some(link) {
            return;
        }
        let context = Context {
            now_us: EPOCH_US + self.now + self.redis_offset_us,
            process: 1 + (node / self.workers) as u64,
            live: (self.nodes.len() / self.workers) as u64,
            roll: self.rng.up_to(ROLLS),
        };
        let said = self.redis.answer(&self.policy, &context, outgoing);
        if self.flaky && self.rng.up_to(9) == 0 {
            // Sent once more by somebody on the way.
            self.redis.answer(&self.policy, &context, outgoing);
        }
        let is_lost = self.flaky && self.rng.up_to(9) == 0;
        let lag = self.rng.up_to(if self.flaky { 30_000 } else { 2000 });
        let at = (self.now + lag).max(self.nodes[node].from_redis_at);
        if !is_lost {
            self.nodes[node].from_redis_at = at;
            self.schedule(at, Happening::FromRedis { node, link, id, said });
        }
        for payload in std::mem::take(&mut self.redis.published) {
            self.publish(&payload);
        }
    }

    pub(super) fn answer(&mut self, node: usize, id: OutgoingId, said: Said) {
        let is_awaited = self.nodes[node].board.expected(id).is_some();
        if let (true, Said::Ops(answers)) = (is_awaited, &said) {
            for (_, told) in answers.iter().flatten() {
                self.nodes[node].heard = told.epoch;
            }
        }
        self.tell(node, |board, now, shared| board.on_said(now, id, said, shared));
    }

    /// What is older than what the worker has heard changes nothing.
    pub(super) fn message(&mut self, node: usize, payload: &[u8]) {
        let line = payload.split(|byte| *byte == b'\n').nth(1).unwrap();
        let told = Told::parse(line).unwrap();
        let is_late = told.epoch < self.nodes[node].heard;
        self.nodes[node].heard = told.epoch.max(self.nodes[node].heard);
        let before = self.nodes[node].board.state(0, Scope::Fleet);
        self.tell(node, |board, now, shared| board.on_message(now, payload, shared));
        if is_late {
            self.late_messages += 1;
            let after = self.nodes[node].board.state(0, Scope::Fleet);
            assert_eq!(after, before, "what is late has changed what is newer");
        }
    }

    fn publish(&mut self, payload: &[u8]) {
        for node in 0..self.nodes.len() {
            let Some(link) = self.nodes[node].link else { continue };
            let copies = if self.flaky { self.rng.up_to(2) } else { 1 };
            for _ in 0..copies {
                let is_late = self.flaky && self.rng.up_to(9) == 0;
                let at = if is_late {
                    self.now + self.rng.up_to(300_000)
                } else {
                    let at = (self.now + self.rng.up_to(3000)).max(self.nodes[node].from_redis_at);
                    self.nodes[node].from_redis_at = at;
                    at
                };
                let payload = payload.to_vec();
                self.schedule(at, Happening::Message { node, link, payload });
            }
        }
    }

    /// What it knew to be open stays so, unless it had lost that before and found the upstream well.
    pub(super) fn lose(&mut self, node: usize) {
        self.nodes[node].link = None;
        let heard = self.nodes[node].heard;
        let is_news = std::mem::replace(&mut self.nodes[node].lost_at, heard) != heard;
        let was_open = self.nodes[node].board.state(0, Scope::Fleet) == Some(OPEN);
        self.tell(node, |board, now, shared| board.on_lost(now, shared));
        if is_news && was_open && self.workers == 1 {
            self.taken_over += 1;
            let alone = self.nodes[node].board.state(0, Scope::Replica);
            assert_ne!(alone, Some(CLOSED), "it is not taken over");
        }
        let link = self.nodes[node].next_link;
        let at = self.now + 1000 + self.rng.up_to(300_000);
        self.schedule(at, Happening::Reconnect { node, link });
    }

    pub(super) fn reconnect(&mut self, node: usize, link: u64) {
        if self.nodes[node].link.is_some() || self.nodes[node].next_link != link {
            return;
        }
        if self.redis_gone {
            self.schedule(self.now + 50_000, Happening::Reconnect { node, link });
            return;
        }
        self.nodes[node].link = Some(link);
        self.nodes[node].next_link = link + 1;
        self.tell(node, |board, _, _| board.on_joined(true));
    }
}
