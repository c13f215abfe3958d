//! What a run is like, and what goes wrong in it.

use std::time::Duration;

use meliproxy::config::Transport;

use crate::fleet::{Fleet, Happening, micros};

#[derive(Clone, Copy)]
pub struct Scenario {
    pub config: &'static str,
    pub transport: Transport,
    pub replicas: usize,
    pub workers: usize,
    pub requests: usize,
    /// Longest time between two requests.
    pub arrival: Duration,
    /// Longest time of a message on its way.
    pub latency: Duration,
    pub client_leaves_percent: u64,
    /// What happens during the run, one at a time, in random order.
    pub faults: &'static [Fault],
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    CloseLinks,
    CloseMidReply,
    Stall(Duration),
    ForgetScripts,
    ReadOnly(Duration),
    /// Connections are refused.
    Refuse(Duration),
    RefusePassword(Duration),
    Garbage,
}

impl Fleet {
    /// Begins a fault.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let lasts = match fault {
            Fault::CloseLinks => return self.break_links(b"", true),
            Fault::CloseMidReply => return self.break_links(b"*4\r\n:1\r\n:50", true),
            Fault::Garbage => return self.break_links(b"HTTP/1.1 400 Bad Request\r\n", false),
            Fault::ForgetScripts => {
                self.redis.knows_script = false;
                return;
            }
            Fault::Stall(lasts) => {
                self.stalled_until = self.stalled_until.max(self.now + micros(lasts));
                lasts
            }
            Fault::ReadOnly(lasts) => {
                self.redis.read_only = true;
                lasts
            }
            Fault::Refuse(lasts) => {
                self.refuses = true;
                lasts
            }
            Fault::RefusePassword(lasts) => {
                self.redis.refuses_password = true;
                lasts
            }
        };
        self.schedule(self.now + micros(lasts), Happening::EndOfFault(fault));
    }

    /// Every worker gets these bytes, and then the end if its link `closes`. A call ends with its answer.
    fn break_links(&mut self, bytes: &[u8], closes: bool) {
        for member in 0..self.members.len() {
            let link = &self.members[member].link;
            let Some(stream) = link.stream else { continue };
            if link.callout.is_some() {
                let status = (!bytes.is_empty()).then_some(200);
                let answer = link.call.map(|call| (call, status, bytes.to_vec()));
                if let Some((call, status, body)) = answer {
                    self.schedule(self.now, Happening::Answer { member, call, status, body });
                }
                continue;
            }
            if !bytes.is_empty() {
                let bytes = bytes.to_vec();
                self.schedule(self.now, Happening::FromRedis { member, stream, bytes });
            }
            if closes {
                self.schedule(self.now, Happening::Closed { member, stream });
            }
        }
    }

    /// Ends a fault that lasts.
    pub(crate) fn end_of_fault(&mut self, fault: Fault) {
        match fault {
            Fault::ReadOnly(_) => self.redis.read_only = false,
            Fault::Refuse(_) => self.refuses = false,
            Fault::RefusePassword(_) => self.redis.refuses_password = false,
            Fault::CloseLinks
            | Fault::CloseMidReply
            | Fault::Stall(_)
            | Fault::ForgetScripts
            | Fault::Garbage => {}
        }
    }
}
