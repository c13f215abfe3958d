//! What a run is like, and what goes wrong in it.

use std::time::Duration;

use crate::fleet::{Fleet, Happening, micros};

pub struct Scenario {
    pub config: &'static str,
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
            Fault::CloseLinks | Fault::CloseMidReply => {
                for member in 0..self.members.len() {
                    let Some(stream) = self.members[member].link.stream else { continue };
                    if matches!(fault, Fault::CloseMidReply) {
                        let bytes = b"*4\r\n:1\r\n:50".to_vec();
                        self.schedule(self.now, Happening::FromRedis { member, stream, bytes });
                    }
                    self.schedule(self.now, Happening::Closed { member, stream });
                }
                return;
            }
            Fault::Garbage => {
                for member in 0..self.members.len() {
                    let Some(stream) = self.members[member].link.stream else { continue };
                    let bytes = b"HTTP/1.1 400 Bad Request\r\n".to_vec();
                    self.schedule(self.now, Happening::FromRedis { member, stream, bytes });
                }
                return;
            }
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
