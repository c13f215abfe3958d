//! The link of a worker to Redis: messages are late and split, but stay in order in each direction.

use meliproxy::redis::Callout;
use meliproxy::rng::Rng;

use crate::model_redis::Connection;

#[derive(Default)]
pub(crate) struct Link {
    /// The open stream, if any; each has a number of its own.
    pub(crate) stream: Option<u64>,
    /// What makes calls of the stream, if they are its transport.
    pub(crate) callout: Option<Callout>,
    /// The call under way, if any; each has a number of its own.
    pub(crate) call: Option<u64>,
    pub(crate) connection: Connection,
    pub(crate) to_redis: Direction,
    pub(crate) from_redis: Direction,
}

impl Link {
    pub(crate) fn open(&mut self, number: u64) {
        self.drop();
        self.stream = Some(number);
        self.connection = Connection::default();
    }

    pub(crate) fn drop(&mut self) {
        (self.stream, self.call) = (None, None);
        self.callout.iter_mut().for_each(Callout::reset);
    }
}

#[derive(Default)]
pub(crate) struct Direction {
    last_arrival: u64,
}

impl Direction {
    /// Splits anywhere what is sent now; when each part arrives.
    pub(crate) fn send(
        &mut self,
        rng: &mut Rng,
        now: u64,
        latency: u64,
        bytes: &[u8],
    ) -> [(u64, Vec<u8>); 2] {
        let at = usize::try_from(rng.up_to(bytes.len() as u64)).unwrap();
        [&bytes[..at], &bytes[at..]].map(|part| {
            self.last_arrival = self.last_arrival.max(now + rng.up_to(latency));
            (self.last_arrival, part.to_vec())
        })
    }
}
