//! A model of Redis: records, an index, a channel, and a replica that lags behind.

use std::collections::BTreeMap;

use meliproxy::breaker::board::{Outgoing, Said};
use meliproxy::breaker::evidence::Context;
use meliproxy::breaker::policy::Policy;
use meliproxy::breaker::record::{Outcome, Record, State};
use meliproxy::breaker::told::Told;

#[derive(Clone, Default)]
pub struct ModelRedis {
    records: BTreeMap<Vec<u8>, Record>,
    /// How often a breaker has opened.
    pub opened: u64,
    /// What was published since.
    pub published: Vec<Vec<u8>>,
}

impl ModelRedis {
    /// Does what it is told, and checks that nothing changes but by what the present state allows.
    pub fn answer(&mut self, policy: &Policy, context: &Context, outgoing: &Outgoing) -> Said {
        let ops = match outgoing {
            Outgoing::Index => {
                let open = self.records.iter().filter(|(_, record)| !is_closed(record));
                return Said::Index(open.map(|(name, _)| name.clone()).collect());
            }
            Outgoing::Ops(ops) => ops,
        };
        let mut answers = Vec::new();
        for op in ops {
            let record = self.records.entry(op.name.to_vec()).or_default();
            let before = record.clone();
            let outcome = match op.event {
                Some(event) => record.on_event(policy, context, op.epoch, event),
                None => Outcome::Noted,
            };
            assert!(op.event.is_none() || op.epoch == before.epoch || *record == before, "{op:?}");
            assert!(record.epoch >= before.epoch, "epochs only rise");
            self.opened += u64::from(is_open(record) && !is_open(&before));
            let told = Told::of(record, policy, context.now_us / 1000);
            if told.line() != Told::of(&before, policy, context.now_us / 1000).line() {
                let line = [&*op.name, b"\n", told.line().as_bytes()].concat();
                self.published.push(line);
            }
            answers.push(Some((outcome, told)));
        }
        Said::Ops(answers)
    }

    /// Its replica takes over, which has what there was some time ago.
    pub fn lose_writes_since(&mut self, behind: &Self) {
        self.records.clone_from(&behind.records);
        self.published.clear();
    }

    pub fn all_closed(&self) -> bool {
        self.records.values().all(is_closed)
    }
}

fn is_closed(record: &Record) -> bool {
    matches!(record.state, State::Closed(_))
}

fn is_open(record: &Record) -> bool {
    matches!(record.state, State::Open { .. })
}
