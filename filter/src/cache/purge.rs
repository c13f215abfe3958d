//! The order to invalidate something by hand: a `PURGE` on the internal listener.
//!
//! `PURGE /path?query` with the site as `Host` is about one URL with all its variants. Fields say otherwise:
//! `x-purge-group: NAME` a group (a surrogate key or tag; several lines for several), `x-purge-scope: host`, `prefix` or
//! `all` everything of the host, everything below the path, or everything. `x-purge-mode: soft` makes stale what is there
//! instead of taking it away; `x-forwarded-proto` tells the scheme, if that is not http.

use std::rc::Rc;

use super::fields::Fields;
use super::groups::{Group, LONGEST_NAME_BYTES, MOST_GROUPS};
use super::key::{self, Target};
use super::policy::KeyOptions;
use super::store::{Mode, Scope, Url};
use crate::http::{StoredReply, path};

/// What is to be invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub scopes: Vec<Scope>,
    /// How.
    pub mode: Mode,
}

impl Order {
    /// Reads the lines of the header of a request. `options` tells what requests of a path have to agree in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<'o>(
        lines: &Fields,
        options: impl FnOnce(&[u8]) -> Option<&'o KeyOptions>,
    ) -> Result<Self, String> {
        let (mut authority, mut target, mut scheme) = (Vec::new(), b"/".to_vec(), b"http".to_vec());
        let (mut groups, mut scope, mut mode) = (Vec::new(), b"url".to_vec(), Mode::Hard);
        for (name, value) in lines.iter() {
            match name {
                b":authority" => authority = value.to_vec(),
                b":path" => target = value.to_vec(),
                b"x-forwarded-proto" => scheme = value.to_vec(),
                b"x-purge-group" => groups.push(value.to_vec()),
                b"x-purge-scope" => scope = value.to_vec(),
                b"x-purge-mode" => {
                    mode = match value {
                        b"hard" => Mode::Hard,
                        b"soft" => Mode::Soft,
                        other => return Err(refusal("x-purge-mode", other, "hard, soft")),
                    }
                }
                _ => {}
            }
        }
        let path = path::canonical(&target).into_owned();
        let target = Target { scheme: &scheme, authority: &authority, path: &path };
        let origin = key::origin(target);
        let whole = || [&origin[..], b"\n", &path].concat();
        if !groups.is_empty() {
            let scopes = read_groups(&groups, &origin)?;
            return Ok(Self { scopes, mode });
        }
        let scope = match scope.as_slice() {
            b"url" => {
                let counts = options(&path).map(|options| key::path(options, &path));
                let path = counts.unwrap_or_else(|| path.clone());
                Scope::Url(Url::of(&[&origin[..], b"\n", &path].concat()))
            }
            b"host" => Scope::Host(Url::of(&whole()).host),
            b"prefix" => Scope::Prefix(whole()),
            b"all" => Scope::All,
            other => return Err(refusal("x-purge-scope", other, "url, prefix, host, all")),
        };
        Ok(Self { scopes: vec![scope], mode })
    }
}

/// A name may be that of a group which all share, or of one of this origin (`Cache-Groups`): both go.
fn read_groups(names: &[Vec<u8>], origin: &[u8]) -> Result<Vec<Scope>, String> {
    let fits = |name: &Vec<u8>| (1..=LONGEST_NAME_BYTES).contains(&name.len());
    if names.len() > MOST_GROUPS || !names.iter().all(fits) {
        let allowed = format!("1 to {MOST_GROUPS} lines of 1 to {LONGEST_NAME_BYTES} bytes");
        return Err(format!("x-purge-group: found {} lines, allowed: {allowed}", names.len()));
    }
    let both = |name: &Vec<u8>| [Group::shared(name), Group::of_origin(origin, name)];
    Ok(names.iter().flat_map(both).map(Scope::Group).collect())
}

fn refusal(field: &str, found: &[u8], allowed: &str) -> String {
    format!("{field}: found {:?}, allowed: {allowed}", String::from_utf8_lossy(found))
}

/// The answer once it is done, or could not be.
#[must_use]
pub fn answer(done: bool) -> Box<StoredReply> {
    if done {
        reply(200, "application/json", "{\"purged\":true}\n".to_owned())
    } else {
        let why = "Redis cannot be told, so nothing was invalidated for sure: try again";
        reply(503, "application/problem+json", problem(503, "Service Unavailable", why))
    }
}

/// The answer to what is no order.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "the form that errors are mapped by")]
pub fn refused(why: String) -> Box<StoredReply> {
    reply(400, "application/problem+json", problem(400, "Bad Request", &why))
}

fn problem(status: u16, title: &str, detail: &str) -> String {
    let detail = serde_json::Value::from(detail);
    format!(
        "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"detail\":{detail}}}\n"
    )
}

fn reply(status: u16, content_type: &str, body: String) -> Box<StoredReply> {
    let fields = [("content-type", content_type), ("cache-control", "no-store")];
    let fields = fields.into_iter().collect();
    let body: Rc<[u8]> = body.into_bytes().into();
    let part = Some(0..body.len());
    Box::new(StoredReply { status, fields, body, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> Result<Order, String> {
        let target = [(":authority", "Example.com:80"), (":path", "/a/./b?c")];
        let lines = target.iter().chain(fields);
        Order::read(&lines.copied().collect(), |_| None)
    }

    fn one(fields: &[(&str, &str)]) -> Scope {
        read(fields).unwrap().scopes.remove(0)
    }

    #[test]
    fn what_is_purged() {
        let text = b"http\nexample.com\n/a/b?c".to_vec();
        assert_eq!(one(&[]), Scope::Url(Url { text: text.clone(), host: b"example.com".to_vec() }));
        assert_eq!(one(&[("x-purge-scope", "host")]), Scope::Host(b"example.com".to_vec()));
        assert_eq!(one(&[("x-purge-scope", "prefix")]), Scope::Prefix(text));
        assert_eq!(one(&[("x-purge-scope", "all")]), Scope::All);
        let secure = one(&[("x-purge-scope", "prefix"), ("x-forwarded-proto", "https")]);
        assert_eq!(secure, Scope::Prefix(b"https\nexample.com:80\n/a/b?c".to_vec()));
        let groups = read(&[("x-purge-group", "g"), ("x-purge-group", "h")]).unwrap().scopes;
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[0], Scope::Group(Group::shared(b"g")));
        assert_eq!(groups[3], Scope::Group(Group::of_origin(b"http\nexample.com", b"h")));
    }

    #[test]
    fn how_it_is_purged() {
        assert_eq!(read(&[]).unwrap().mode, Mode::Hard);
        assert_eq!(read(&[("x-purge-mode", "soft")]).unwrap().mode, Mode::Soft);
    }

    #[test]
    fn what_is_no_order_is_refused_with_what_is_one() {
        for (fields, expected) in [
            (
                &[("x-purge-mode", "gentle")][..],
                "x-purge-mode: found \"gentle\", allowed: hard, soft",
            ),
            (
                &[("x-purge-scope", "")],
                "x-purge-scope: found \"\", allowed: url, prefix, host, all",
            ),
            (
                &[("x-purge-group", "")],
                "x-purge-group: found 1 lines, allowed: 1 to 128 lines of 1 to 1024 bytes",
            ),
        ] {
            assert_eq!(read(fields).unwrap_err(), expected);
        }
    }
}
