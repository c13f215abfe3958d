//! The network between the client and the server: bytes are late and cut, but stay in order.

use meliproxy::rng::Rng;

use crate::server::Session;

/// One stream.
pub(crate) struct Stream {
    pub(crate) id: u64,
    pub(crate) session: Session,
    /// What the server has not read because it was stuck.
    pub(crate) held: Vec<u8>,
    /// When the last bytes on their way arrive, in each direction.
    to_server_at: u64,
    to_client_at: u64,
}

impl Stream {
    pub(crate) fn new(id: u64) -> Self {
        let session = Session::default();
        Self { id, session, held: Vec::new(), to_server_at: 0, to_client_at: 0 }
    }

    /// When bytes that are sent now reach the server.
    pub(crate) fn send(&mut self, rng: &mut Rng, now: u64) -> u64 {
        self.to_server_at = self.to_server_at.max(now + 50 + rng.up_to(1_000));
        self.to_server_at
    }

    /// The pieces of what is sent now, cut at random, and when each reaches the client. There is at least one.
    pub(crate) fn answer(
        &mut self,
        rng: &mut Rng,
        now: u64,
        delay: u64,
        bytes: &[u8],
    ) -> Vec<(u64, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        loop {
            let most = if rng.up_to(3) == 0 { 16 } else { rest.len() as u64 };
            let length = usize::try_from(1 + rng.up_to(most)).unwrap().min(rest.len());
            let (piece, after) = rest.split_at(length);
            let wait = if rng.up_to(9) == 0 { rng.up_to(delay) } else { 30 };
            // However slow, the network does not fall behind without end.
            let wait = if self.to_client_at > now + 300_000 { 0 } else { wait };
            self.to_client_at = self.to_client_at.max(now) + wait;
            pieces.push((self.to_client_at, piece.to_vec()));
            if after.is_empty() {
                return pieces;
            }
            rest = after;
        }
    }
}
