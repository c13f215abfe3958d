//! `Cache-Status` (RFC 9211): what the cache has done for a response, for those who look into it.

use std::fmt::Write as _;

/// How the cache handled a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It answered.
    Hit {
        /// For how many seconds the stored response is fresh still.
        ttl_s: i64,
        /// Where it was, or why it was used although it is stale.
        detail: Option<&'static str>,
    },
    /// The upstream answered.
    Forwarded {
        /// Why it was asked (RFC 9211 §2.2).
        cause: &'static str,
        /// With what status it answered, if that is not the one that is sent.
        status: Option<u16>,
        /// Whether the answer was stored.
        stored: bool,
        /// Whether one request was made for several.
        collapsed: bool,
        /// More about it.
        detail: Option<&'static str>,
    },
    /// Nobody answered: the request wanted what there is not.
    Refused {
        /// What it wanted.
        detail: &'static str,
    },
}

/// Room for all but the longest.
const TYPICAL_BYTES: usize = 64;

impl Handling {
    /// The member of the list.
    #[must_use]
    pub fn member(&self) -> String {
        let mut text = String::with_capacity(TYPICAL_BYTES);
        text.push_str("meliproxy");
        let detail = match *self {
            Self::Hit { ttl_s, detail } => {
                // Into a text there is nothing that could fail.
                let _ = write!(text, "; hit; ttl={ttl_s}");
                detail
            }
            Self::Forwarded { cause, status, stored, collapsed, detail } => {
                let _ = write!(text, "; fwd={cause}");
                if let Some(status) = status {
                    let _ = write!(text, "; fwd-status={status}");
                }
                for (is, word) in [(stored, "; stored"), (collapsed, "; collapsed")] {
                    text.push_str(if is { word } else { "" });
                }
                detail
            }
            Self::Refused { detail } => Some(detail),
        };
        if let Some(detail) = detail {
            let _ = write!(text, "; detail={detail}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use sfv::{List, Parser};

    use super::*;

    #[test]
    fn members_are_well_formed() {
        let hit = |ttl_s, detail| Handling::Hit { ttl_s, detail };
        let forwarded = Handling::Forwarded {
            cause: "stale",
            status: Some(304),
            stored: true,
            collapsed: true,
            detail: Some("too-large"),
        };
        for (handling, expected) in [
            (hit(52, None), "meliproxy; hit; ttl=52"),
            (hit(-3, Some("swr")), "meliproxy; hit; ttl=-3; detail=swr"),
            (
                forwarded,
                "meliproxy; fwd=stale; fwd-status=304; stored; collapsed; detail=too-large",
            ),
        ] {
            let member = handling.member();
            assert_eq!(member, expected);
            assert!(Parser::new(&member).parse::<List>().is_ok(), "{member}");
        }
    }
}
