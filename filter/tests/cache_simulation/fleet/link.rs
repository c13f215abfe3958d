//! The connections of the workers to the store: in order, late, stalled, cut.

use super::*;
use crate::store::{Half, Told};

impl Fleet {
    /// Sends what a keeper says. The body of a lookup is asked for first.
    pub(super) fn send(&mut self, node: usize, id: OutgoingId, outgoing: Outgoing) {
        assert!(self.nodes[node].believes, "it says something to nobody");
        let life = self.nodes[node].life;
        self.schedule(self.now + DEADLINE_US, Happening::Deadline { node, life, id });
        let Some(link) = self.nodes[node].link else { return };
        let at = (self.now + self.lag()).max(self.nodes[node].to_store_at);
        let mut last = at;
        if let Outgoing::Lookup { place, .. } = &outgoing {
            let object = place.object;
            // They may come in two packets.
            let gap = if self.rng.up_to(3) == 0 { self.rng.up_to(3000) } else { 0 };
            self.schedule(at, Happening::Body { node, link, id, object });
            last += gap;
        }
        self.nodes[node].to_store_at = last;
        self.schedule(last, Happening::ToStore { node, link, id, outgoing: Box::new(outgoing) });
    }

    pub(super) fn ask_body(&mut self, node: usize, link: u64, id: OutgoingId, object: ObjectId) {
        if self.nodes[node].link == Some(link) {
            let half = self.store.body(self.now, object);
            self.halves.insert((node, link, id), half);
        }
    }

    pub(super) fn arrive(&mut self, node: usize, link: u64, id: OutgoingId, outgoing: &Outgoing) {
        let half: Half = self.halves.remove(&(node, link, id)).flatten();
        if self.nodes[node].link != Some(link) {
            return;
        }
        let hears = |node: &&Node| node.link.is_some() && node.is_told;
        let subscribers = self.nodes.iter().filter(hears).count() as u64;
        let clock_us = EPOCH_US + self.now + self.store_offset_us;
        let said = self.store.answer(self.now, clock_us, subscribers, outgoing, half);
        let is_lost = self.loses_answers && self.rng.up_to(29) == 0;
        // Who asks is answered first, and told of it behind that.
        if !is_lost {
            let at = self.back(node);
            self.schedule(at, Happening::FromStore { node, link, id, said: Box::new(said) });
        }
        for told in std::mem::take(&mut self.store.told) {
            self.tell_all(&told);
        }
    }

    /// Of one message.
    fn lag(&mut self) -> u64 {
        let most = if self.rng.up_to(19) == 0 { 20_000 } else { 2000 };
        self.rng.up_to(most)
    }

    /// When what is sent to a worker now arrives.
    fn back(&mut self, node: usize) -> u64 {
        let at = (self.now + self.lag()).max(self.nodes[node].from_store_at);
        self.nodes[node].from_store_at = at;
        at
    }

    fn tell_all(&mut self, told: &Told) {
        for node in 0..self.nodes.len() {
            let Node { link, is_told, id, .. } = self.nodes[node];
            let Some(link) = link.filter(|_| is_told) else { continue };
            if matches!(told, Told::One(of, _) if *of != id) {
                continue;
            }
            let at = self.back(node);
            self.schedule(at, Happening::Told { node, link, told: told.clone() });
        }
    }

    pub(super) fn hear(&mut self, node: usize, told: &Told) {
        match told {
            Told::All(payload) | Told::One(_, payload) => {
                self.tell(node, |keeper, now| keeper.on_message(now, payload));
            }
            Told::Records(names) => {
                self.tell(node, |keeper, _| keeper.on_invalidated(Some(names)));
            }
        }
    }

    /// The store drops the connection; the worker finds out at once, or later.
    pub(super) fn cut(&mut self, node: usize, finds_out_after: u64) {
        if self.nodes[node].link.take().is_none() {
            return;
        }
        self.nodes[node].cut_at = Some(self.now);
        let life = self.nodes[node].life;
        self.schedule(self.now + finds_out_after, Happening::Lost { node, life });
    }

    pub(super) fn lose(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].believes) {
            return;
        }
        self.tell(node, Keeper::on_lost);
        let (life, after) = (self.nodes[node].life, 1000 + self.rng.up_to(500_000));
        self.schedule(self.now + after, Happening::Join { node, life });
    }

    pub(super) fn join(&mut self, node: usize) {
        self.last_link += 1;
        let is_told = !self.refuses_to_tell || self.rng.up_to(4) > 0;
        let own = &mut self.nodes[node];
        (own.link, own.is_told) = (Some(self.last_link), is_told);
        (own.believes, own.cut_at) = (true, None);
        (own.to_store_at, own.from_store_at) = (self.now, self.now);
        self.tell(node, |keeper, now| keeper.on_joined(now, is_told));
    }

    /// Its replica takes over, which has what there was some time ago, and another clock.
    pub(super) fn fail_over(&mut self) {
        self.store.lose_writes_since(&self.behind);
        self.store_offset_us = self.rng.up_to(200_000);
        for node in 0..self.nodes.len() {
            let after = self.rng.up_to(100_000);
            self.cut(node, after);
        }
    }
}
