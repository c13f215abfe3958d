//! The host's calls, without the SDK's panics.
//!
//! The SDK's convenience methods panic on statuses they do not list, and on text that is not UTF-8; a panic kills the
//! VM for every request of its worker. Everything goes through the few functions here.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

use super::wire;
use crate::breaker::outcome::{CallView, VIA_UPSTREAM};
use crate::cache::keeper::Header;
use crate::http::header::Fields as Lines;
use crate::http::{LocalReply, RequestView};
use crate::metrics::Kind;
use crate::quota::fields;
use crate::shared::{Conflict, SharedData, Version};
use crate::time::{Instant, Now, UnixTime};
use crate::worker::ResponseView;

/// Both clocks, now.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the one reader of clocks")]
pub(super) fn now() -> Now {
    use std::sync::OnceLock;
    use std::time::{Instant as Clock, SystemTime};
    static ORIGIN: OnceLock<Clock> = OnceLock::new();
    let mono = ORIGIN.get_or_init(Clock::now).elapsed();
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Not `as_micros`, which counts in 128 bits.
    let micros =
        |duration: Duration| duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros());
    Now { mono: Instant::from_micros(micros(mono)), unix: UnixTime::from_micros(micros(unix)) }
}

/// Random bytes from the host.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        log(
            LogLevel::Critical,
            "the host gives no random bytes: the tables' hash can be predicted",
        );
    }
    bytes
}

/// An environment variable that Envoy hands to this VM (`environment_variables.host_env_keys`).
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Writes a line into Envoy's log.
pub(super) fn log(level: LogLevel, line: &str) {
    let _ = hostcalls::log(level, line);
}

/// A property of the plugin or of the current request.
pub(super) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// Keeps a value with the current request, as the filter state `wasm.NAME`.
pub(super) fn set_filter_state(name: &str, value: &str) {
    let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
}

/// Makes a series and returns the host's number for it.
pub(super) fn define_metric(kind: Kind, name: &str) -> Option<u32> {
    let kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    hostcalls::define_metric(kind, name).ok()
}

/// Adds to a counter.
pub(super) fn add_metric(id: u32, amount: u64) {
    let _ = hostcalls::increment_metric(id, i64::try_from(amount).unwrap_or(i64::MAX));
}

/// Sets a gauge, or records a value in a histogram.
pub(super) fn record_metric(id: u32, value: u64) {
    let _ = hostcalls::record_metric(id, value);
}

/// The bytes of a body or message that the current callback is about.
pub(super) fn buffer(kind: BufferType, start: usize, length: usize) -> Option<Vec<u8>> {
    hostcalls::get_buffer(kind, start, length).ok().flatten()
}

/// Replaces `length` bytes at the start of a body by `bytes`; with a length of 0 puts them in front.
pub(super) fn replace_start(kind: BufferType, length: usize, bytes: &[u8]) -> bool {
    hostcalls::set_buffer(kind, 0, length, bytes).is_ok()
}

/// Makes calls act on another context of this VM; false if it is gone.
pub(super) fn act_on(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
}

/// Calls `cluster` by a POST. Only from a callback of the root context, or the answer may find nobody.
///
/// # Errors
/// None is made: there is no such cluster, or too much is on its way to it.
pub(super) fn call(cluster: &str, body: &[u8], timeout: Duration) -> Result<u32, Status> {
    let headers = vec![(":method", "POST"), (":path", "/"), (":authority", cluster)];
    hostcalls::dispatch_http_call(cluster, headers, Some(body), vec![], timeout)
}

/// The status of the answer to a call that the current callback is about, which must have headers: the SDK panics if not.
pub(super) fn answer_status() -> Option<u16> {
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status");
    std::str::from_utf8(&status.ok()??).ok()?.parse().ok()
}

/// Opens the queue `name`: whoever did so last has its root context called back for what is put into it.
pub(super) fn open_queue(name: &str) -> Option<u32> {
    hostcalls::register_shared_queue(name).ok()
}

/// Has the root context that opened the queue called back, once the present callback is over.
pub(super) fn put_into_queue(queue: u32) {
    let _ = hostcalls::enqueue_shared_queue(queue, Some(b"-"));
}

/// Takes all that is in a queue.
pub(super) fn empty_queue(queue: u32) {
    while let Ok(Some(_)) = hostcalls::dequeue_shared_queue(queue) {}
}

/// Lets the paused request of the current context go on.
pub(super) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// Answers the request of the current context.
pub(super) fn reply(reply: &LocalReply) {
    let headers = reply.headers.iter().map(|(name, value)| (&**name, value.as_str())).collect();
    let _ = hostcalls::send_http_response(u32::from(reply.status), headers, Some(&reply.body));
}

/// Sets the path of the request that is being read.
pub(super) fn set_path(path: &[u8]) {
    let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, ":path", Some(path));
}

/// Sets a field of the response that is being read: the members of a list go after those that it has, anything else
/// takes the place of what was there.
pub(super) fn set_response_field(name: &str, value: &str) {
    let headers = MapType::HttpResponseHeaders;
    let _ = if fields::is_list(name) {
        hostcalls::add_map_value(headers, name, value)
    } else {
        hostcalls::set_map_value(headers, name, Some(value))
    };
}

/// Takes a field out of the request of the current context.
pub(super) fn remove_request_field(name: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, None);
}

/// Sets a field of the request of the current context.
pub(super) fn set_request_field(name: &str, value: &[u8]) {
    let _ = hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value));
}

/// Puts a line in the place of all of its name in the response that is being read.
pub(super) fn replace_response_field(name: &str, value: &[u8]) {
    let _ = hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, name, Some(value));
}

/// Adds a line to the response that is being read.
pub(super) fn add_response_field(name: &str, value: &str) {
    let _ = hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value);
}

/// Takes a field out of the response that is being read.
pub(super) fn remove_response_field(name: &[u8]) {
    if let Ok(name) = std::str::from_utf8(name) {
        let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, None);
    }
}

/// Makes a request to a cluster with these lines. Only from a callback of the root context. Lines that are no text are
/// left out.
///
/// # Errors
/// None is made: there is no such cluster, or too much is on its way to it.
pub(super) fn request(cluster: &str, lines: &Lines, timeout: Duration) -> Result<u32, Status> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let lines = lines.iter().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    hostcalls::dispatch_http_call(cluster, lines.collect(), None, vec![], timeout)
}

/// The name of the filter chain that the request of the current context has come by.
pub(super) fn filter_chain() -> Vec<u8> {
    property(&["xds", "filter_chain_name"]).unwrap_or_default()
}

/// All of a request's header, read at once: cheaper than three fields of it one by one.
pub(super) struct WholeHeader {
    lines: Lines,
    is_over: bool,
}

impl WholeHeader {
    pub(super) fn read(is_over: bool) -> Self {
        Self { lines: wire::lines(MapType::HttpRequestHeaders), is_over }
    }

    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        self.lines.first(name)
    }
}

impl RequestView for WholeHeader {
    fn path(&mut self) -> Option<Vec<u8>> {
        self.first(":path").map(<[u8]>::to_vec)
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        self.first(":method").map(<[u8]>::to_vec)
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        self.first(":authority").map(<[u8]>::to_vec)
    }

    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        let separator: &[u8] = if name == "cookie" { b";" } else { b"," };
        let values: Vec<_> = self.lines.lines(name).collect();
        (!values.is_empty()).then(|| values.join(separator))
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        property(&["source", "address"])
    }

    fn lines(&mut self) -> Lines {
        std::mem::take(&mut self.lines)
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

/// The headers of the request that is being read, asked for one by one.
pub(super) struct Headers;

impl Headers {
    /// The first line of a header field.
    fn one(name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
    }
}

impl RequestView for Headers {
    fn path(&mut self) -> Option<Vec<u8>> {
        Self::one(":path")
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        Self::one(":method")
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        Self::one(":authority")
    }

    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        // The call for a header's value knows its first line alone, so that a second one could hide behind it. The
        // property has all lines, joined by commas; but the SDK takes an empty one for a missing one.
        let Some(mut joined) = property(&["request", "headers", name]) else {
            return Self::one(name);
        };
        if name == "cookie" && Self::one(name).is_some_and(|first| first.len() < joined.len()) {
            // Several lines, which no user agent sends (RFC 6265 §5.4) and HTTP/1 lets through. Where each ends is not
            // known any more: any comma, which the value of a proper cookie does not hold, ends a cookie.
            joined.iter_mut().filter(|byte| **byte == b',').for_each(|byte| *byte = b';');
        }
        Some(joined)
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        property(&["source", "address"])
    }

    fn lines(&mut self) -> Lines {
        // Only of use where there is a cache, and then a whole header is read.
        Lines::default()
    }

    fn is_over(&self) -> bool {
        true
    }
}

/// The call of the current request, of which the response has begun or all is over.
pub(super) struct EndOfCall;

impl EndOfCall {
    /// A whole number of the response.
    fn number(name: &str) -> Option<u64> {
        property(&["response", name])?.try_into().ok().map(u64::from_le_bytes)
    }
}

impl CallView for EndOfCall {
    fn code(&mut self) -> Option<u16> {
        Self::number("code")?.try_into().ok()
    }

    fn flags(&mut self) -> u64 {
        Self::number("flags").unwrap_or_default()
    }

    fn code_details(&mut self) -> Option<Vec<u8>> {
        property(&["response", "code_details"])
    }
}

/// The response that is being read. At the end of a request its header is gone, and the SDK would panic.
pub(super) struct ResponseHeaders;

impl CallView for ResponseHeaders {
    fn code(&mut self) -> Option<u16> {
        EndOfCall.code()
    }

    fn flags(&mut self) -> u64 {
        EndOfCall.flags()
    }

    fn code_details(&mut self) -> Option<Vec<u8>> {
        EndOfCall.code_details()
    }
}

impl ResponseHeaders {
    /// The header that is being read, as the cache sees it.
    pub(super) fn read() -> Header {
        let mut fields = wire::lines(MapType::HttpResponseHeaders);
        let status = fields.first(":status").and_then(|text| std::str::from_utf8(text).ok());
        let status = status.and_then(|text| text.parse().ok()).unwrap_or_default();
        fields.retain(|name| !name.starts_with(b":"));
        let is_upstreams = EndOfCall.code_details().as_deref() == Some(VIA_UPSTREAM);
        Header { status, fields, is_upstreams }
    }
}

impl ResponseView for ResponseHeaders {
    fn retry_after(&mut self) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, "retry-after").ok().flatten()
    }
}

/// No value has this version: the host counts them up from 1. Storing with it succeeds only where nothing is stored.
const NEVER_A_VERSION: u32 = u32::MAX;

/// Shared data of this VM's `vm_id`.
pub(super) struct HostSharedData;

impl SharedData for HostSharedData {
    fn get(&mut self, name: &str) -> Option<(Vec<u8>, Version)> {
        match hostcalls::get_shared_data(name) {
            Ok((value, Some(version))) => Some((value.unwrap_or_default(), Version(version))),
            Ok((_, None)) | Err(_) => None,
        }
    }

    fn set(&mut self, name: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        // The host compares versions only if the name holds a value; without one it would overwrite whatever there is.
        let version = version.map_or(NEVER_A_VERSION, |version| version.0);
        match hostcalls::set_shared_data(name, Some(value), Some(version)) {
            Err(Status::CasMismatch) => Err(Conflict),
            // Nothing else can be told apart by the caller, and trying again would not help.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
