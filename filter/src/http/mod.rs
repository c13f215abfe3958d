//! HTTP as the policies see it: the request that is being read, and a reply of our own.

pub mod address;
pub mod cookie;
pub mod header;
pub mod path;
pub mod query;

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// The request that is being read.
///
/// Each call may cost a call of the host (1 to 2 µs), so callers ask only for what a rule needs, and once. Values are
/// bytes as they came: nothing is said about their encoding or length.
pub trait RequestView {
    /// The `:path` header: the request target with its query.
    fn path(&mut self) -> Option<Vec<u8>>;

    /// The `:method` header.
    fn method(&mut self) -> Option<Vec<u8>>;

    /// The `:authority` header.
    fn host(&mut self) -> Option<Vec<u8>>;

    /// The value of a header field, of which `name` is in lower case. Several lines of it come joined by `,` (RFC 9110
    /// §5.3), those of `cookie` by `;` (RFC 9113 §8.2.3). A field that is there and empty is not a missing one.
    fn header(&mut self, name: &str) -> Option<Vec<u8>>;

    /// Envoy's `source.address`: who the connection, or the trusted proxy in front, says the client is.
    fn source_address(&mut self) -> Option<Vec<u8>>;

    /// All lines of the header in their order, those whose names begin with `:` included. Asked only of requests that a
    /// cache has to do with.
    fn lines(&mut self) -> header::Fields;

    /// Whether the request is over with its header.
    fn is_over(&self) -> bool;
}

/// Header fields: names in lower case, and values.
pub type Fields = Vec<(&'static str, String)>;

/// A reply that is sent instead of asking the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// Status code.
    pub status: u16,
    /// Header fields: names in lower case, and values. Some names stand in the configuration.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Content.
    pub body: Vec<u8>,
}

/// A reply out of a store: any bytes that HTTP can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReply {
    /// Status code.
    pub status: u16,
    /// Header fields, perhaps several of one name.
    pub fields: header::Fields,
    /// Where the content is.
    pub body: Rc<[u8]>,
    /// The part of it that is sent; for HEAD the one that is named. None: the status has no content.
    pub part: Option<Range<usize>>,
}

impl StoredReply {
    /// The content.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        self.part.clone().map(|part| self.body.get(part).unwrap_or_default())
    }
}
