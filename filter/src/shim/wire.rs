//! Header maps as the host writes them, read and written without the SDK: its own way takes and gives text alone, ends
//! the VM over what is none, and copies everything twice.
//!
//! Layout (proxy-wasm ABI 0.2.1): the number of lines, then the lengths of name and value of each, all as 32 bits in
//! little-endian order; then the names and values, each with a zero behind it.

#![allow(unsafe_code, reason = "calls of the host and the memory that it hands over")]

use std::ops::Range;
use std::ptr;

use proxy_wasm::types::{MapType, Status};

use crate::http::StoredReply;
use crate::http::header::Fields;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(kind: MapType, data: *mut *mut u8, size: *mut usize) -> Status;

    fn proxy_send_local_response(
        status_code: u32,
        details_data: *const u8,
        details_size: usize,
        body_data: *const u8,
        body_size: usize,
        headers_data: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Status;
}

/// All lines of a header, in their order; none if the host does not give them now.
pub(super) fn lines(kind: MapType) -> Fields {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both point to live variables of the types that the ABI has.
    let status = unsafe { proxy_get_header_map_pairs(kind, &raw mut data, &raw mut size) };
    if status != Status::Ok || data.is_null() {
        return Fields::default();
    }
    // SAFETY: the host had `size` bytes made by the SDK's allocator, as a `Vec` of that capacity, and filled them.
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    let lines = parse(&bytes).unwrap_or_default();
    Fields::in_text(bytes, lines)
}

/// Where names and values are.
fn parse(bytes: &[u8]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let count = number(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    let mut text = |length: usize| {
        let end = at.checked_add(length)?;
        let text = at..end;
        at = end.checked_add(1)?;
        Some(text)
    };
    (0..count)
        .map(|line| Some((text(number(line * 8 + 4)?)?, text(number(line * 8 + 8)?)?)))
        .collect()
}

fn write(fields: &Fields) -> Vec<u8> {
    let size = fields.iter().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>() + 4;
    let mut bytes = Vec::with_capacity(size);
    let number = |bytes: &mut Vec<u8>, number: usize| {
        bytes.extend_from_slice(&u32::try_from(number).unwrap_or_default().to_le_bytes());
    };
    number(&mut bytes, fields.len());
    for (name, value) in fields.iter() {
        number(&mut bytes, name.len());
        number(&mut bytes, value.len());
    }
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// Answers the request of the current context.
pub(super) fn serve(reply: &StoredReply) {
    /// What Envoy's access log has as `RESPONSE_CODE_DETAILS`.
    const DETAILS: &[u8] = b"meliproxy_cache";
    let headers = write(&reply.fields);
    let body = reply.content();
    let (data, size) = body.map_or((ptr::null(), 0), |body| (body.as_ptr(), body.len()));
    // SAFETY: all point to live memory of the lengths that go with them.
    let _ = unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            DETAILS.as_ptr(),
            DETAILS.len(),
            data,
            size,
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    };
}
