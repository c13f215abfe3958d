//! `refusal.headers`: further header fields of a refusal.

use serde_json::{Value as Json, json};

use super::super::key::{Kind, Reads};
use super::super::kind::Text;
use super::super::reader::Value;
use super::key_part::is_token;

/// Most fields. They are kept in each worker and copied for every refusal.
const MAX_FIELDS: usize = 16;

/// Longest name in bytes; the longest registered one has about half of it.
const MAX_NAME_BYTES: usize = 64;

/// Longest value in bytes, for the same reason as [`MAX_FIELDS`].
const MAX_VALUE_BYTES: usize = 1024;

/// Fields that the connection needs (RFC 9110 §7.6.1), and how long a message is.
const OF_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What fields of the connection to a proxy begin with.
const PROXY_PREFIX: &str = "proxy-";

/// Whether a field, its name in lower case, is about the connection.
pub(super) fn is_of_connection(name: &str) -> bool {
    OF_CONNECTION.contains(&name) || name.starts_with(PROXY_PREFIX)
}

/// Fields that stand in a refusal anyway: a second one would make of it what nobody meant.
const TAKEN: &[&str] = &[
    "content-type",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "date",
    "server",
    "host",
];

const NAME: &str = "the name of a header field: 1 to 64 characters of a token (RFC 9110 §5.6.2)";

/// A value that stands in a field as it is written here, whatever version of HTTP carries it (RFC 9110 §5.5).
const VALUE: Text = Text {
    allowed: "1 to 1024 visible ASCII characters, with spaces only between them",
    pattern: "^[!-~]([ -~]{0,1022}[!-~])?$",
    is_allowed: |text| {
        (1..=MAX_VALUE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            && text.trim_ascii() == text
    },
};

/// Names and values of header fields.
pub(super) struct HeadersKind;

impl Kind for HeadersKind {
    fn allowed(&self) -> String {
        format!("an object of 0 to {MAX_FIELDS} header fields")
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "propertyNames": {"pattern": "^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,64}$"},
            "additionalProperties": VALUE.schema(),
            "maxProperties": MAX_FIELDS,
        })
    }
}

impl Reads for HeadersKind {
    type Out<'d> = Vec<(String, String)>;

    fn read<'d>(&self, value: &Value<'d>) -> Option<Self::Out<'d>> {
        let members = value.as_object();
        let members: Option<Vec<_>> = members.map(|members| members.all().collect());
        let Some(members) = members.filter(|members| members.len() <= MAX_FIELDS) else {
            return value.refuse(self.allowed());
        };
        let mut names = Vec::with_capacity(members.len());
        let fields: Vec<_> = members
            .iter()
            .map(|(key, value)| {
                let name = key.to_ascii_lowercase();
                let is_repeated = names.contains(&name);
                names.push(name.clone());
                read_field(name, value, is_repeated)
            })
            .collect();
        fields.into_iter().collect()
    }
}

fn read_field(name: String, value: &Value<'_>, is_repeated: bool) -> Option<(String, String)> {
    if name.len() > MAX_NAME_BYTES || !is_token(&name) {
        return value.refuse_found("no name of a header field".to_owned(), NAME);
    }
    if TAKEN.contains(&&*name) || is_of_connection(&name) {
        return value.refuse_found(
            "a field of the connection, or one that is set anyway".to_owned(),
            "any other field",
        );
    }
    if is_repeated {
        return value.refuse_found(
            format!("{} again", value.found()),
            "each field once, whatever the case of its name",
        );
    }
    let value = VALUE.read(value)?;
    Some((name, value.to_owned()))
}
