//! The worker's byte stream to Redis: a gRPC stream that ends at an internal listener of the same Envoy.
//!
//! Traps this file is built around: a stream belongs to the root context that opened it, from one of its own
//! callbacks; opening succeeds whether or not anything listens; after the peer has closed it, sends still succeed and
//! are lost until the token is cancelled; and a cluster name that happens to parse as a protobuf aborts Envoy.

use proxy_wasm::hostcalls;

/// `GrpcService { envoy_grpc { cluster_name: "redis_stream" } }` in protobuf: field 1 of 14 bytes, in it field 1 of 12.
///
/// Envoy first tries the name it is given as such a message, and only then as the plain name of a cluster.
const SERVICE: &str = "\x0a\x0e\x0a\x0credis_stream";

/// An open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    token: u32,
}

impl Stream {
    /// Opens a stream. Only from a callback of the root context.
    ///
    /// # Errors
    /// The host's status, if there is no such cluster or no way to it.
    pub(super) fn open() -> Result<Self, String> {
        match hostcalls::open_grpc_stream(SERVICE, "redis", "stream", vec![]) {
            Ok(token) => Ok(Self { token }),
            Err(status) => Err(format!("{status:?}")),
        }
    }

    /// Whether a callback's token means this stream.
    pub(super) const fn is(self, token: u32) -> bool {
        self.token == token
    }

    /// Sends bytes; false if the host knows no such stream any more.
    pub(super) fn send(self, bytes: &[u8]) -> bool {
        hostcalls::send_grpc_stream_message(self.token, Some(bytes), false).is_ok()
    }

    /// Ends the stream without a callback; also due after the peer has closed it.
    pub(super) fn cancel(self) {
        let _ = hostcalls::cancel_grpc_stream(self.token);
    }
}
