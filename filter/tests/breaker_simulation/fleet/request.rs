//! Requests, and what becomes of them; trial requests are counted.

use super::*;

/// A trial request of the fleet under way: who makes it, and until when it is waited for.
pub(super) struct Probe {
    pub(super) node: usize,
    life: u64,
    until: u64,
    call: u64,
}

impl Fleet {
    pub(super) fn request(&mut self) {
        let node = if self.rng.up_to(99) < self.to_cut_off_percent {
            // Any worker of it.
            let worker = self.rng.up_to(self.workers as u64 - 1);
            CUT_OFF * self.workers + usize::try_from(worker).unwrap()
        } else {
            usize::try_from(self.rng.up_to(self.nodes.len() as u64 - 1)).unwrap()
        };
        let name = [PREFIX, b"items"].concat();
        let key = Key { breaker: 0, hash: KeyHash::of(&SEED, &name), name: name.into() };
        self.sequence += 1;
        let asker = u32::try_from(self.sequence).unwrap();
        let now = self.now_of(node);
        let Node { board, shared, .. } = &mut self.nodes[node];
        match board.admit(now, asker, &[key], shared) {
            Verdict::Wait => {
                self.nodes[node].asking.insert(asker, ());
            }
            verdict @ (Verdict::Pass(_) | Verdict::Refuse(_)) => self.decide(node, verdict),
        }
        self.drain(node);
    }

    pub(super) fn decide(&mut self, node: usize, verdict: Verdict) {
        match verdict {
            Verdict::Pass(calls) => {
                self.sequence += 1;
                let (call, life) = (self.sequence, self.nodes[node].life);
                // Some take longer than a trial request may.
                let long = self.rng.up_to(9) == 0;
                let lasts = self.rng.up_to(if long { 400_000 } else { 5_000 });
                if calls.iter().any(|call| call.fleet_permit().is_some()) {
                    let began = calls[0].began_at();
                    let began = began.saturating_since(Instant::from_micros(1_000_000));
                    let waited = began + self.policy.probe_timeout;
                    let until = u64::try_from(waited.as_micros()).unwrap();
                    self.probes.push(Probe { node, life, until, call });
                    self.probes_made += 1;
                }
                self.nodes[node].calls.insert(call, calls);
                self.schedule(self.now + lasts, Happening::End { node, life, call });
            }
            Verdict::Refuse(_) => {
                self.refused += 1;
                self.refused_by_others += u64::from(node / self.workers != CUT_OFF);
            }
            Verdict::Wait => panic!("to wait is no decision"),
        }
    }

    pub(super) fn end(&mut self, node: usize, life: u64, call: u64) {
        if self.nodes[node].life != life {
            return;
        }
        self.probes.retain(|probe| (probe.node, probe.call) != (node, call));
        let ended = if self.cut_off == Some(node / self.workers) {
            Ended::Failure { answered: false, slow: false, retry_after_ms: 0 }
        } else if self.upstream_fails {
            Ended::Failure { answered: true, slow: false, retry_after_ms: 0 }
        } else if self.rng.up_to(49) == 0 {
            Ended::Nothing
        } else {
            Ended::Success { slow: false }
        };
        for call in self.nodes[node].calls.remove(&call).unwrap_or_default() {
            self.tell(node, |board, now, shared| board.on_end(now, &call, ended, shared));
        }
    }

    /// Of the trial requests that somebody waits for there are never more than configured, but for those whose permits a
    /// failover has forgotten.
    pub(super) fn check_probes(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        self.probes.retain(|probe| probe.until > now && nodes[probe.node].life == probe.life);
        let lately = self.now.saturating_sub(200_000);
        let forgotten = self.forgotten_at.iter().filter(|at| **at >= lately).count() as u64;
        let most = self.policy.probes * (1 + forgotten);
        assert!(self.probes.len() as u64 <= most, "{} of {most} probes", self.probes.len());
    }
}
