//! The bridge: between the HTTP/2 of the filter's gRPC stream and the TCP of Redis.
//!
//! Runs on the internal listener, in VMs of its own. Bodies pass without being copied into the VM in the usual case:
//! of a request only the five bytes of the frame header are read and dropped, of a response none are read.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType};

use super::host;
use crate::grpc::{self, Unframer};

/// One stream through the bridge.
#[derive(Default)]
pub(super) struct BridgeStream {
    unframer: Unframer,
}

impl Context for BridgeStream {}

impl HttpContext for BridgeStream {
    fn on_http_request_body(&mut self, length: usize, _end: bool) -> Action {
        if length == 0 {
            return Action::Continue;
        }
        let body = BufferType::HttpRequestBody;
        let head = host::buffer(body, 0, grpc::HEADER_BYTES).unwrap_or_default();
        if self.unframer.is_whole_message(&head, length) {
            host::replace_start(body, grpc::HEADER_BYTES, &[]);
        } else {
            let piece = host::buffer(body, 0, length).unwrap_or_default();
            let payload = self.unframer.push(&piece);
            host::replace_start(body, length, &payload);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, length: usize, _end: bool) -> Action {
        if length > 0
            && let Some(header) = grpc::header(length)
        {
            host::replace_start(BufferType::HttpResponseBody, 0, &header);
        }
        Action::Continue
    }
}
